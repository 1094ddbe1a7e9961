package merkle

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestOverlayIsTheRebuiltTrie(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := set{}
		var tree Tree
		for _, id := range someIDs(t, "base") {
			s[id] = true
			tree.Insert(id)
		}
		var src Source = &tree
		for range rapid.IntRange(1, 3).Draw(t, "layers") {
			add, remove := someIDs(t, "add"), rapid.SliceOfN(anID(), 0, 5).Draw(t, "absent")
			share := rapid.IntRange(0, 10).Draw(t, "removed tenths")
			for _, id := range s.ids() {
				if rapid.IntRange(0, 9).Draw(t, "out") < share {
					remove = append(remove, id)
				}
			}
			if n := rapid.IntRange(0, 3).Draw(t, "in both"); n <= len(remove) {
				add = append(add, remove[:n]...)
			}
			for _, id := range remove {
				delete(s, id)
			}
			for _, id := range add {
				s[id] = true
			}
			count, hash, err := OverlayHash(src, add, remove)
			if ids := s.ids(); err != nil || count != uint64(len(ids)) || hash != twin(ids, 0) {
				t.Fatalf("OverlayHash: count %d, hash %x, error %v; the definition: %d, %x", count, hash, err, len(ids), twin(ids, 0))
			}
			if src, err = Overlay(src, add, remove); err != nil {
				t.Fatal(err)
			}
			equalToTwin(t, src, s)
		}
		id := anID().Draw(t, "proved")
		p, err := Prove(src, id)
		if err != nil {
			t.Fatal(err)
		}
		if present, err := p.Verify(twin(s.ids(), 0), id); err != nil || present != s[id] {
			t.Fatalf("proof over an overlay: %v, %v", present, err)
		}
	})
}

// counted counts what is asked of a source, and fails when told to.
type counted struct {
	Source
	subtrees, lists, listed int
	failAfter               int
}

var errDisk = errors.New("disk")

func (c *counted) Subtree(prefix ID, depth int) (int, Digest, error) {
	if c.subtrees++; c.failAfter > 0 && c.subtrees+c.lists > c.failAfter {
		return 0, Digest{}, errDisk
	}
	return c.Source.Subtree(prefix, depth)
}

func (c *counted) IDs(prefix ID, depth int) ([]ID, error) {
	if c.lists++; c.failAfter > 0 && c.subtrees+c.lists > c.failAfter {
		return nil, errDisk
	}
	ids, err := c.Source.IDs(prefix, depth)
	c.listed = max(c.listed, len(ids))
	return ids, err
}

func TestOverlayReadsOnlyTheChangedPaths(t *testing.T) {
	ids := numberedUpTo(20_100)
	var tree Tree
	tree.Insert(ids[:20_000]...)
	c := &counted{Source: &tree}
	src, err := Overlay(c, ids[20_000:], ids[:100])
	if err != nil {
		t.Fatal(err)
	}
	if _, d, err := Hash(src); err != nil || d != twin(ids[100:], 0) {
		t.Fatalf("hash %x, error %v", d, err)
	}
	if c.subtrees > 200*2*12 || c.lists > 2*200 || c.listed > 2*LeafIDs {
		t.Errorf("%d subtrees, %d lists of up to %d IDs read", c.subtrees, c.lists, c.listed)
	}
	t.Logf("%d subtrees, %d lists of up to %d IDs read for 200 changes to 20 000", c.subtrees, c.lists, c.listed)
}

func TestSourceErrorsComeBack(t *testing.T) {
	var tree Tree
	tree.Insert(numberedUpTo(1000)...)
	for n := 1; ; n++ {
		c := &counted{Source: &tree, failAfter: n}
		src, err := Overlay(c, []ID{numbered(2000), numbered(2001)}, []ID{numbered(1)})
		if err == nil {
			_, err = Prove(src, numbered(7))
		}
		if err == nil {
			_, err = src.IDs(ID{}, 0)
		}
		if err == nil {
			if n < 20 {
				t.Fatalf("only %d reads", n)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
	}
}
