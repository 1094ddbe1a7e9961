package engine

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"anabranch/gossip"
)

func TestFiveReplicasMeetAndShareWhatIsWritten(t *testing.T) {
	w := newWorld(t, 5, 1, nil)
	w.run(3 * time.Second)
	if n := w.linkCount(); n != 10 {
		t.Fatalf("%d connections of 10: %v", n, w.connectedPairs())
	}
	before := w.sessions
	id := w.nodes[2].write(200)
	w.run(100 * time.Millisecond)
	for i, n := range w.nodes {
		if n.has[id] == nil {
			t.Errorf("replica %d has no record 100 ms after it was written", i)
		}
	}
	if w.sessions != before {
		t.Errorf("%d sessions were needed", w.sessions-before)
	}
	w.run(5 * time.Second)
	// Ten pairs ask each other once whether they have the same now.
	if n := w.sessions - before; n < 10 || n > 14 {
		t.Errorf("%d sessions confirmed one record among five", n)
	}
	quiet := w.sessions
	w.run(3 * time.Second)
	if w.sessions != quiet && w.now < 12*time.Second {
		t.Errorf("%d sessions in quiet", w.sessions-quiet)
	}
}

func TestAJoinerIsSentEverythingOnce(t *testing.T) {
	w := newWorld(t, 5, 2, nil)
	for range 2000 {
		b := make([]byte, 64)
		for i := range b {
			b[i] = byte(w.rand.Uint32())
		}
		for _, n := range w.nodes[1:] {
			n.has[sha256.Sum256(b)] = b
		}
	}
	w.run(20 * time.Second)
	if len(w.nodes[0].has) != 2000 {
		t.Fatalf("%d records of 2000 have come", len(w.nodes[0].has))
	}
	t.Logf("%d records moved for 2000 missed ones, %d of them twice", w.moved, w.twice)
	if w.twice > 0 {
		t.Errorf("%d records came twice", w.twice)
	}
}

func TestASplitHealsBySessionsWithMembersFromTheList(t *testing.T) {
	for _, n := range []int{5, 30} {
		w := newWorld(t, n, 3, func(o *Options) { o.SyncInterval = 5 * time.Second })
		w.run(20 * time.Second)
		apart := true
		half := func(i int) bool { return i < n/2 }
		w.cut = func(a, b int) bool { return apart && half(a) != half(b) }
		for i := range n {
			for j := range n {
				if w.cut(i, j) {
					w.disconnect(i, j)
				}
			}
		}
		for i := range 40 {
			w.nodes[i%n].write(100)
			w.run(500 * time.Millisecond)
		}
		apart = false
		healed := w.now
		for !w.allEqual() && w.now < healed+time.Minute {
			w.run(100 * time.Millisecond)
		}
		if !w.allEqual() {
			t.Fatalf("%d replicas are not equal a minute after the split", n)
		}
		t.Logf("%d replicas: equal %v after a split of 20 s, period 5 s", n, w.now-healed)
		if w.now-healed > 30*time.Second {
			t.Errorf("%d replicas need %v", n, w.now-healed)
		}
	}
}

func TestManyReplicasKeepFewConnections(t *testing.T) {
	const n = 60
	w := newWorld(t, n, 4, func(o *Options) { o.SyncInterval = 2 * time.Second })
	w.run(3 * time.Minute)
	for i, x := range w.nodes {
		if len(x.links) > maxLinks+8 {
			t.Errorf("replica %d has %d connections", i, len(x.links))
		}
	}
	id := w.nodes[7].write(100)
	w.run(2 * time.Second)
	for i, x := range w.nodes {
		if x.has[id] == nil {
			t.Errorf("replica %d has no record after 2 s", i)
		}
	}
}

func TestALiarIsChargedAndThenLeftAlone(t *testing.T) {
	w := newWorld(t, 4, 5, nil)
	w.run(2 * time.Second)
	liar := w.nodes[3]
	e, victim := w.nodes[0].engine, w.nodes[0]
	for range 3 {
		number := victim.theirs + 1
		victim.theirs = number
		victim.waiting[number] = func(bool) {}
		victim.step(Asked{Session: number, Space: w.space, Peer: liar.key, Equal: true})
		victim.step(Ended{Session: number, Outcome: Failed, Charge: true})
	}
	if len(victim.charged) != 3 || victim.charged[2].Ban != banFor || victim.charged[2].Reason != Broken {
		t.Fatalf("charges: %+v", victim.charged)
	}
	w.run(time.Minute)
	if victim.links[3] {
		t.Error("the liar is still connected")
	}
	refused := false
	victim.waiting[Theirs|99] = func(serve bool) { refused = !serve }
	victim.step(Asked{Session: Theirs | 99, Space: w.space, Peer: liar.key, Equal: true})
	if !refused {
		t.Error("the liar is answered")
	}
	w.run(banFor)
	if !victim.links[3] {
		t.Error("the liar is never forgiven")
	}
	if e.Stats().Bans != 1 {
		t.Errorf("%d bans", e.Stats().Bans)
	}
}

