package sketch

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

type vectors struct {
	Comment string      `json:"comment"`
	Items   []itemCase  `json:"items"`
	Sets    []setCase   `json:"sets"`
	Names   []namesCase `json:"names"`
}

type itemCase struct {
	ID     string   `json:"id"`
	Symbol string   `json:"symbol"`
	Check  uint64   `json:"check"`
	Dense  bool     `json:"dense"`
	Cells  []uint32 `json:"cells_below_2^20"`
	Tail   [3]uint8 `json:"tail"`
}

type setCase struct {
	Symbols   []string `json:"symbols"`
	Cells     string   `json:"cells"`
	Thin      string   `json:"thin"`
	Tail      string   `json:"tail"`
	Estimator string   `json:"estimator"`
}

type namesCase struct {
	Universe uint64   `json:"universe"`
	Names    []uint64 `json:"names"`
	Bytes    string   `json:"bytes"`
}

// made is the vectors as this implementation makes them.
func made() vectors {
	v := vectors{Comment: "docs/sketch.md says what these are"}
	for i := range 24 {
		var id [32]byte
		for k := range id {
			id[k] = byte(mix(uint64(i*32+k)) >> 9)
		}
		if i == 0 {
			id = [32]byte{}
		}
		y := Of(id)
		w := begin(y)
		v.Items = append(v.Items, itemCase{
			ID: hex.EncodeToString(id[:]), Symbol: hexOf(y), Check: w.seed >> 50, Dense: w.seed&15 < denseOf16,
			Cells: w.until(1<<20, nil), Tail: tailOf(w.seed),
		})
	}
	for _, n := range []int{0, 1, 2, 5, 40} {
		s := New(12)
		c := setCase{Symbols: []string{}}
		for i := range n {
			y := Symbol(mix(uint64(n*1000+i)) >> 16)
			c.Symbols = append(c.Symbols, hexOf(y))
			s.Add(y)
		}
		c.Cells = hex.EncodeToString(s.AppendCells(nil, 0, s.Len()))
		c.Thin = hex.EncodeToString(s.AppendThin(nil, 0, s.Len()))
		c.Tail = hex.EncodeToString(s.AppendTail(nil))
		c.Estimator = hex.EncodeToString(s.buckets[:])
		v.Sets = append(v.Sets, c)
	}
	for _, c := range []namesCase{
		{Universe: 1, Names: []uint64{}}, {Universe: 100, Names: []uint64{0}}, {Universe: 100, Names: []uint64{99, 99}},
		{Universe: 1 << 30, Names: []uint64{5, 1 << 10, 1 << 20, 1<<30 - 1}}, {Universe: 1 << 50, Names: []uint64{1 << 49, 1<<49 + 1}},
		{Universe: 8, Names: []uint64{0, 1, 2, 3, 4, 5, 6, 7}},
	} {
		c.Bytes = hex.EncodeToString(AppendNames(nil, c.Names, c.Universe))
		v.Names = append(v.Names, c)
	}
	return v
}

func hexOf(y Symbol) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 12)
	for i := range b {
		b[i] = digits[y>>(44-4*i)&15]
	}
	return string(b)
}

// TestGoldenVectors compares with testdata/vectors.json, which other
// implementations read too. -update rewrites it: that is another protocol.
func TestGoldenVectors(t *testing.T) {
	got, err := json.MarshalIndent(made(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const name = "testdata/vectors.json"
	if *update {
		if err := os.WriteFile(name, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got)+"\n" {
		t.Error("vectors differ from testdata: sketches of another version would not understand these")
	}
}
