package attest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"anabranch/record"
	"anabranch/space"
)

func check(t *testing.T, f *File, name record.SpaceID) *Finding {
	t.Helper()
	b := f.Encode()
	found, err := Check(b, name)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeFile(b)
	if err != nil || !bytes.Equal(back.Encode(), b) {
		t.Fatalf("another encoding: %v", err)
	}
	t.Logf("%s, %d bytes:\n%s", f.Kind, len(b), strings.Join(found.Words(), "\n"))
	return found
}

func full(t testing.TB) (*world, *record.Verified) {
	w := newWorld(t)
	for i := range 40 {
		w.put("/other/"+string(rune('a'+i%26))+string(rune('a'+i/26)), "x")
	}
	w.put("/notes/a", "first")
	return w, w.put("/notes/b", "second")
}

func TestARecordIsProvenWithItsAuthorAndTheDevice(t *testing.T) {
	w, r := full(t)
	f := w.file(Member, w.attest(nil), r.Author)
	f.Record, f.Proof = r.Bytes, w.prove(w.trie(), r.ID)
	found := check(t, f, w.name)
	if found.Record.ID != r.ID || found.Device != w.device || len(f.Encode()) > 4096 {
		t.Fatalf("%+v", found)
	}
	other := record.SpaceID{1}
	if _, err := Check(f.Encode(), other); !errors.Is(err, ErrFalse) {
		t.Fatal(err)
	}
	// Without the grants, or with another's, nothing is shown.
	g := *f
	g.Chain = f.Chain[:1]
	if _, err := Check(g.Encode(), w.name); !errors.Is(err, ErrFalse) {
		t.Fatal(err)
	}
	// A stranger's attestation of the very same set.
	h := *f
	a := *f.Attestation
	a.Sign(key("stranger"))
	h.Attestation = &a
	if _, err := Check(h.Encode(), w.name); !errors.Is(err, ErrFalse) {
		t.Fatal(err)
	}
}

