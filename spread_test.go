package anabranch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/record"
)

// mesh opens n replicas that sync by themselves, all members of one space
// and knowing the first one's address.
func (w *world) mesh(n int, change ...func(*Options)) []*Space {
	w.t.Helper()
	live := append([]func(*Options){func(o *Options) { o.Manual = false }}, change...)
	s, _ := w.create(w.open("r0", live...))
	all := []*Space{s}
	for i := 1; i < n; i++ {
		all = append(all, w.join(s, w.open(fmt.Sprint("r", i), live...), InviteOptions{}))
	}
	return all
}

// meshed reports whether gossip runs between all pairs.
func meshed(all []*Space) bool {
	return !slices.ContainsFunc(all, func(s *Space) bool { return s.replica.Spread().Neighbors != len(all)-1 })
}

func TestRumorsReachEveryoneAndOnceIsEnough(t *testing.T) {
	w := newWorld(t)
	all := w.mesh(5)
	w.eventually(func() bool { return meshed(all) }) // addresses of third parties come in notes
	const writes = 40
	for i := range writes {
		w.put(all[i%5], fmt.Sprintf("/n/%d", i), "text")
		time.Sleep(5 * time.Millisecond)
	}
	w.eventually(func() bool {
		return !slices.ContainsFunc(all, func(s *Space) bool { return w.root(s) != w.root(all[0]) })
	})
	var sum SpreadStats
	for _, s := range all {
		st := s.replica.Spread()
		sum.Published += st.Published
		sum.Accepted += st.Accepted
		sum.Copies += st.Copies
		sum.Charges += st.Charges
	}
	t.Logf("%d published, %d accepted, %.2f copies of each", sum.Published, sum.Accepted, sum.CopiesPerRecord())
	if sum.Published < writes || sum.Accepted < writes*4/2 {
		t.Errorf("%d rumors went out and %d were accepted, of %d records written", sum.Published, sum.Accepted, writes)
	}
	if sum.Charges > 0 {
		t.Errorf("%d charges among honest replicas", sum.Charges)
	}
}

func TestALargeRecordIsAnnouncedAndFetched(t *testing.T) {
	w := newWorld(t)
	all := w.mesh(3)
	w.eventually(func() bool { return meshed(all) })
	w.put(all[1], "/large", strings.Repeat("x", 60_000))
	w.eventually(func() bool {
		return !slices.ContainsFunc(all, func(s *Space) bool { return len(w.text(s, "/large")) != 60_000 })
	})
}

func TestReplicasWithoutGossipSyncAllTheSame(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("new", func(o *Options) { o.Manual = false }))
	b := w.join(s, w.open("old", func(o *Options) { o.Manual, o.noGossip = false, true }), InviteOptions{})
	for i := range 5 {
		w.put(s, fmt.Sprintf("/new/%d", i), "x")
		w.put(b, fmt.Sprintf("/old/%d", i), "x")
		w.eventually(func() bool {
			return w.text(b, fmt.Sprintf("/new/%d", i)) == "x" && w.text(s, fmt.Sprintf("/old/%d", i)) == "x"
		})
	}
	if st := s.replica.Spread(); st.Accepted+st.Copies > 0 {
		t.Errorf("rumors came from a peer without gossip: %+v", st)
	}
}

