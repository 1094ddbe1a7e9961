package merkle

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Vectors of proofs of many: of IDs 3, 700 (a member of none of the sets but
// the largest) and 5000 (of none), in every set; and some that show nothing
// about 3 and 5000 in the set of 17.
func TestGoldenMultiProofs(t *testing.T) {
	type vector struct {
		Name    string
		Count   int
		Deep    bool
		IDs     []string
		Proof   string
		Present []bool
		Error   string `json:",omitempty"`
	}
	hexes := func(ids []ID) (out []string) {
		for _, id := range ids {
			out = append(out, hexOf(id))
		}
		return out
	}
	var out []vector
	for _, s := range sets {
		var tree Tree
		tree.Insert(numberedSet(s.count, s.deep)...)
		for _, ids := range [][]ID{nil, {numbered(3), numbered(700), numbered(5000)}} {
			p, err := ProveMany(&tree, ids)
			if err != nil {
				t.Fatal(err)
			}
			present, err := p.Verify(tree.Hash(), ids)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			out = append(out, vector{Name: s.name, Count: s.count, Deep: s.deep, IDs: hexes(ids), Proof: hex.EncodeToString(p), Present: present})
		}
	}
	var tree Tree
	tree.Insert(numberedUpTo(17)...)
	ids := []ID{numbered(3), numbered(5000)}
	p, _ := ProveMany(&tree, ids)
	honest := hex.EncodeToString(p)
	zeros, ones := strings.Repeat("00", 32), strings.Repeat("11", 32)
	for _, v := range []struct{ name, proof string }{
		{"nothing", ""},
		{"an unknown node", "04"},
		{"everything is cut off", "03" + ones},
		{"a path is cut off", "0203" + ones + "03" + ones},
		{"an empty subtree that is written as a digest", "02" + honest[2:4] + "03" + zeros},
		{"an inner node over one leaf", "020100"},
		{"a leaf of 17", "0111"},
		{"an inner node without its right side", honest[:len(honest)/4*2]},
		{"a byte too many", honest + "00"},
		{"two empty sides", "020000"},
		{"nothing but inner nodes", strings.Repeat("02", 300)},
	} {
		b, err := hex.DecodeString(v.proof)
		if err != nil {
			t.Fatal(v.name, err)
		}
		if _, err = MultiProof(b).Verify(tree.Hash(), ids); err == nil {
			t.Errorf("%s: accepted", v.name)
			continue
		}
		out = append(out, vector{Name: v.name, Count: 17, IDs: hexes(ids), Proof: v.proof, Error: err.Error()})
	}
	golden(t, "multiproofs.json", out)
}
