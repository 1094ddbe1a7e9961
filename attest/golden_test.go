package attest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"anabranch/record"
	"anabranch/space"
)

var update = flag.Bool("update", false, "rewrite testdata; read the diff as a protocol change")

// Vectors for other implementations: a file of every kind and reason, and
// files that show nothing, with the reason.
func TestGoldenFiles(t *testing.T) {
	type vector struct {
		Name  string
		Space string
		File  string
		Kind  string   `json:",omitempty"`
		Words []string `json:",omitempty"`
		Error string   `json:",omitempty"`
	}
	w, r := full(t)
	earlier, then := w.attest(nil), w.trie()
	member := w.file(Member, earlier, r.Author)
	member.Record, member.Proof = r.Bytes, w.prove(then, r.ID)
	absent := w.file(Absent, earlier)
	absent.ID = record.ID{1, 2}
	absent.Proof = w.prove(then, absent.ID)
	q := space.Query{Prefix: "/notes"}
	body, a := w.answer(q, nil)
	whole := w.file(Whole, a)
	whole.Body = body.Encode()

	less, b := w.answer(q, func(rs []*record.Verified) []*record.Verified {
		return slices.DeleteFunc(rs, func(x *record.Verified) bool { return x.ID == r.ID })
	})
	withheld := w.file(Against, b)
	withheld.Reason, withheld.Record, withheld.Proof = Withheld, r.Bytes, w.prove(then, r.ID)
	withheld.NotThere = w.prove(less.Set(), r.ID)

	lie := *a
	lie.Count++
	lie.Sign(w.author)
	stories := w.file(Against, a)
	stories.Reason, stories.Other = TwoStories, &lie
	false_ := w.file(Against, &lie)
	false_.Reason, false_.Body = FalseAnswer, body.Encode()
	lie.Trie[0] ^= 1
	lie.Sign(w.author)

	w.records = slices.DeleteFunc(w.records, func(x *record.Verified) bool { return x.ID == r.ID })
	old, c := w.answer(q, nil)
	older := w.file(Against, c)
	older.Reason, older.Other, older.Record, older.Proof, older.Body = OlderSet, earlier, r.Bytes, w.prove(then, r.ID), old.Encode()

	var out []vector
	add := func(name string, file []byte) {
		v := vector{Name: name, Space: w.name.String(), File: hex.EncodeToString(file)}
		if found, err := Check(file, w.name); err != nil {
			v.Error = err.Error()
		} else {
			v.Kind, v.Words = found.Kind.String(), found.Words()
		}
		out = append(out, v)
	}
	add("member", member.Encode())
	add("absent", absent.Encode())
	add("whole", whole.Encode())
	add("against: two stories", stories.Encode())
	add("against: a false answer", false_.Encode())
	add("against: withheld", withheld.Encode())
	add("against: an older set", older.Encode())
	good := len(out)

	change := func(name string, f *File, change func(*File)) {
		g := *f
		change(&g)
		add(name, g.Encode())
	}
	add("nothing", nil)
	add("another magic", []byte("anabranch proof 2\n"))
	add("cut short", member.Encode()[:700])
	add("a byte too many", append(member.Encode(), 0))
	change("no grant of the device", member, func(f *File) { f.Chain = f.Chain[:1] })
	change("a grant twice", member, func(f *File) { f.Chain = append(slices.Clone(f.Chain), f.Chain[1]) })
	change("a record that is not the one proven", member, func(f *File) {
		f.Record = w.sign(w.author, record.Record{Kind: record.Doc, Lane: 5, Seq: 99, Path: "/notes/z"}).Bytes
	})
	change("present, not absent", absent, func(f *File) { f.ID, f.Proof = r.ID, member.Proof })
	change("another body than the one signed", whole, func(f *File) { f.Body = less.Encode() })
	change("two true attestations", stories, func(f *File) { f.Other = earlier })
	change("an answer that holds", false_, func(f *File) { f.Attestation = a })
	change("a record that was answered", withheld, func(f *File) {
		x := less.Selected()[0]
		f.Record, f.Proof, f.NotThere = x.Bytes, w.prove(then, x.ID), w.prove(less.Set(), x.ID)
	})
	change("not an earlier attestation", older, func(f *File) { f.Other = c })
	for i, v := range out {
		if (v.Error == "") != (i < good) {
			t.Errorf("%s: %q", v.Name, v.Error)
		}
	}

	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetIndent("", " ")
	if err := e.Encode(out); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "files.json")
	if *update {
		if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), want) {
		t.Errorf("%s differs from what is computed", path)
	}
}