// A rumor that nobody may have written is refused, its sender charged, and
// nobody else gets it.
func TestARumorThatIsWrongForEveryoneIsNotForwarded(t *testing.T) {
	w := newWorld(t)
	all := w.mesh(3)
	w.eventually(func() bool { return meshed(all) })
	s0, forger := all[0], all[1].replica
	good, err := record.Sign(all[1].ID(), all[1].author(), record.Record{
		Kind: record.Entry, Time: 1, Lane: 77, Seq: 1, Path: "/forged", Payload: []byte("x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(good.Bytes)
	bad[len(bad)-1] ^= 1
	forger.tell(engine.Committed{Space: s0.ID(), Fresh: []engine.Fresh{{ID: engine.ID(good.ID), Bytes: bad, Own: true}}})
	w.eventually(func() bool {
		return all[0].replica.Spread().Charges == 1 && all[2].replica.Spread().Charges == 1
	})
	for _, s := range []*Space{all[0], all[2]} {
		if _, err := s.Record(context.Background(), good.ID); err == nil {
			t.Error("a forged record is stored")
		}
		if p := s.replica.peer(forger.Device()); p.chargedWith() != "invalid" {
			t.Errorf("the forger is charged with %q", p.chargedWith())
		}
		for _, other := range []*Space{all[0], all[2]} {
			if p := s.replica.peer(other.replica.Device()); p.chargedWith() != "" {
				t.Errorf("an honest replica is charged with %q", p.chargedWith())
			}
		}
	}
}

// Two streams for frames that cross: the side that did not open them has
// taken one of them first, and the opener waits for its hello on the other.
// Neither waits until it is out of time.
func TestCrossingStreamsDoNotWaitForEachOther(t *testing.T) {
	w := newWorld(t)
	all := w.mesh(2)
	w.eventually(func() bool { return meshed(all) })
	a, b := all[0].replica, all[1].replica
	if !a.opens(b.Device()) {
		a, b = b, a
	}
	stray, err := a.host.Open(t.Context(), mesh.Key(b.Device()), nil, gossipProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := stray.WriteFrame([]byte{wireVersion}); err == nil { // negotiated: b takes it, and hangs up on what is no hello
		stray.ReadFrame()
	}
	stray, err = a.host.Open(t.Context(), mesh.Key(b.Device()), nil, gossipProtocol)
	if err != nil {
		t.Fatal(err)
	}
	stray.SetDeadline(time.Now().Add(dialTimeout / 2))
	for err == nil { // b's hello, and then the end, because a's own stream comes
		_, err = stray.ReadFrame()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the side that did not open them clings to the first")
	}
	w.eventually(func() bool { return meshed(all) })
}

// One space's long first transfer does not keep the peer's others waiting:
// what is written in another meanwhile arrives while it goes on.
func TestALongTransferDoesNotDelayOtherSpaces(t *testing.T) {
	w := newWorld(t)
	live := func(o *Options) { o.Manual = false }
	ra, rb := w.open("a", live), w.open("b", live)
	a, b := w.pair(ra, rb)
	ra.SetOnline(false)
	const records = 400
	payload := bytes.Repeat([]byte("long "), 12_000)
	for i := range records {
		if _, err := a[0].Put(w.ctx, fmt.Sprintf("/long/%d", i), payload); err != nil {
			t.Fatal(err)
		}
	}
	complete := func() bool {
		_, err := b[0].Get(w.ctx, fmt.Sprintf("/long/%d", records-1))
		st, serr := b[0].Status(w.ctx)
		return err == nil && serr == nil && st.Count >= records
	}
	ra.SetOnline(true)
	during, all := 0, 0
	for !complete() {
		path := fmt.Sprintf("/short/%d", all)
		began := time.Now()
		w.put(a[1], path, "text")
		w.eventually(func() bool { return w.text(b[1], path) == "text" })
		all++
		if !complete() {
			during++
			t.Logf("readable in the other space after %v", time.Since(began).Round(time.Millisecond))
		}
	}
	t.Logf("%d of %d writes came while %d MB were on their way", during, all, records*len(payload)>>20)
	if during == 0 {
		t.Error("nothing came before the transfer was over")
	}
}

func (p *peer) chargedWith() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.charge
}

// TestTrafficWithAPeerIsCounted: what went, and what came, on both sides.
func TestTrafficWithAPeerIsCounted(t *testing.T) {
	w := newWorld(t)
	all := w.mesh(2)
	w.eventually(func() bool { return meshed(all) })
	const writes = 20
	for i := range writes {
		w.put(all[0], fmt.Sprintf("/n/%d", i), "text")
	}
	with := func(s, other *Space) Traffic {
		st, err := s.Status(w.ctx)
		if err != nil || len(st.Peers) != 1 || st.Peers[0].Device != other.replica.Device() {
			t.Fatalf("%+v, %v", st.Peers, err)
		}
		return st.Peers[0].Traffic
	}
	w.eventually(func() bool {
		sent, got := with(all[0], all[1]), with(all[1], all[0])
		return w.root(all[0]) == w.root(all[1]) && sent.RumorsOut >= writes && got.RumorsIn == sent.RumorsOut && got.Sessions > 0
	})
	if got := with(all[1], all[0]); got.Duplicates > got.RumorsIn/2 || got.BytesIn < writes*150 || got.BytesOut == 0 {
		t.Errorf("%+v", got)
	}
}
