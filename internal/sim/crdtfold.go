package sim

import (
	"context"
	"errors"
	"maps"
	"slices"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
)

// fold replaces what the replica wrote at a path by one record that says the
// same, and then sweeps it.
func (r *replica) fold(seed uint64) {
	if !r.up || r.frozen > r.w.now || !r.honest() {
		return
	}
	path := ""
	author := record.Public(r.key)
	for i := range uint64(len(documents)) { // of those with something to fold
		p := documents[(seed+i)%uint64(len(documents))]
		parts, err := r.parts(p)
		if err != nil {
			return
		}
		n := 0
		for _, v := range parts {
			if v.Author == author {
				n++
			}
		}
		if n > 1 && path == "" {
			path = p
		}
	}
	if path == "" {
		return
	}
	var old []record.ID
	r.own(func() (rs []*record.Verified, err error) {
		if path == "/docs/text" {
			rs, old, err = r.foldedText(path)
		} else {
			rs, old, err = r.folded(path)
		}
		return rs, err
	}, func(rs []*record.Verified) {
		if len(rs) == 0 {
			return
		}
		r.w.sometimes("a fold")
		if path == "/docs/text" {
			r.w.sometimes("a fold of a text")
		}
		r.own(func() ([]*record.Verified, error) {
			err := r.rows.Remove(context.Background(), r.key, r.wall(), old...)
			if errors.Is(err, store.ErrNotFound) {
				err = nil // a clone of this home was faster
			}
			return nil, err
		}, func([]*record.Verified) { r.w.sometimes("a fold's sweep") })
	})
}

func (r *replica) folded(path string) ([]*record.Verified, []record.ID, error) {
	parts, err := r.parts(path)
	if err != nil {
		return nil, nil, err
	}
	author := record.Public(r.key)
	b := &r.w.check.book
	var mine, theirs []*record.Verified
	var old []record.ID
	whose := map[uint64]record.Key{}
	others := map[record.Key][]*record.Verified{}
	for _, v := range parts {
		whose[laneIn(v.Author, v.Lane)] = v.Author
		if v.Author == author {
			mine, old = append(mine, v), append(old, v.ID)
			continue
		}
		theirs = append(theirs, v)
		others[v.Author] = append(others[v.Author], v)
	}
	if len(mine) < 2 {
		return nil, nil, nil
	}
	var said []crdt.Said
	for a, vs := range others {
		said = append(said, crdt.Said{State: b.join(vs), Owns: func(lane uint64) bool { return whose[lane] == a }})
	}
	fold := crdt.Fold(b.states(mine), said...)
	drafts := []store.Draft{{Kind: record.Delta, Path: path, Payload: fold.AppendTo(nil)}}
	rs, err := r.rows.Write(context.Background(), r.key, r.wall(), drafts...)
	if err != nil {
		return nil, nil, err
	}
	says := b.seen(mine)
	if path != "/docs/count" { // it adopts what others removed; resets stay their writer's
		gone := b.seen(theirs).gone
		gone.keep(says.has)
		says.gone.join(gone)
	}
	b.pages[rs[0].ID] = says
	return rs, old, nil
}

// foldedText folds what the replica's author wrote to a text, in whatever
// lanes, and drops what was deleted already when it folded the time before.
func (r *replica) foldedText(path string) ([]*record.Verified, []record.ID, error) {
	parts, err := r.parts(path)
	if err != nil {
		return nil, nil, err
	}
	b, author := &r.w.check.book, record.Public(r.key)
	doc := text.New(0)
	if err := b.type_(doc, parts); err != nil {
		r.w.violate("C14", "replica %d: a delta of the text is refused: %v", r.i, err)
		return nil, nil, nil
	}
	var mine []*record.Verified
	var old []record.ID
	bodies, spans := map[uint64][][]byte{}, map[uint64][]text.FoldedSpan{}
	for _, v := range parts {
		if v.Author != author {
			continue
		}
		mine, old = append(mine, v), append(old, v.ID)
		spans[v.Lane] = append(spans[v.Lane], text.FoldedSpan{First: v.Seq, Last: v.Seq, Records: 1})
		if f, err := text.ParseFold(v.Payload); err == nil {
			for _, p := range f.Parts {
				spans[p.Lane] = append(spans[p.Lane], p.Spans...)
			}
		}
		for lane, body := range saidBy(v) {
			bodies[lane] = append(bodies[lane], body)
		}
	}
	if len(mine) < 2 || doc.Parked() > 0 {
		return nil, nil, nil
	}
	var fold text.Folded
	dropped := 0
	for _, lane := range slices.Sorted(maps.Keys(spans)) {
		p := text.FoldedPart{Lane: lane, Spans: text.JoinSpans(spans[lane], nil)}
		name := laneIn(author, lane)
		if len(bodies[lane]) > 0 {
			body, n, err := doc.Fold(name, bodies[lane], r.dead.claims[name])
			switch {
			case errors.Is(err, text.ErrGap), errors.Is(err, text.ErrMissing):
				return nil, nil, nil // what is between is with somebody else
			case err != nil:
				r.w.violate("C14", "replica %d cannot fold the text: %v", r.i, err)
				return nil, nil, nil
			}
			p.Body, dropped = body, dropped+n
		}
		fold.Parts = append(fold.Parts, p)
	}
	rs, err := r.rows.Write(context.Background(), r.key, r.wall(), store.Draft{Kind: record.Delta, Path: path, Payload: fold.AppendTo(nil)})
	if err != nil {
		return nil, nil, err
	}
	says, seen := b.seen(mine), b.seen(parts)
	if dropped > 0 {
		r.w.sometimes("a fold of a text that drops what is dead")
		gone := slices.Clone(seen.gone) // for good, whoever deleted it
		gone.keep(r.dead.gone)
		gone.keep(says.has)
		says.gone.join(gone)
	}
	r.noteDead(doc, parts, seen)
	b.pages[rs[0].ID] = says
	return rs, old, nil
}

// deadText is what of a text was deleted at some time: what text.Dead said, by
// the names of lanes, and in the book's numbers.
type deadText struct {
	claims map[uint64][]byte
	gone   set
}

// noteDead notes what of the author's characters is deleted now.
func (r *replica) noteDead(doc *text.Doc, parts []*record.Verified, seen page) {
	r.dead = deadText{map[uint64][]byte{}, slices.Clone(seen.gone)}
	author := record.Public(r.key)
	for _, v := range parts {
		if v.Author != author {
			continue
		}
		for lane := range saidBy(v) {
			name := laneIn(author, lane)
			r.dead.claims[name] = doc.Dead(name)
		}
	}
}

// saidBy yields the deltas that a record of a text carries, and their lanes as
// records have them.
func saidBy(v *record.Verified) func(func(uint64, []byte) bool) {
	return func(yield func(uint64, []byte) bool) {
		f, err := text.ParseFold(v.Payload)
		if err != nil {
			yield(v.Lane, v.Payload)
			return
		}
		for _, p := range f.Parts {
			if len(p.Body) > 0 && !yield(p.Lane, p.Body) {
				return
			}
		}
	}
}
