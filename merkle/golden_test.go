package merkle

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata; read the diff as a protocol change")

var proofSets = flag.Int("sets", 0, "how many random sets to prove everything of; 0: as many as go test has time for")

func golden[T any](t *testing.T, name string, got T) {
	t.Helper()
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetIndent("", " ")
	if err := e.Encode(got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), want) {
		t.Errorf("%s differs from what is computed:\n%s", path, buf.Bytes())
	}
}

// sets are those of the vectors: numbers stand for SHA-256(the number as 8
// bytes big-endian), or, if Deep, for 31 zero bytes and the number.
var sets = []struct {
	name  string
	count int
	deep  bool
}{
	{"no IDs", 0, false},
	{"one ID", 1, false},
	{"a full leaf", 16, false},
	{"the smallest inner node", 17, false},
	{"a thousand IDs", 1000, false},
	{"17 IDs that share 251 bits: the deepest trie", 17, true},
}

func numberedSet(count int, deep bool) []ID {
	ids := numberedUpTo(count)
	if deep {
		for i := range ids {
			ids[i] = ID{31: byte(i)}
		}
	}
	return ids
}

func TestGoldenRoots(t *testing.T) {
	type vector struct {
		Name         string
		Count        int
		Deep         bool
		Trie         string
		Space, Query string
		Root         string
	}
	var out []vector
	for i, s := range sets {
		var tree Tree
		tree.Insert(numberedSet(s.count, s.deep)...)
		trie := tree.Hash()
		if trie != twin(numberedSet(s.count, s.deep), 0) {
			t.Errorf("%s: not the definition's hash", s.name)
		}
		space, query := numbered(1<<20+i), []byte(nil)
		if i%2 == 1 {
			query = []byte{1, 0, 0, 0, 0, 0, 0, byte(i)}
		}
		root := Root(space, query, uint64(s.count), trie)
		out = append(out, vector{s.name, s.count, s.deep, hex.EncodeToString(trie[:]), hex.EncodeToString(space[:]), hex.EncodeToString(query), hex.EncodeToString(root[:])})
	}
	golden(t, "roots.json", out)
}

func TestGoldenProofs(t *testing.T) {
	type vector struct {
		Name    string
		Count   int
		Deep    bool
		ID      string
		Proof   string
		Present bool
		Error   string `json:",omitempty"`
	}
	var out []vector
	for _, s := range sets {
		var tree Tree
		tree.Insert(numberedSet(s.count, s.deep)...)
		ids := []ID{numbered(5000)}
		if s.count > 0 {
			ids = append(ids, numberedSet(s.count, s.deep)[s.count/2])
		}
		for i, id := range ids {
			p, err := Prove(&tree, id)
			if err != nil {
				t.Fatal(err)
			}
			present, err := p.Verify(tree.Hash(), id)
			if err != nil || present != (i == 1) {
				t.Errorf("%s: %v, %v", s.name, present, err)
			}
			out = append(out, vector{Name: s.name, Count: s.count, Deep: s.deep, ID: hex.EncodeToString(id[:]), Proof: hex.EncodeToString(p.Encode()), Present: present})
		}
	}

	// And some that show nothing about ID 3 in the set of 17.
	var tree Tree
	tree.Insert(numberedUpTo(17)...)
	id := numbered(3)
	p, _ := Prove(&tree, id)
	honest := hex.EncodeToString(p.Encode())
	zeros, ones := strings.Repeat("00", 32), strings.Repeat("11", 32)
	flip := func(s string, at int) string {
		b, _ := hex.DecodeString(s)
		b[at] ^= 1
		return hex.EncodeToString(b)
	}
	for _, v := range []struct{ name, proof string }{
		{"nothing", ""},
		{"depth 253", "fd"},
		{"siblings cut short", "01" + zeros[2:]},
		{"no leaf", "01" + ones},
		{"leaf of 17", "0011"},
		{"leaf cut short", honest[:len(honest)-2]},
		{"a byte too many", honest + "00"},
		{"IDs descending", "0002" + ones + zeros},
		{"the same ID twice", "0002" + ones + ones},
		{"the leaf's sibling is empty", "01" + zeros + "00"},
		{"a bit of the sibling changed", flip(honest, 1)},
		{"the last bit of the leaf changed", flip(honest, len(honest)/2-1)},
		{"a leaf that is not on the path", "0101" + zeros[2:] + "01" + hexOf(flipped(id, 0))},
		{"an empty tree's proof", "0000"},
	} {
		b, err := hex.DecodeString(v.proof)
		if err != nil {
			t.Fatal(v.name, err)
		}
		q, err := DecodeProof(b)
		if err == nil {
			_, err = q.Verify(tree.Hash(), id)
		}
		if err == nil {
			t.Errorf("%s: accepted", v.name)
			continue
		}
		out = append(out, vector{Name: v.name, Count: 17, ID: hexOf(id), Proof: v.proof, Error: err.Error()})
	}
	golden(t, "proofs.json", out)
}

func hexOf(id ID) string { return hex.EncodeToString(id[:]) }