func TestNoBitOfAFileMayFlip(t *testing.T) {
	w, r := full(t)
	member := w.file(Member, w.attest(nil), r.Author)
	member.Record, member.Proof = r.Bytes, w.prove(w.trie(), r.ID)
	absent := w.file(Absent, w.attest(nil))
	absent.ID = record.ID{1, 2}
	absent.Proof = w.prove(w.trie(), absent.ID)
	body, a := w.answer(space.Query{Prefix: "/notes"}, nil)
	whole := w.file(Whole, a)
	whole.Body = body.Encode()
	for _, f := range []*File{member, absent, whole} {
		b := f.Encode()
		if _, err := Check(b, w.name); err != nil {
			t.Fatal(err)
		}
		idAt := -1
		if f.Kind == Absent { // another ID may be absent too, by the same proof
			idAt = bytes.Index(b, f.ID[:])
		}
		for bit := range 8 * len(b) {
			if (f != member || testing.Short()) && bit%8 != bit/8%8 {
				continue // every bit of one file, a bit of every byte of the others
			}
			if at := bit / 8; idAt >= 0 && at >= idAt && at < idAt+32 {
				continue
			}
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := Check(b, w.name); err == nil {
				t.Fatalf("%v: bit %d of %d may flip", f.Kind, bit, 8*len(b))
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		for n := 0; n < len(b); n += 1 + n/50 {
			if _, err := Check(b[:n], w.name); err == nil {
				t.Fatalf("%v: the first %d bytes pass", f.Kind, n)
			}
		}
	}
}

func TestAnAnswerIsWhole(t *testing.T) {
	w, r := full(t)
	w.sweep("/notes", r.Seq-1)
	body, a := w.answer(space.Query{Prefix: "/notes"}, nil)
	f := w.file(Whole, a)
	f.Body = body.Encode()
	found := check(t, f, w.name)
	if got := found.Body.Selected(); len(got) != 1 || got[0].ID != r.ID {
		t.Fatalf("%d records", len(got))
	}
	for _, q := range []space.Query{{}, {Prefix: "/nothing"}, {Gte: "/notes/a", Lte: "/notes/b"}, {Kinds: []record.Kind{record.Entry}}} {
		body, a := w.answer(q, nil)
		if _, err := OpenBody(body.Encode(), a, w.genesis.Roots); err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
	}
}

// What a device can do to an answer and still sign it, and how it is caught.
func TestAFalseAnswerIsEvidence(t *testing.T) {
	w, r := full(t)
	q := space.Query{Prefix: "/notes"}
	lies := map[string]func() (*Body, *Attestation){
		"a record that nobody asked for": func() (*Body, *Attestation) {
			return w.answer(q, func(rs []*record.Verified) []*record.Verified { return append(rs, w.records[5]) })
		},
		"a record that is not in its set": func() (*Body, *Attestation) {
			extra := w.sign(w.author, record.Record{Kind: record.Doc, Lane: 5, Seq: 99, Path: "/notes/z"})
			return w.answer(q, func(rs []*record.Verified) []*record.Verified { return append(rs, extra) })
		},
		"no control records": func() (*Body, *Attestation) {
			return w.answer(q, func(rs []*record.Verified) []*record.Verified {
				return slices.DeleteFunc(rs, func(r *record.Verified) bool { return r.Kind == record.Control })
			})
		},
		"the root of another set": func() (*Body, *Attestation) {
			b, a := w.answer(q, nil)
			a.Trie[3] ^= 1
			a.Sign(w.author)
			return b, a
		},
		"fewer than it counts": func() (*Body, *Attestation) {
			b, a := w.answer(q, nil)
			a.Answer.Count++
			a.Sign(w.author)
			return b, a
		},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			body, a := lie()
			if _, err := OpenBody(body.Encode(), a, w.genesis.Roots); !errors.Is(err, ErrFalse) {
				t.Fatal(err)
			}
			f := w.file(Against, a)
			f.Reason, f.Body = FalseAnswer, body.Encode()
			if found := check(t, f, w.name); found.Device != w.device {
				t.Fatalf("%v is named", found.Device)
			}
		})
	}

	// An honest answer is no evidence, nor is one that was damaged on its way.
	body, a := w.answer(q, nil)
	f := w.file(Against, a)
	f.Reason, f.Body = FalseAnswer, body.Encode()
	if _, err := Check(f.Encode(), w.name); !errors.Is(err, ErrFalse) {
		t.Fatal(err)
	}
	f.Body[len(f.Body)-1] ^= 1
	if _, err := Check(f.Encode(), w.name); !errors.Is(err, ErrEncoding) {
		t.Fatal(err)
	}

	// Withholding r leaves the answer consistent: r itself is the witness.
	body, a = w.answer(q, func(rs []*record.Verified) []*record.Verified {
		return slices.DeleteFunc(rs, func(x *record.Verified) bool { return x.ID == r.ID })
	})
	if _, err := OpenBody(body.Encode(), a, w.genesis.Roots); err != nil {
		t.Fatal(err)
	}
	f = w.file(Against, a)
	f.Reason, f.Record, f.Proof = Withheld, r.Bytes, w.prove(w.trie(), r.ID)
	f.NotThere = w.prove(body.Set(), r.ID)
	check(t, f, w.name)

	// Of a record that the answer has, or did not have to have, no such file can be made.
	for _, innocent := range []*record.Verified{body.Selected()[0], w.records[5]} {
		f.Record, f.Proof, f.NotThere = innocent.Bytes, w.prove(w.trie(), innocent.ID), w.prove(body.Set(), innocent.ID)
		if _, err := Check(f.Encode(), w.name); !errors.Is(err, ErrFalse) {
			t.Fatal(err)
		}
	}
}

func TestAnAnswerFromAnOlderSetIsEvidence(t *testing.T) {
	w, r := full(t)
	q := space.Query{Prefix: "/notes"}
	earlier, then := w.attest(nil), w.trie()
	evidence := func() *File {
		body, a := w.answer(q, nil)
		f := w.file(Against, a)
		f.Reason, f.Other, f.Record, f.Proof, f.Body = OlderSet, earlier, r.Bytes, w.prove(then, r.ID), body.Encode()
		return f
	}
	w.put("/notes/c", "third")
	if _, err := Check(evidence().Encode(), w.name); !errors.Is(err, ErrFalse) {
		t.Fatalf("it has the record: %v", err)
	}
	honest := slices.Clone(w.records)
	w.records = slices.DeleteFunc(w.records, func(x *record.Verified) bool { return x.ID == r.ID })
	check(t, evidence(), w.name)

	// The author removed the record: the same gap is no lie.
	w.records = honest
	w.sweep("/notes", r.Seq)
	if _, err := Check(evidence().Encode(), w.name); !errors.Is(err, ErrFalse) {
		t.Fatalf("it was swept: %v", err)
	}
}

