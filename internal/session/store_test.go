package session

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/space"
)

// world is what the replicas of a test share: a space and its keys, made
// from numbers so that every run signs the same bytes.
type world struct {
	id    record.SpaceID
	root  ed25519.PrivateKey
	roots []record.Key
}

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newWorld() *world {
	root := keyOf("root")
	g, err := space.NewGenesis(root, nil, [16]byte{1})
	if err != nil {
		panic(err)
	}
	return &world{id: g.ID(), root: root, roots: g.Roots}
}

func (w *world) sign(key ed25519.PrivateKey, r record.Record) *record.Verified {
	v, err := record.Sign(w.id, key, r)
	if err != nil {
		panic(err)
	}
	return v
}

// grant makes an author by the root key's hand.
func (w *world) grant(author ed25519.PrivateKey, role record.Role, at uint64) *record.Verified {
	body := record.ControlBody{Type: record.GrantType, Grant: &record.Grant{
		Author: record.Public(author), Device: record.Key{byte(at)}, Role: role,
	}}
	return w.sign(w.root, record.Record{Kind: record.Control, Time: at, Path: "/", Payload: body.Payload()})
}

// seal withdraws a grant; the IDs listed stand.
func (w *world) seal(target record.ID, at uint64, list ...record.ID) *record.Verified {
	s := &record.Seal{Target: target, SealID: [16]byte{byte(at)}, Part: 1, Parts: 1}
	for _, id := range list {
		s.List = append(s.List, id.Prefix())
	}
	slices.SortFunc(s.List, func(a, b record.Prefix) int { return slices.Compare(a[:], b[:]) })
	body := record.ControlBody{Type: record.SealType, Seal: s}
	return w.sign(w.root, record.Record{Kind: record.Control, Time: at, Path: "/", Payload: body.Payload()})
}

func (w *world) entry(key ed25519.PrivateKey, lane uint64, seq uint32, payload []byte) *record.Verified {
	return w.sign(key, record.Record{
		Kind: record.Entry, Time: 1000*uint64(seq) + lane, Lane: lane, Seq: seq,
		Path: fmt.Sprintf("/notes/%d", seq%7), Payload: payload,
	})
}

// sweep removes numbers 1..4096 of a lane.
func (w *world) sweep(key ed25519.PrivateKey, lane, at uint64, numbers ...uint32) *record.Verified {
	var bits []byte
	for _, n := range numbers {
		for int((n-1)/8) >= len(bits) {
			bits = append(bits, 0)
		}
		bits[(n-1)/8] |= 1 << ((n - 1) % 8)
	}
	return w.sign(key, record.Record{Kind: record.Sweep, Time: at, Lane: lane, Path: "/", Payload: bits})
}

// entries are n records of one lane.
func (w *world) entries(key ed25519.PrivateKey, lane uint64, n int) []*record.Verified {
	out := make([]*record.Verified, n)
	for i := range out {
		out[i] = w.entry(key, lane, uint32(i+1), fmt.Appendf(nil, "note %d of lane %d", i+1, lane))
	}
	return out
}

// testStore is a store without a disk: the law, applied anew every time.
type testStore struct {
	w       *world
	state   *space.State
	data    map[record.ID]*record.Verified // live and held; the dead are destroyed
	version uint64
}

func (w *world) store(rs ...*record.Verified) *testStore {
	s := &testStore{w: w, state: space.NewState(w.roots), data: map[record.ID]*record.Verified{}}
	s.commit(rs)
	return s
}

func (s *testStore) commit(rs []*record.Verified) {
	s.version++
	for _, r := range rs {
		if r.Data() {
			s.data[r.ID] = r
		} else {
			s.state.Insert(r)
		}
	}
	for id, r := range s.data {
		if s.state.Judge(r) == space.Dead && !s.state.Listed(id) {
			delete(s.data, id)
		}
	}
}

func (s *testStore) view() *testView {
	return newTestView(s.w, s.version, s.state.Clone(), maps.Clone(s.data))
}

func (s *testStore) root() [32]byte {
	root, err := s.view().Root()
	if err != nil {
		panic(err)
	}
	return root
}

// testView is a snapshot of a testStore.
type testView struct {
	w       *world
	version uint64
	state   *space.State
	data    map[record.ID]*record.Verified
	members map[record.ID]*record.Verified
	vector  *reconcile.Vector
	trie    *merkle.Tree
	lost    map[record.ID]bool // IDs whose bytes are gone
	broken  error              // what Get returns
}

func newTestView(w *world, version uint64, state *space.State, data map[record.ID]*record.Verified) *testView {
	v := &testView{w: w, version: version, state: state, data: data, trie: new(merkle.Tree), members: map[record.ID]*record.Verified{}}
	for id, r := range data {
		if state.Judge(r) == space.Member {
			v.members[id] = r
		}
	}
	for _, r := range append(state.Control(), state.Sweeps()...) {
		v.members[r.ID] = r
	}
	var items []reconcile.Item
	for id, r := range v.members {
		items = append(items, reconcile.Item{Time: r.Time, ID: id})
		v.trie.Insert(id)
	}
	var err error
	if v.vector, err = reconcile.NewVector(items); err != nil {
		panic(err)
	}
	return v
}

func (v *testView) Version() uint64        { return v.version }
func (v *testView) Count() uint64          { return uint64(len(v.members)) }
func (v *testView) Trie() merkle.Source    { return v.trie }
func (v *testView) Index() reconcile.Index { return v.vector }
func (v *testView) State() *space.State    { return v.state }

func (v *testView) Root() ([32]byte, error) {
	count, trie, err := merkle.Hash(v.trie)
	return merkle.Root(v.w.id, nil, count, trie), err
}

// Get gives held records too, as a store might.
func (v *testView) Get(id record.ID) (*record.Verified, error) {
	if v.broken != nil {
		return nil, v.broken
	}
	if r, ok := v.members[id]; ok && !v.lost[id] {
		return r, nil
	}
	if r, ok := v.data[id]; ok && !v.lost[id] {
		return r, nil
	}
	return nil, fmt.Errorf("get %v: %w", id, ErrGone)
}

func (v *testView) Filter(sweeps []*record.Verified) (View, error) {
	state := v.state.Clone()
	state.Insert(sweeps...)
	f := newTestView(v.w, v.version, state, v.data)
	f.lost, f.broken = v.lost, v.broken
	return f, nil
}

func seed(n uint64) (b [8]byte) {
	binary.BigEndian.PutUint64(b[:], n)
	return b
}
