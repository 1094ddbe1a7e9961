package space

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"anabranch/record"
)

func aQuery() *rapid.Generator[Query] {
	return rapid.Custom(func(t *rapid.T) Query {
		var q Query
		for _, b := range rapid.SliceOfNDistinct(rapid.Byte(), 0, 3, rapid.ID[byte]).Draw(t, "authors") {
			q.Authors = append(q.Authors, record.Key{b})
		}
		slices.SortFunc(q.Authors, record.Key.Compare)
		switch rapid.IntRange(0, 2).Draw(t, "path") {
		case 1:
			q.Prefix = rapid.SampledFrom([]string{"/a", "/a/b", "/a-b", "/b"}).Draw(t, "prefix")
		case 2:
			q.Gte = rapid.StringMatching(`[a-c/0-]{0,3}`).Draw(t, "gte")
			q.Lte = q.Gte + rapid.StringMatching(`[a-c/0-]{1,3}`).Draw(t, "lte")
		}
		for _, k := range rapid.SliceOfNDistinct(rapid.Uint8Range(1, 7), 0, 2, rapid.ID[uint8]).Draw(t, "kinds") {
			q.Kinds = append(q.Kinds, record.Kind(k))
		}
		slices.Sort(q.Kinds)
		if rapid.Bool().Draw(t, "times") {
			q.From = rapid.Uint64Range(0, 5).Draw(t, "from")
			q.To = q.From + rapid.Uint64Range(0, 5).Draw(t, "for")
			if q.To == q.From {
				q.To = 0
			}
		}
		return q
	})
}

func TestAQueryHasOneSpelling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := aQuery().Draw(t, "query")
		if err := q.Check(); err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		b := q.Encode()
		if (len(b) == 0) != q.All() {
			t.Fatalf("%+v is %d bytes", q, len(b))
		}
		back, err := DecodeQuery(b)
		if err != nil || !reflect.DeepEqual(back, q) {
			t.Fatalf("%+v came back as %+v: %v", q, back, err)
		}
	})
}

// A sweep concerns a query exactly if some path that it may sweep is one that
// the query selects: tried with every path of a small alphabet.
func TestASweepConcernsWhatItsAreaShares(t *testing.T) {
	paths := []string{"/"}
	parts := []string{"a", "b", "a-b", "a0", "a/b", "a/b/c", "b/a", "a/a", "a/0"}
	for _, p := range parts {
		paths = append(paths, "/"+p)
	}
	rapid.Check(t, func(t *rapid.T) {
		q := Query{Prefix: aQuery().Draw(t, "query").Prefix}
		if q.Prefix == "" {
			q.Gte = rapid.SampledFrom(paths).Draw(t, "gte")
			q.Lte = q.Gte + rapid.SampledFrom([]string{"0", "/", "-", "/b", "~"}).Draw(t, "after")
		}
		area := rapid.SampledFrom(paths).Draw(t, "area")
		shares := false
		for _, p := range paths {
			r := record.Record{Kind: record.Doc, Path: p, Time: 1}
			shares = shares || record.Covers(area, p) && q.Selects(&r)
		}
		// Longer paths than those tried may be shared too, so this is one way.
		if shares && !q.Concerns(&record.Record{Kind: record.Sweep, Path: area}) {
			t.Fatalf("a sweep of %s says nothing of %+v", area, q)
		}
		if q.Prefix != "" && !shares && q.Concerns(&record.Record{Kind: record.Sweep, Path: area}) &&
			!record.Covers(area, q.Prefix) && !record.Covers(q.Prefix, area) {
			t.Fatalf("a sweep of %s concerns %+v", area, q)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add([]byte{})
	f.Add(Query{Prefix: "/notes"}.Encode())
	f.Add(Query{Gte: "/a", Lte: "/b", Kinds: []record.Kind{1, 2}, From: 3}.Encode())
	f.Add(Query{Authors: []record.Key{{1}, {2}}, To: 9}.Encode())
	f.Add([]byte{1, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := DecodeQuery(b)
		if err != nil {
			if !errors.Is(err, ErrQuery) {
				t.Fatal(err)
			}
			return
		}
		if err := q.Check(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(q.Encode(), b) {
			t.Fatalf("accepted bytes encode differently: %x", q.Encode())
		}
	})
}