func TestTwoStoriesAreEvidence(t *testing.T) {
	w, _ := full(t)
	first := w.attest(nil)
	again := w.attest(nil)
	w.put("/notes/c", "third")
	later := w.attest(nil)
	for _, pair := range [][2]*Attestation{{first, again}, {first, later}, {again, later}, {first, first}} {
		if why := Contradiction(pair[0], pair[1]); why != "" {
			t.Fatal(why)
		}
	}
	proof, err := w.log.Grown(first.Size, later.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckGrown(proof, first, later); err != nil {
		t.Fatal(err)
	}
	if newest, err := w.log.Newest(); err != nil || CheckNewest(newest, later) != nil || CheckNewest(newest, first) == nil {
		t.Fatal(err)
	}

	lie := func(change func(*Attestation)) *Attestation {
		a := *later
		change(&a)
		a.Sign(w.author)
		return &a
	}
	for name, a := range map[string]*Attestation{
		"another set at the same entry":      lie(func(a *Attestation) { a.Count++ }),
		"another history of the same length": lie(func(a *Attestation) { a.Head[0] ^= 1 }),
		"longer before":                      lie(func(a *Attestation) { a.Size++; a.Time = first.Time - 1 }),
	} {
		f := w.file(Against, later)
		f.Reason, f.Other = TwoStories, a
		if found := check(t, f, w.name); found.Detail == "" {
			t.Fatal(name)
		}
		if CheckGrown(proof, first, a) == nil && a.Head != later.Head {
			t.Fatal(name)
		}
	}
	f := w.file(Against, later)
	f.Reason, f.Other = TwoStories, first
	if _, err := Check(f.Encode(), w.name); !errors.Is(err, ErrFalse) {
		t.Fatal(err)
	}
	// Another author's words say nothing against this one.
	stranger := *later
	stranger.Count++
	stranger.Sign(w.admin)
	if Contradiction(later, &stranger) != "" {
		t.Fatal("two authors")
	}
}

func TestALogShowsThatItOnlyGrew(t *testing.T) {
	w := newWorld(t)
	var all []*Attestation
	for i := range 70 {
		w.put("/n", string(rune('a'+i%26)))
		all = append(all, w.attest(nil))
	}
	for i, from := range all {
		for _, to := range all[i:] {
			proof, err := w.log.Grown(from.Size, to.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckGrown(proof, from, to); err != nil {
				t.Fatal(err)
			}
			forged := *from
			forged.Head[7] ^= 1
			if CheckGrown(proof, &forged, to) == nil {
				t.Fatalf("a forged head of %d within %d", from.Size, to.Size)
			}
		}
	}
	if _, err := w.log.Grown(0, 3); err == nil {
		t.Fatal("from nothing")
	}
	if _, err := w.log.Head(71); err == nil {
		t.Fatal("beyond the end")
	}
}

func TestAnAttestationIs226Bytes(t *testing.T) {
	w, _ := full(t)
	b := w.attest(nil).Encode()
	if len(b) != 226 {
		t.Fatal(len(b))
	}
	if _, err := Decode(b); err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := Decode(b); err == nil {
			t.Fatalf("bit %d may flip", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func FuzzCheck(f *testing.F) {
	w, r := full(f)
	member := w.file(Member, w.attest(nil), r.Author)
	member.Record, member.Proof = r.Bytes, w.prove(w.trie(), r.ID)
	body, a := w.answer(space.Query{Prefix: "/notes"}, nil)
	whole := w.file(Whole, a)
	whole.Body = body.Encode()
	against := w.file(Against, a)
	against.Reason, against.Other = TwoStories, w.attest(nil)
	for _, file := range []*File{member, whole, against} {
		f.Add(file.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := DecodeFile(b)
		if err == nil && !bytes.Equal(file.Encode(), b) {
			t.Fatal("accepted bytes encode differently")
		}
		if _, err := Check(b, w.name); err == nil {
			valid := false
			for _, file := range []*File{member, whole} {
				valid = valid || bytes.Equal(b, file.Encode())
			}
			if !valid {
				t.Fatal("a file that nobody made passes")
			}
		}
	})
}

func FuzzBody(f *testing.F) {
	w, _ := full(f)
	body, a := w.answer(space.Query{Prefix: "/notes"}, nil)
	honest := body.Encode()
	f.Add(honest)
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		// As if the device had signed these very bytes.
		lie := *a
		answer := *a.Answer
		answer.Body = (&Body{}).Describe([16]byte{}, space.Query{}).Body
		lie.Answer = &answer
		answer.Body = sum(b)
		lie.Sign(ed25519.PrivateKey(w.author))
		if _, err := OpenBody(b, &lie, w.genesis.Roots); (err == nil) != bytes.Equal(b, honest) {
			t.Fatalf("accepted: %v", err)
		}
	})
}
