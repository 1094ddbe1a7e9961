package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
)

// Documents that merge, in every world: each is the join of all live deltas at
// its path. Honest replicas change them, fold what they wrote, and sweep it.
var documents = []string{"/docs/set", "/docs/map", "/docs/count", "/docs/flag", "/docs/log", "/docs/text"}

// laneIn is the name of a lane in documents.
func laneIn(author record.Key, lane uint64) uint64 {
	tag := record.LaneTag(author, lane)
	return binary.BigEndian.Uint64(tag[:])
}

// editing is one change of one document in the making.
type editing struct {
	r    *replica
	path string
	rng  *rand.Rand
	lane uint64
	w    crdt.Writer
	book *book
	seen page // what the writer's records say
	says page // what this change says
}

// edit changes a document; what and how follows from a seed.
func (r *replica) edit(seed uint64) {
	if !r.up || r.frozen > r.w.now || !r.honest() {
		return
	}
	rng := rand.New(rand.NewPCG(seed, 0xed17))
	path := documents[rng.IntN(len(documents))]
	if rng.IntN(3) > 0 { // each world has two that most is done to
		path = documents[(int(r.w.plan.Seed%6)+3*rng.IntN(2))%len(documents)]
	}
	r.own(func() ([]*record.Verified, error) {
		return r.change(path, rng)
	}, func(rs []*record.Verified) {
		if len(rs) > 0 {
			r.w.sometimes("a change of " + path)
		}
	})
}

func (r *replica) change(path string, rng *rand.Rand) ([]*record.Verified, error) {
	ctx := context.Background()
	author := record.Public(r.key)
	lane, err := r.rows.Lane(ctx, author, 0)
	if err != nil {
		return nil, err
	}
	parts, err := r.parts(path)
	if err != nil {
		return nil, err
	}
	b := &r.w.check.book
	e := &editing{
		r: r, path: path, rng: rng, lane: lane, book: b, seen: b.seen(parts),
		w: crdt.Writer{Lane: laneIn(author, lane), Time: max(1, min(r.wall(), crdt.MaxTime))},
	}
	b.look(r, path, parts)
	var payload []byte
	if path == "/docs/text" {
		payload, err = e.text(parts)
	} else {
		var delta *crdt.State
		if delta, err = e.state(b.join(parts)); err == nil && !delta.IsEmpty() {
			payload = delta.AppendTo(nil)
		}
	}
	if err != nil {
		r.w.violate("C14", "replica %d cannot change %s: %v", r.i, path, err)
	}
	if err != nil || payload == nil {
		return nil, nil
	}
	rs, err := r.rows.WriteIn(ctx, r.key, lane, r.wall(), nil, store.Draft{Kind: record.Delta, Path: path, Payload: payload})
	if err == nil {
		b.pages[rs[0].ID] = e.says
	}
	return rs, err
}

// parts are the live deltas at a path that people wrote.
func (r *replica) parts(path string) ([]*record.Verified, error) {
	view, err := r.rows.Snapshot()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	places, err := view.Places(path, record.Delta)
	if err != nil {
		return nil, err
	}
	out := make([]*record.Verified, 0, len(places))
	for _, p := range places {
		v, err := view.Arrived(p.Number)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// state makes a change of a document that is a crdt.State, and notes what it
// means: what it adds, and what of the things that its writer saw it removes.
func (e *editing) state(s *crdt.State) (*crdt.State, error) {
	fresh := fmt.Sprintf("%d-%d", e.r.i, len(e.book.events))
	switch e.path {
	case "/docs/set":
		v := string(rune('a' + e.rng.IntN(6)))
		e.removes("", v)
		if e.rng.IntN(2) == 0 {
			return s.Discard(e.w, [][]byte{[]byte(v)})
		}
		e.adds(v, 0)
		return s.Add(e.w, [][]byte{[]byte(v)})
	case "/docs/map":
		return e.mapped(s, fresh)
	case "/docs/count":
		if e.rng.IntN(5) == 0 {
			e.resets()
			return s.Reset(e.w)
		}
		by := int64(e.rng.IntN(20) - 5)
		e.says.has = e.book.totals(e.seen, e.path, e.w.Lane) // a lane's total says all that it added before
		e.adds("+", by)
		return s.Increment(e.w, by)
	case "/docs/flag":
		e.removes("", "on")
		if on := e.rng.IntN(2) == 0; on {
			e.adds("on", 0)
			return s.Switch(e.w, crdt.Flag, true)
		}
		return s.Switch(e.w, crdt.Flag, false)
	default:
		e.adds(fresh, 0)
		return s.Append(e.w, []byte(fresh))
	}
}

// mapped changes a map: cells, a set in a map in a map, and removal of all
// that lies below a key.
func (e *editing) mapped(s *crdt.State, fresh string) (*crdt.State, error) {
	key := string(rune('p' + e.rng.IntN(2)))
	switch e.rng.IntN(5) {
	case 0, 1:
		e.removes(key+"/cell=", "")
		e.adds(key+"/cell="+fresh, 0)
		return s.Put(e.w, []byte(fresh), key, "cell")
	case 2:
		v := string(rune('a' + e.rng.IntN(3)))
		e.removes("", key+"/deep/set:"+v)
		e.adds(key+"/deep/set:"+v, 0)
		return s.Add(e.w, [][]byte{[]byte(v)}, key, "deep", "set")
	case 3:
		e.removes(key+"/deep/", "")
		return s.Delete(e.w, nil, key, "deep")
	default:
		e.removes(key+"/", "")
		return s.Delete(e.w, nil, key)
	}
}

// text types a few characters that nobody types again, or deletes some.
func (e *editing) text(parts []*record.Verified) ([]byte, error) {
	doc := text.New(e.w.Lane)
	if err := e.book.type_(doc, parts); err != nil {
		return nil, err
	}
	if doc.Waits(e.w.Lane) {
		return nil, nil
	}
	if doc.Parked() == 0 {
		e.r.noteDead(doc, parts, e.seen)
	}
	n := doc.Len()
	if n > 0 && e.rng.IntN(3) == 0 {
		at := e.rng.IntN(n)
		k := 1 + e.rng.IntN(min(4, n-at))
		gone, err := doc.Slice(at, at+k)
		if err != nil {
			return nil, err
		}
		for _, c := range gone {
			e.removes("", string(c))
		}
		if err := doc.Delete(at, k); err != nil {
			return nil, err
		}
	} else {
		s := ""
		for range 1 + e.rng.IntN(4) {
			c := string(rune(0x4E00 + len(e.book.events)))
			e.adds(c, 0)
			s += c
		}
		if err := doc.Insert(e.rng.IntN(n+1), s); err != nil {
			return nil, err
		}
	}
	deltas := doc.Flush(0)
	if len(deltas) != 1 {
		return nil, fmt.Errorf("%d deltas of one edit", len(deltas))
	}
	return deltas[0], nil
}
