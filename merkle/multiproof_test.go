package merkle

import (
	"bytes"
	"errors"
	"math/rand"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// twinMulti is the definition of a MultiProof, from the whole set.
func twinMulti(set, asked []ID, depth int) []byte {
	digest := twin(set, depth)
	switch {
	case len(set) == 0:
		return []byte{0}
	case len(asked) == 0:
		return append([]byte{3}, digest[:]...)
	case len(set) <= 16:
		b := []byte{1, byte(len(set))}
		for _, id := range slices.SortedFunc(slices.Values(set), compareIDs) {
			b = append(b, id[:]...)
		}
		return b
	}
	half := func(ids []ID, want byte) (out []ID) {
		for _, id := range ids {
			if id[depth/8]>>(7-depth%8)&1 == want {
				out = append(out, id)
			}
		}
		return out
	}
	b := append([]byte{2}, twinMulti(half(set, 0), half(asked, 0), depth+1)...)
	return append(b, twinMulti(half(set, 1), half(asked, 1), depth+1)...)
}

func TestAMultiProofIsTheDefinitionsAndAlteredOnesShowNothingFalse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := set{}
		var tree Tree
		for _, id := range someIDs(t, "ids") {
			s[id] = true
			tree.Insert(id)
		}
		root, all := tree.Hash(), s.ids()
		asked := rapid.SliceOfN(anID(), 0, 12).Draw(t, "asked")
		for range rapid.IntRange(0, 8).Draw(t, "members") {
			if len(all) > 0 {
				asked = append(asked, rapid.SampledFrom(all).Draw(t, "member"))
			}
		}
		p, err := ProveMany(&tree, asked)
		if err != nil {
			t.Fatal(err)
		}
		if want := twinMulti(all, asked, 0); !bytes.Equal(p, want) {
			t.Fatalf("proof\n%x, by definition\n%x", p, want)
		}
		present, err := p.Verify(root, asked)
		if err != nil || len(present) != len(asked) {
			t.Fatal(present, err)
		}
		for i, id := range asked {
			if present[i] != s[id] {
				t.Fatalf("%x: %v, want %v", id, present[i], s[id])
			}
		}
		if len(asked) == 0 {
			return
		}
		c := slices.Clone(p)
		switch rapid.IntRange(0, 2).Draw(t, "alteration") {
		case 0:
			c[rapid.IntRange(0, len(c)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1:
			c = c[:rapid.IntRange(0, len(c)-1).Draw(t, "length")]
		case 2:
			c = append(c, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "tail")...)
		}
		if _, err := c.Verify(root, asked); err == nil {
			t.Fatalf("altered proof verifies:\n%x\n%x", p, c)
		} else if !errors.Is(err, ErrProofEncoding) && !errors.Is(err, ErrProofMismatch) {
			t.Fatal(err)
		}
	})
}

// Every member and as many non-members of many random sets, one by one and
// all in one proof.
func TestProofsOfEveryMemberAndOfNonMembers(t *testing.T) {
	sets := 400
	if testing.Short() {
		sets = 40
	}
	if *proofSets > 0 {
		sets = *proofSets
	}
	for seed := range sets {
		rng := rand.New(rand.NewSource(int64(seed)))
		var tree Tree
		s := set{}
		var ids []ID
		for range rng.Intn(120) {
			var id ID
			rng.Read(id[:])
			if rng.Intn(4) == 0 {
				copy(id[:], bytes.Repeat([]byte{0xa5}, rng.Intn(30)))
			}
			tree.Insert(id)
			s[id] = true
			ids = append(ids, id)
		}
		for range len(ids) + 1 {
			var id ID
			rng.Read(id[:])
			if len(ids) > 0 && rng.Intn(2) == 0 {
				id = flipped(ids[rng.Intn(len(ids))], rng.Intn(256))
			}
			ids = append(ids, id)
		}
		root := twin(s.ids(), 0)
		for _, id := range ids {
			p, err := Prove(&tree, id)
			if err != nil {
				t.Fatal(err)
			}
			if present, err := p.Verify(root, id); err != nil || present != s[id] {
				t.Fatalf("seed %d, %x: %v %v", seed, id, present, err)
			}
		}
		p, err := ProveMany(&tree, ids)
		if err != nil {
			t.Fatal(err)
		}
		present, err := p.Verify(root, ids)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i, id := range ids {
			if present[i] != s[id] {
				t.Fatalf("seed %d, %x: %v", seed, id, present[i])
			}
		}
	}
}

func TestAMultiProofSharesWhatPathsShare(t *testing.T) {
	var tree Tree
	tree.Insert(numberedUpTo(100_000)...)
	asked := numberedUpTo(100)
	many, err := ProveMany(&tree, asked)
	if err != nil {
		t.Fatal(err)
	}
	apart := 0
	for _, id := range asked {
		p, err := Prove(&tree, id)
		if err != nil {
			t.Fatal(err)
		}
		apart += len(p.Encode())
	}
	t.Logf("100 of 100 000 IDs: %d bytes together, %d apart", len(many), apart)
	if len(many) >= apart*9/10 {
		t.Errorf("%d bytes together, %d apart", len(many), apart)
	}
}

func FuzzMultiProof(f *testing.F) {
	var tree Tree
	tree.Insert(numberedUpTo(300)...)
	root := tree.Hash()
	asked := []ID{numbered(7), numbered(1000), {}}
	honest, err := ProveMany(&tree, asked)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(honest))
	f.Add([]byte{2, 0, 0})
	f.Add(bytes.Repeat([]byte{2}, 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := MultiProof(b).Verify(root, asked)
		if (err == nil) != bytes.Equal(b, honest) {
			t.Fatalf("accepted: %v", err)
		}
	})
}