func TestWhatNobodyCanDecideYetIsHeldAndForwardedLater(t *testing.T) {
	w := newWorld(t, 3, 6, nil)
	w.run(2 * time.Second)
	known := map[int]bool{0: true}
	for i, n := range w.nodes {
		n.judge = func(ID, []byte) gossip.Verdict {
			if !known[i] {
				return gossip.Undecided
			}
			return gossip.Accepted
		}
	}
	before := len(w.nodes[1].syncs) + len(w.nodes[2].syncs)
	b := []byte("authorised by a grant that only replica 0 knows")
	id := ID(sha256.Sum256(b))
	w.nodes[0].step(Committed{Space: w.space, Version: 1, Fresh: []Fresh{{ID: id, Bytes: b, Own: true}}})
	w.run(100 * time.Millisecond)
	asked := 0
	for _, n := range w.nodes[1:] {
		for _, s := range n.syncs {
			if s.Why == Missing {
				asked++
			}
		}
	}
	if asked == 0 {
		t.Errorf("nobody asks for what decides it; %d sessions before", before)
	}
	if w.nodes[1].has[id] != nil || w.nodes[2].has[id] != nil {
		t.Fatal("an undecided record is stored")
	}
	for i, n := range w.nodes[1:] {
		known[i+1] = true
		n.version++
		n.step(Committed{Space: w.space, Version: n.version, Fresh: []Fresh{{ID: ID{1}}}, Control: true})
	}
	w.run(100 * time.Millisecond)
	if w.nodes[1].has[id] == nil || w.nodes[2].has[id] == nil {
		t.Error("it is not accepted once it can be decided")
	}
	for i, n := range w.nodes {
		if len(n.charged) > 0 {
			t.Errorf("replica %d charges %v", i, n.charged)
		}
	}
}

func TestNotesGoRoundAndTheNewestStays(t *testing.T) {
	w := newWorld(t, 6, 7, nil)
	w.run(2 * time.Second)
	body := func(n *node, of int) string {
		for _, x := range n.engine.space(w.space).notes {
			if x.Device == keyOf(of) && x.Kind == 1 {
				return string(x.Body)
			}
		}
		return ""
	}
	say := func(of int, at uint64, text string) {
		w.nodes[of].step(Note{Space: w.space, Bytes: aNote(1, at, of, []byte(text))})
	}
	say(2, 10, "here")
	w.run(time.Second)
	say(2, 20, "there")
	w.run(time.Second)
	w.nodes[4].step(NoteJudged{Space: w.space, From: keyOf(3), Bytes: aNote(1, 15, 2, []byte("old")), Good: true})
	w.nodes[4].step(NoteJudged{Space: w.space, From: keyOf(3), Bytes: aNote(1, 30, 2, []byte("of next year")), Good: true, Age: -time.Hour})
	w.nodes[4].step(NoteJudged{Space: w.space, From: keyOf(3), Bytes: aNote(1, 30, 99, []byte("a stranger's")), Good: true})
	for i, n := range w.nodes {
		if got := body(n, 2); got != "there" {
			t.Errorf("replica %d knows %q", i, got)
		}
		if got := body(n, 99); got != "" {
			t.Errorf("replica %d keeps a stranger's note", i)
		}
	}
	for _, n := range w.nodes { // the sessions of a week are not the point
		n.step(Online{false})
	}
	w.run(MaxNoteAge)
	for i, n := range w.nodes {
		if body(n, 2) != "" || n.engine.space(w.space).noteBytes != 0 {
			t.Errorf("replica %d keeps a note for more than a week", i)
		}
	}
}

func TestAnAnnouncedRecordIsFetchedByASession(t *testing.T) {
	w := newWorld(t, 4, 8, nil)
	w.run(2 * time.Second)
	id := w.nodes[1].write(20_000)
	w.run(time.Second)
	for i, n := range w.nodes {
		if n.has[id] == nil {
			t.Errorf("replica %d lacks the large record", i)
		}
		if s := n.engine.space(w.space); len(s.announced) > 0 || len(s.judging) > 0 {
			t.Errorf("replica %d still waits for it", i)
		}
	}
}

func TestReplicasWithoutTheStreamAreKeptInStep(t *testing.T) {
	w := newWorld(t, 3, 9, nil)
	w.nodes[2].plain = true
	w.run(2 * time.Second)
	id := w.nodes[0].write(100)
	w.run(200 * time.Millisecond)
	if w.nodes[2].has[id] == nil {
		t.Error("no record after 200 ms")
	}
}

func TestASeedReplays(t *testing.T) {
	trace := func() string {
		w := newWorld(t, 12, 11, nil)
		h := sha256.New()
		w.trace = func(s string) { h.Write([]byte(s)) }
		w.run(5 * time.Second)
		for i := range 20 {
			w.nodes[i%12].write(100)
			w.run(200 * time.Millisecond)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	first := trace()
	for range 3 {
		if again := trace(); again != first {
			t.Fatalf("the same seed gives %s and %s", first, again)
		}
	}
}
