package attest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// world is one device's replica: a space with a root key, an admin who let
// the device in, and what the device holds and has attested.
type world struct {
	t       testing.TB
	genesis *space.Genesis
	name    record.SpaceID
	device  record.Key
	admin   ed25519.PrivateKey
	author  ed25519.PrivateKey
	control []*record.Verified
	records []*record.Verified
	log     Log
	stored  map[int64]Hash
	last    []byte
	now     uint64
	seq     uint32
}

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newWorld(t testing.TB) *world {
	root := key("root")
	genesis, err := space.NewGenesis(root, nil, [16]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, genesis: genesis, name: genesis.ID(), device: record.Key{1, 2, 3},
		admin: key("admin"), author: key("author"), stored: map[int64]Hash{}, now: 1_700_000_000_000_000,
	}
	w.log.Stored = func(at []int64) ([]Hash, error) {
		out := make([]Hash, len(at))
		for i, p := range at {
			h, ok := w.stored[p]
			if !ok {
				return nil, fmt.Errorf("no hash at %d", p)
			}
			out[i] = h
		}
		return out, nil
	}
	first := w.grant(root, record.ID{}, w.admin, record.Key{9}, record.Admin)
	w.grant(w.admin, first.ID, w.author, w.device, record.Writer)
	return w
}

func (w *world) sign(k ed25519.PrivateKey, r record.Record) *record.Verified {
	w.t.Helper()
	w.now++
	r.Time, r.Author = w.now, record.Public(k)
	v, err := record.Sign(w.name, k, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) grant(issuer ed25519.PrivateKey, under record.ID, to ed25519.PrivateKey, device record.Key, role record.Role) *record.Verified {
	body := &record.ControlBody{Under: under, Grant: &record.Grant{Author: record.Public(to), Device: device, Role: role}}
	v := w.sign(issuer, record.Record{Kind: record.Control, Path: "/", Payload: body.Payload()})
	w.control = append(w.control, v)
	w.records = append(w.records, v)
	return v
}

func (w *world) put(path, text string) *record.Verified {
	w.seq++
	v := w.sign(w.author, record.Record{Kind: record.Doc, Lane: 5, Seq: w.seq, Path: path, Payload: []byte(text)})
	w.records = append(w.records, v)
	return v
}

// sweep removes numbers of lane 5 and lets the dead go.
func (w *world) sweep(area string, numbers ...uint32) *record.Verified {
	bits := make([]byte, (slices.Max(numbers)+7)/8)
	for _, n := range numbers {
		bits[(n-1)/8] |= 1 << ((n - 1) % 8)
	}
	v := w.sign(w.author, record.Record{Kind: record.Sweep, Lane: 5, Path: area, Payload: bits})
	w.records = append(w.records, v)
	state := w.state()
	var left []*record.Verified
	for _, r := range w.records {
		if state.Judge(r) == space.Member {
			left = append(left, r)
		}
	}
	w.records = left
	return v
}

func (w *world) state() *space.State {
	s := space.NewState(w.genesis.Roots)
	s.Insert(w.records...)
	return s
}

func (w *world) trie() *merkle.Tree {
	var t merkle.Tree
	for _, r := range w.records {
		t.Insert(merkle.ID(r.ID))
	}
	return &t
}

// attest signs what the world holds, and an answer if there is one.
func (w *world) attest(answer *Answer) *Attestation {
	w.t.Helper()
	trie := w.trie()
	w.now++
	a := &Attestation{Space: w.name, Time: w.now, Count: uint64(trie.Count()), Trie: trie.Hash(), Log: 5, Answer: answer}
	if leaf := a.Leaf(); string(leaf) != string(w.last) {
		first, hashes, err := w.log.Append(leaf)
		if err != nil {
			w.t.Fatal(err)
		}
		for i, h := range hashes {
			w.stored[first+int64(i)] = h
		}
		w.last = leaf
	}
	a.Size = w.log.Size
	var err error
	if a.Head, err = w.log.Head(a.Size); err != nil {
		w.t.Fatal(err)
	}
	a.Sign(w.author)
	return a
}

// answer answers a query about what the world holds; pick may lie.
func (w *world) answer(q space.Query, pick func([]*record.Verified) []*record.Verified) (*Body, *Attestation) {
	w.t.Helper()
	var rs []*record.Verified
	for _, r := range w.records {
		switch {
		case r.Kind == record.Control, r.Kind == record.Sweep && q.Concerns(&r.Record), isData(r) && q.Selects(&r.Record):
			rs = append(rs, r)
		}
	}
	if pick != nil {
		rs = pick(rs)
	}
	b, err := NewBody(w.trie(), rs)
	if err != nil {
		w.t.Fatal(err)
	}
	return b, w.attest(b.Describe([16]byte{4}, q))
}

func (w *world) file(kind Kind, a *Attestation, authors ...record.Key) *File {
	w.t.Helper()
	f := &File{Kind: kind, Genesis: w.genesis.Encode(), Attestation: a}
	chain, err := Chain(w.state(), append(authors, a.Author)...)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range chain {
		f.Chain = append(f.Chain, g.Bytes)
	}
	return f
}

func (w *world) prove(trie *merkle.Tree, id record.ID) merkle.Proof {
	w.t.Helper()
	p, err := merkle.Prove(trie, merkle.ID(id))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }
