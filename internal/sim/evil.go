package sim

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"time"

	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/space"
)

// evil is what makes a replica malicious. It runs the same engine, sessions
// and store as everybody, holds a grant, and does its mischief to what leaves
// it: whoever has a key can write such a program.
type evil struct {
	r    *replica
	what Malice
	rng  *rand.Rand
	kept [][]byte // frames it has sent
}

func newEvil(r *replica, what Malice) *evil {
	return &evil{r: r, what: what, rng: rand.New(rand.NewPCG(r.w.plan.Seed, 0xe51+uint64(r.i)))}
}

func hashOf(b []byte) [32]byte { return sha256.Sum256(b) }

// rumorIn is the content of a frame that carries a rumor, nil for others:
//
//	3 | channel 1 | 1 | hops 1 | id 32 | content
func rumorIn(frame []byte) []byte {
	if len(frame) > 36 && frame[0] == 3 && frame[2] == 1 {
		return frame[36:]
	}
	return nil
}

// boot begins what it does of its own accord.
func (e *evil) boot() {
	every := map[Malice]time.Duration{Equivocating: 4 * time.Second, Flooding: 3 * time.Second, Raging: 3 * time.Second}[e.what]
	if every == 0 {
		return
	}
	var again func()
	again = func() {
		switch e.what {
		case Equivocating:
			e.equivocate()
		case Flooding:
			e.flood()
		case Raging:
			e.rage()
		}
		if !e.r.w.quiet {
			e.r.later(e.r.w.now+every, again)
		}
	}
	e.r.later(e.r.w.now+every, again)
}

// send passes a frame of rumors on, or what it makes of it.
func (e *evil) send(c *conn, o *replica, frame []byte) {
	w := e.r.w
	rumor := rumorIn(frame)
	switch {
	case e.what == Forging && rumor != nil:
		bad := append([]byte{}, frame...)
		bad[len(bad)-1-e.rng.IntN(min(len(rumor), 160))] ^= 1 << e.rng.IntN(8)
		w.check.forged[hashOf(rumorIn(bad))] = true
		w.sometimes("a forged rumor")
		frame = bad
	case e.what == Truncating && e.rng.IntN(3) == 0:
		w.sometimes("a frame cut short")
		frame = frame[:1+e.rng.IntN(len(frame))]
	case e.what == Withholding && rumor != nil:
		w.sometimes("a rumor withheld")
		return
	case e.what == Replaying:
		if len(e.kept) > 0 {
			w.sometimes("a frame replayed")
			w.carry(c, e.r, o, e.kept[e.rng.IntN(len(e.kept))])
		}
		if len(e.kept) < 64 && rumor != nil {
			e.kept = append(e.kept, frame)
		}
	}
	w.carry(c, e.r, o, frame)
}

// talk makes of a frame of a session what this replica sends; nil is nothing.
func (e *evil) talk(frame []byte) []byte {
	w := e.r.w
	switch {
	case e.what == Forging && session.FrameType(frame[0]) == session.DataFrame && len(frame) > 100:
		w.sometimes("a forged record in a session")
		bad := append([]byte{}, frame...)
		bad[len(bad)-1-e.rng.IntN(60)] ^= 1 << e.rng.IntN(8)
		return bad
	case e.what == Truncating && e.rng.IntN(3) == 0:
		return frame[:1+e.rng.IntN(len(frame))]
	}
	return frame
}

// equivocate writes two records under one number of its lane and tells
// different peers different ones.
func (e *evil) equivocate() {
	r, w := e.r, e.r.w
	lane, seq := uint64(0xE0+r.i), uint32(1+len(e.kept))
	e.kept = append(e.kept, nil)
	for i := range 2 {
		v, err := record.Sign(w.space, r.key, record.Record{
			Kind: record.Entry, Time: r.wall(), Lane: lane, Seq: seq, Path: "/log", Payload: []byte{byte(i), byte(seq)},
		})
		if err != nil {
			panic(err)
		}
		w.check.issueBy(v, r.i)
		w.sometimes("two records under one number")
		r.own(func() ([]*record.Verified, error) {
			_, err := r.rows.Commit(context.Background(), []*record.Verified{v})
			return []*record.Verified{v}, err
		}, nil)
	}
}

// flood sends frames as fast as the link takes them.
func (e *evil) flood() {
	r, w := e.r, e.r.w
	w.sometimes("a flood")
	junk := make([]byte, 200)
	for _, o := range w.replicas {
		c := w.conn(r, o)
		if c == nil || !c.up[c.side(r)] {
			continue
		}
		for n := range 3000 {
			frame := []byte{3, 0, 3, 1} // an announcement of IDs that do not exist
			for i := range junk[:32] {
				junk[i] = byte(e.rng.Uint32())
			}
			frame = append(frame, junk[:32]...)
			if w.conn(r, o) != c || n > 3000 {
				break
			}
			w.carry(c, r, o, frame)
		}
	}
}

