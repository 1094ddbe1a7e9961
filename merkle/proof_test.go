package merkle

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestProofsVerifyAndAlteredOnesDoNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := set{}
		var tree Tree
		for _, id := range someIDs(t, "ids") {
			s[id] = true
			tree.Insert(id)
		}
		root := tree.Hash()
		id := anID().Draw(t, "id")
		if ids := s.ids(); len(ids) > 0 && rapid.Bool().Draw(t, "a member") {
			id = rapid.SampledFrom(ids).Draw(t, "member")
		}
		p, err := Prove(&tree, id)
		if err != nil {
			t.Fatal(err)
		}
		if present, err := p.Verify(root, id); err != nil || present != s[id] {
			t.Fatalf("present %v, error %v, want %v", present, err, s[id])
		}
		b := p.Encode()
		if q, err := DecodeProof(b); err != nil || !bytes.Equal(q.Encode(), b) {
			t.Fatalf("decode: %v", err)
		}

		// Another byte string shows nothing, or the same about the same ID.
		c := slices.Clone(b)
		switch rapid.IntRange(0, 3).Draw(t, "alteration") {
		case 0:
			c[rapid.IntRange(0, len(c)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1:
			c = c[:rapid.IntRange(0, len(c)-1).Draw(t, "length")]
		case 2:
			c = append(c, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "tail")...)
		case 3:
			at := rapid.IntRange(0, len(c)).Draw(t, "at")
			c = slices.Insert(c, at, rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "more")...)
		}
		if q, err := DecodeProof(c); err == nil {
			if _, err := q.Verify(root, id); err == nil {
				t.Fatalf("altered proof verifies:\n%x\n%x", b, c)
			}
		}

		// And it proves nothing under another root, nor a wrong answer
		// about another ID.
		if _, err := p.Verify(twin(append(s.ids(), ID{5: 5, 17: 3}), 0), id); !s[ID{5: 5, 17: 3}] && !errors.Is(err, ErrProofMismatch) {
			t.Fatalf("other root: %v", err)
		}
		other := anID().Draw(t, "other")
		if present, err := p.Verify(root, other); err == nil && present != s[other] {
			t.Fatalf("the proof for %x says %v about %x", id, present, other)
		}
	})
}

func TestProofOfADeepMember(t *testing.T) {
	var tree Tree
	for i := range 17 { // share 251 bits: the deepest leaf there can be
		tree.Insert(ID{31: byte(i)})
	}
	p, err := Prove(&tree, ID{31: 3})
	if err != nil || len(p.Siblings) != maxDepth {
		t.Fatalf("depth %d, error %v", len(p.Siblings), err)
	}
	if present, err := p.Verify(tree.Hash(), ID{31: 3}); err != nil || !present {
		t.Fatal(present, err)
	}
	if present, err := p.Verify(tree.Hash(), ID{31: 0x0f}); err != nil || !present {
		t.Fatal("the same leaf answers for its neighbour:", present, err)
	}
	if _, err := DecodeProof(p.Encode()); err != nil {
		t.Fatal(err)
	}
}

func FuzzProof(f *testing.F) {
	var tree Tree
	tree.Insert(numberedUpTo(300)...)
	tree.Insert(ID{}, ID{31: 1})
	root, id := tree.Hash(), numbered(7)
	for _, id := range []ID{id, numbered(1000), {}} {
		p, err := Prove(&tree, id)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Encode())
	}
	f.Add([]byte{0, 0})
	f.Add([]byte{255, 16})
	honest, _ := Prove(&tree, id)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeProof(b)
		if err != nil {
			if !errors.Is(err, ErrProofEncoding) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(p.Encode(), b) {
			t.Fatalf("accepted bytes encode differently: %x", p.Encode())
		}
		if _, err := p.Verify(root, id); err == nil && !bytes.Equal(b, honest.Encode()) {
			t.Fatal("a second proof for the same ID and root")
		}
	})
}
