package anabranch

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"anabranch/attest"
	"anabranch/internal/store"
	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

func (w *world) attested(s *Space, device record.Key) Attested {
	w.t.Helper()
	all, err := s.Attestations(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a Attested) bool { return a.Device == device })
	if i < 0 {
		w.t.Fatalf("nothing attested by %v", short(device))
	}
	return all[i]
}

func (w *world) query(path string) space.Query {
	w.t.Helper()
	q, err := PathQuery(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

// Five devices; each pair that syncs passes on what it knows, so that any of
// them can say of the others what they provably held, also while they are off.
func TestAnyDeviceSaysWhichOthersProvablyHeldItsRoot(t *testing.T) {
	w := newWorld(t)
	first, _ := w.create(w.open("0"))
	spaces := []*Space{first}
	names := []string{"0", "1", "2", "3", "4"}
	for _, name := range names[1:] {
		spaces = append(spaces, w.join(first, w.open(name), InviteOptions{Role: record.Writer}))
	}
	w.put(spaces[3], "/n", "x")
	for range 2 { // along a line, there and back
		for i := range 4 {
			w.sync(spaces[i], spaces[i+1])
		}
		for i := 3; i >= 0; i-- {
			w.sync(spaces[i], spaces[i+1])
		}
	}
	w.equal(spaces...)
	root := w.root(first)
	for i, s := range spaces { // those at the ends of the line have never met
		if err := s.replica.Close(); err != nil {
			t.Fatal(err)
		}
		s := w.reopened(names[i], s.ID())
		all, err := s.Attestations(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 4 {
			t.Fatalf("knows of %d others", len(all))
		}
		for _, a := range all {
			if !a.Equals || Root(a.Root()) != root {
				t.Errorf("%v attested %v, root %v", short(a.Device), Root(a.Root()), root)
			}
		}
		if w.root(s) != root {
			t.Error("a root moved because of attestations")
		}
	}
}

// reopened opens the home of a replica that was closed, offline.
func (w *world) reopened(name string, id record.SpaceID) *Space {
	w.t.Helper()
	r := w.open(name, func(o *Options) { o.NoNetwork = true })
	s, err := r.Space(id.String())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestAnExchangeIsSmallAndAnIdleOneIsNone(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
	w.put(a, "/n", "x")
	w.sync(b, a)
	before := w.attested(b, a.replica.Device())
	b.replica.exchangeNow(w.ctx, due{b, a.replica.Device()}, false) // nothing to say
	if again := w.attested(b, a.replica.Device()); again.Time != before.Time {
		t.Error("an equal session made another attestation")
	}
	w.put(a, "/n", "y")
	if _, _, err := b.syncWith(w.ctx, b.replica.peer(a.replica.Device()), b.replica.loop.foreign()); err != nil { // Sync without what follows
		t.Fatal(err)
	}
	bytes, err := b.exchange(w.ctx, a.replica.Device())
	if err != nil || bytes == 0 || bytes > 300 {
		t.Errorf("%d bytes, %v", bytes, err)
	}
	t.Logf("an exchange: %d bytes of frames", bytes)
	if now := w.attested(b, a.replica.Device()); !now.Equals || now.Time == before.Time {
		t.Error("the new root is not attested")
	}
}

func TestAskGetsACheckedAnswer(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
	w.put(a, "/notes/x", "1")
	old := w.put(a, "/notes/y", "old")
	w.put(b, "/notes/z", "only at b")
	answer, err := b.Ask(w.ctx, a.replica.Device(), w.query("/notes"))
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Records) != 2 || len(answer.Lacks) != 1 || answer.Device != a.replica.Device() {
		t.Fatalf("%+v", answer)
	}
	found, err := attest.Check(answer.File, a.ID())
	if err != nil || found.Device != a.replica.Device() {
		t.Fatal(err)
	}
	if _, err := a.Delete(w.ctx, "/notes/y"); err != nil {
		t.Fatal(err)
	}
	if answer, err = b.Ask(w.ctx, a.replica.Device(), w.query("/notes/y")); err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.Records {
		if r.ID == old.ID && len(answer.Records) == 1 {
			t.Error("the deletion is not in the answer")
		}
	}
	for _, end := range []string{"\x00", "\x00z", "\x01", "!"} { // one path alone, however it is bounded
		answer, err := b.Ask(w.ctx, a.replica.Device(), space.Query{Gte: "/notes/x", Lte: "/notes/x" + end})
		if err != nil || len(answer.Records) != 1 {
			t.Fatalf("up to %q: %d records, %v", end, len(answer.Records), err)
		}
		answer, err = b.Ask(w.ctx, a.replica.Device(), space.Query{Gte: "/notes/x" + end, Lte: "/notes/y"})
		if err != nil || len(answer.Records) != 0 {
			t.Fatalf("from %q: %d records, %v", end, len(answer.Records), err)
		}
	}
	if answer, err = b.Ask(w.ctx, a.replica.Device(), space.Query{}); err != nil || len(answer.Records) == 0 {
		t.Fatal(answer, err)
	}
	stranger := w.open("c")
	other, _ := w.create(stranger)
	if _, err := other.Ask(w.ctx, a.replica.Device(), space.Query{}); !errors.Is(err, ErrNotMember) {
		t.Fatal(err)
	}
	if caught, err := b.Evidence(); err != nil || len(caught) != 0 {
		t.Fatal(caught, err)
	}
}

// lies are the ways in which a device can answer falsely, and what each is
// caught at.
var lies = map[string]struct {
	answers func(s *Space, q question, view *store.Snapshot) (*Attestation, []attest.Hash, []byte, error)
	want    attest.Reason
}{
	"about its root": {func(s *Space, q question, view *store.Snapshot) (*Attestation, []attest.Hash, []byte, error) {
		a, grown, body, err := s.answered(q, view)
		if err != nil {
			return nil, nil, nil, err
		}
		a.Trie[5] ^= 1
		a.Sign(s.author())
		return a, grown, body, err
	}, attest.TwoStories}, // its log says another set at that entry
	"about its root, from the start": {func(s *Space, q question, view *store.Snapshot) (*Attestation, []attest.Hash, []byte, error) {
		a, grown, body, err := s.answered(q, view)
		if err != nil {
			return nil, nil, nil, err
		}
		a.Trie[5] ^= 1
		a.Log++ // a log that nobody has seen
		a.Sign(s.author())
		return a, grown, body, err
	}, attest.FalseAnswer},
	"by withholding": {func(s *Space, q question, view *store.Snapshot) (*Attestation, []attest.Hash, []byte, error) {
		body, err := answerTo(view, q.query)
		if err != nil {
			return nil, nil, nil, err
		}
		body, err = attest.NewBody(view.Trie(), slices.DeleteFunc(body.Records, func(r *Record) bool { return r.Path == "/notes/y" }))
		if err != nil {
			return nil, nil, nil, err
		}
		a, grown, err := s.attest(context.Background(), view, body.Describe(q.nonce, q.query), &q.since)
		return a, grown, body.Encode(), err
	}, attest.Withheld},
	"by answering from an older set": {func(s *Space, q question, _ *store.Snapshot) (*Attestation, []attest.Hash, []byte, error) {
		older, err := s.rows.Snapshot()
		if err != nil {
			return nil, nil, nil, err
		}
		defer older.Close()
		body, err := answerTo(older, q.query)
		if err != nil {
			return nil, nil, nil, err
		}
		// The set as it was before /notes/y came, told of as the present one.
		var then merkle.Tree
		for r, err := range older.List(store.Query{Everything: true}) {
			if err != nil {
				return nil, nil, nil, err
			}
			if r.Path != "/notes/y" {
				then.Insert(merkle.ID(r.ID))
			}
		}
		body, err = attest.NewBody(&then, slices.DeleteFunc(body.Records, func(r *Record) bool { return r.Path == "/notes/y" }))
		if err != nil {
			return nil, nil, nil, err
		}
		a := &Attestation{Space: s.ID(), Count: uint64(then.Count()), Trie: then.Hash(), Answer: body.Describe(q.nonce, q.query)}
		s.witness.mu.Lock()
		defer s.witness.mu.Unlock()
		if err := s.logged(context.Background(), a); err != nil {
			return nil, nil, nil, err
		}
		log := s.ownLogTree()
		if a.Head, err = log.Head(a.Size); err != nil {
			return nil, nil, nil, err
		}
		a.Sign(s.author())
		grown, err := log.Grown(q.since.Size, a.Size)
		return a, grown, body.Encode(), err
	}, attest.OlderSet},
}

// A device that lies in each of the ways there are is caught, named, and the
// evidence checks with nothing but the name of the space.
func TestALiarIsNamed(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, _ := w.create(w.open("a", func(o *Options) { o.answers = lie.answers }))
			b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
			w.put(a, "/notes/x", "1")
			w.put(a, "/notes/y", "2")
			w.sync(b, a) // a attests what it holds
			_, err := b.Ask(w.ctx, a.replica.Device(), w.query("/notes"))
			if !errors.Is(err, ErrCaught) {
				t.Fatal(err)
			}
			w.evidence(b, a.replica.Device(), lie.want)
			status, err := b.Status(w.ctx)
			if err != nil || status.Peers[0].Caught == nil {
				t.Fatal("status does not tell", err)
			}
		})
	}
}