// rage deletes documents of others, and sweeps whole lanes of its own.
func (e *evil) rage() {
	r, w := e.r, e.r.w
	w.sometimes("a rage delete")
	path := paths[e.rng.IntN(len(paths))]
	r.own(func() ([]*record.Verified, error) {
		return r.rows.Write(context.Background(), r.key, r.wall(), store.Draft{Kind: record.Doc, Path: path, Deleted: true})
	}, nil)
	view, err := r.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	for v, err := range view.List(store.Query{Authors: []record.Key{record.Public(r.key)}}) {
		if err != nil || !v.Data() || e.rng.IntN(3) > 0 {
			continue
		}
		s, err := record.Sign(w.space, r.key, record.Record{Kind: record.Sweep, Time: r.wall(), Lane: v.Lane, Seq: record.BlockOf(v.Seq), Path: "/"})
		if err != nil {
			continue
		}
		w.check.issueBy(s, r.i)
		r.own(func() ([]*record.Verified, error) {
			_, err := r.rows.Commit(context.Background(), []*record.Verified{s})
			return nil, err
		}, nil)
		return
	}
}

// view is what it shows in a session: all of it, only what is its own, or
// another root than that of what it holds.
func (e *evil) view(v session.View) session.View {
	switch e.what {
	case Withholding:
		e.r.w.sometimes("a session that withholds")
		return &partialView{View: v, self: record.Public(e.r.key), space: e.r.w.space}
	case Lying:
		if lie := e.lie(v); lie != nil {
			e.r.w.sometimes("a lie about a root")
			return lie
		}
	}
	return v
}

// lie is a view whose root is that of another set of as many records. The
// liar keeps to it from hello to the last frame: one that admits the truth
// half-way, or hangs up, has said nothing that a peer could tell from a set
// that moved and a link that broke.
func (e *evil) lie(v session.View) session.View {
	for item, err := range v.Index().Items(0, min(1, v.Index().Len())) {
		if err != nil {
			return nil
		}
		trie, err := merkle.Overlay(v.Trie(), []merkle.ID{hashOf(item.ID[:])}, []merkle.ID{item.ID})
		if err != nil {
			return nil
		}
		return &lyingView{View: v, trie: lyingTrie{v.Trie(), trie}, e: e}
	}
	return nil
}

// lyingTrie hashes another set than the one it finds records in.
type lyingTrie struct{ true, false merkle.Source }

func (t lyingTrie) Subtree(prefix merkle.ID, depth int) (int, merkle.Digest, error) {
	return t.false.Subtree(prefix, depth)
}

func (t lyingTrie) IDs(prefix merkle.ID, depth int) ([]merkle.ID, error) {
	if depth > 32 { // somebody asks for a record by its name
		return t.true.IDs(prefix, depth)
	}
	return t.false.IDs(prefix, depth)
}

// lyingView says that it holds a record that there is not, in the place of
// one that it holds.
type lyingView struct {
	session.View
	trie merkle.Source
	e    *evil
}

func (v *lyingView) Trie() merkle.Source { return v.trie }

func (v *lyingView) Root() ([32]byte, error) {
	count, hash, err := merkle.Hash(v.trie)
	return merkle.Root(v.e.r.w.space, nil, count, hash), err
}

func (v *lyingView) Filter(sweeps []*record.Verified) (session.View, error) {
	f, err := v.View.Filter(sweeps)
	if err != nil {
		return nil, err
	}
	return v.e.view(f), nil
}

// partialView shows control records, sweeps and one author's data.
type partialView struct {
	session.View
	self  record.Key
	space record.SpaceID
	index *reconcile.Vector
	trie  *merkle.Tree
}

func (v *partialView) build() {
	if v.index != nil {
		return
	}
	all := v.View.Index()
	var items []reconcile.Item
	v.trie = new(merkle.Tree)
	for item, err := range all.Items(0, all.Len()) {
		if err != nil {
			panic(err)
		}
		r, err := v.View.Get(record.ID(item.ID))
		if err != nil || r.Data() && r.Author != v.self {
			continue
		}
		items = append(items, item)
		v.trie.Insert(item.ID)
	}
	var err error
	if v.index, err = reconcile.NewVector(items); err != nil {
		panic(err)
	}
}

func (v *partialView) Count() uint64 { v.build(); return uint64(v.index.Len()) }

func (v *partialView) Root() ([32]byte, error) {
	v.build()
	return merkle.Root(v.space, nil, v.Count(), v.trie.Hash()), nil
}

func (v *partialView) Trie() merkle.Source    { v.build(); return v.trie }
func (v *partialView) Index() reconcile.Index { v.build(); return v.index }
func (v *partialView) State() *space.State    { return v.View.State() }

func (v *partialView) Filter(sweeps []*record.Verified) (session.View, error) {
	f, err := v.View.Filter(sweeps)
	if err != nil {
		return nil, err
	}
	return &partialView{View: f, self: v.self, space: v.space}, nil
}