// The same with the liar in a process of its own.
func TestALiarInAnotherProcessIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes: -short leaves it out")
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv(lieEnv, name)
			liar := start(t, filepath.Join(dir, "liar"))
			t.Setenv(lieEnv, "")
			honest := start(t, filepath.Join(dir, "honest"))
			liar.do("create")
			honest.do("join %s", liar.do("invite"))
			liar.do("write /notes 3")
			liar.do("put /notes/y 2")
			honest.report(liar.device)
			got := honest.do("caught %s", liar.device)
			if got != lie.want.String() {
				t.Fatalf("%q, want %q", got, lie.want)
			}
		})
	}
}

func (w *world) evidence(s *Space, device record.Key, want attest.Reason) {
	w.t.Helper()
	proof, err := s.ProveAgainst(device)
	if err != nil {
		w.t.Fatal(err)
	}
	found, err := attest.Check(proof, s.ID())
	if err != nil {
		w.t.Fatal(err)
	}
	if found.Device != device || found.Reason != want {
		w.t.Fatalf("device %v, %v: %s", short(found.Device), found.Reason, found.Detail)
	}
	w.t.Logf("%d bytes: %v: %s", len(proof), found.Reason, found.Detail)
}

// A home that was restored, or copied and started twice, has lost part of its
// log. It begins another one and is not taken for a liar.
func TestARestoredHomeBeginsAnotherLog(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
	first := w.attested(a, b.replica.Device())
	if err := b.replica.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(w.dir, "b"), filepath.Join(w.dir, "copy")).CombinedOutput(); err != nil {
		t.Skipf("cannot copy a home as cp -a does: %v: %s", err, out)
	}
	b = w.again("b", b.ID())
	w.put(b, "/n", "1")
	w.sync(b, a)
	second := w.attested(a, b.replica.Device())
	if second.Log != first.Log || second.Size <= first.Size {
		t.Fatalf("log %x of %d, then log %x of %d", first.Log, first.Size, second.Log, second.Size)
	}
	if err := b.replica.Close(); err != nil {
		t.Fatal(err)
	}
	b = w.again("copy", b.ID())
	w.put(b, "/n", "2")
	w.sync(b, a)
	third := w.attested(a, b.replica.Device())
	if third.Log == second.Log {
		t.Error("the copy went on with the log")
	}
	if caught, err := a.Evidence(); err != nil || len(caught) > 0 {
		t.Fatal(caught, err)
	}
}

func (w *world) again(name string, id record.SpaceID) *Space {
	w.t.Helper()
	s, err := w.open(name).Space(id.String())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestProofsOfOnesOwnSet(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
	r := w.put(b, "/notes/x", "1")
	w.sync(b, a)
	byPath, err := a.Prove(w.ctx, "/notes/x")
	if err != nil {
		t.Fatal(err)
	}
	byID, err := a.Prove(w.ctx, r.ID.String()[:8])
	if err != nil {
		t.Fatal(err)
	}
	for _, proof := range [][]byte{byPath, byID} {
		found, err := attest.Check(proof, a.ID())
		if err != nil || found.Record.ID != r.ID || found.Device != a.replica.Device() || len(proof) > 4096 {
			t.Fatalf("%d bytes, %v", len(proof), err)
		}
	}
	absent, err := a.Prove(w.ctx, record.ID{9, 9}.String())
	if err != nil {
		t.Fatal(err)
	}
	if found, err := attest.Check(absent, a.ID()); err != nil || found.Kind != attest.Absent {
		t.Fatal(err)
	}
	whole, err := a.ProveWhole(w.ctx, w.query("/notes"))
	if err != nil {
		t.Fatal(err)
	}
	if found, err := attest.Check(whole, a.ID()); err != nil || len(found.Body.Selected()) != 1 {
		t.Fatal(err)
	}
	if _, err := a.Prove(w.ctx, "/nothing"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := a.ProveAgainst(b.replica.Device()); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
}
