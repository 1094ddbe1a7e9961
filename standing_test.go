package anabranch

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestTheStateOfAPeer(t *testing.T) {
	root := Root{1}
	at := time.Now()
	agreed := agreement{Root: root, At: at}
	differ := fmt.Errorf("sync: %w", &RootsDifferError{OurCount: 3, TheirCount: 4})
	by := func(err error, report Report) parted {
		told, _ := partedBy(err, report, 1)
		return told
	}
	cut := func(missing, surplus int) parted {
		return by(ErrCut, Report{Compared: true, Missing: missing, Surplus: surplus})
	}
	failed := failure{err: ErrCut, at: at}
	for what, c := range map[string]struct {
		k    acquaintance
		want State
	}{
		"never met":              {acquaintance{}, Offline},
		"just connected":         {acquaintance{connected: true}, Unknown},
		"agreed":                 {acquaintance{connected: true, compared: true, last: agreed}, InSync},
		"agreed, now gone":       {acquaintance{compared: true, last: agreed}, Offline},
		"agreed in another life": {acquaintance{connected: true, last: agreed}, Unknown},
		"moved on":               {acquaintance{connected: true, compared: true, last: agreement{Root: Root{2}, At: at}}, Ahead},
		"agreed, then failed":    {acquaintance{connected: true, compared: true, last: agreed, failed: failed}, Unknown},
		"cut, all missing here":  {acquaintance{connected: true, failed: failed, parted: cut(7, 0)}, Behind},
		"cut, all missing there": {acquaintance{connected: true, failed: failed, parted: cut(0, 7)}, Ahead},
		"cut, both":              {acquaintance{connected: true, failed: failed, parted: cut(1, 7)}, Diverged},
		"cut at the very end":    {acquaintance{connected: true, failed: failed, parted: cut(0, 0)}, Unknown},
		"cut, and gone":          {acquaintance{failed: failed, parted: cut(1, 7)}, Offline},
		"roots differ":           {acquaintance{connected: true, parted: by(differ, Report{})}, Diverged},
		"roots differ, gone":     {acquaintance{parted: by(differ, Report{})}, Diverged},
		"another version":        {acquaintance{parted: by(ErrIncompatible, Report{})}, Incompatible},
		"in a session":           {acquaintance{syncing: true, parted: cut(1, 7)}, Syncing},
		"blocked":                {acquaintance{blocked: true, syncing: true}, Blocked},
	} {
		if got, reason := c.k.state(root); got != c.want {
			t.Errorf("%s: %s (%s), want %s", what, got, reason, c.want)
		}
	}
	if _, told := partedBy(ErrUnreachable, Report{}, 1); told {
		t.Error("who cannot be reached tells something")
	}
}

// TestACutSessionLeavesNumbers: what a cut session has learned is in the
// status, also after a restart, until a session ends well.
func TestACutSessionLeavesNumbers(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	device := s.replica.Device()
	for i := range 5 {
		w.put(b, fmt.Sprintf("/mine/%d", i), "x")
	}
	if p := w.seen(b); p.Surplus == nil || *p.Surplus != 5 || p.Missing != nil {
		t.Errorf("five ahead: %s, missing %v, surplus %v", p.State, p.Missing, p.Surplus)
	}
	b.ended(rb.peer(device), Report{Compared: true, Missing: 40, Surplus: 5}, false, ErrCut)
	w.put(b, "/mine/more", "x")
	check := func(p PeerStatus, state State) {
		t.Helper()
		if p.State != state || p.Missing == nil || *p.Missing != 40 || p.Surplus == nil || *p.Surplus != 6 {
			t.Errorf("after a cut: %s, missing %v, surplus %v", p.State, p.Missing, p.Surplus)
		}
	}
	check(w.seen(b), Diverged)
	id := b.ID().String()
	if err := rb.Close(); err != nil {
		t.Fatal(err)
	}
	rb = w.open("b")
	b, err := rb.Space(id)
	if err != nil {
		t.Fatal(err)
	}
	check(w.seen(b), Offline)
	w.sync(b, s)
	if p := w.seen(b); p.State != InSync || *p.Missing != 0 || *p.Surplus != 0 {
		t.Errorf("after the next session: %s, missing %d, surplus %d", p.State, *p.Missing, *p.Surplus)
	}
	// Nothing of it comes back.
	if err := rb.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err = w.open("b").Space(id); err != nil {
		t.Fatal(err)
	}
	if p := w.seen(b); p.State != Offline || p.Missing != nil || p.Surplus == nil || *p.Surplus != 0 {
		t.Errorf("after a restart: %s, missing %v, surplus %v", p.State, p.Missing, p.Surplus)
	}
}

// TestASessionTellsHowFarItIs: while many records come, the counts are there
// to be read, and they go down.
func TestASessionTellsHowFarItIs(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	const n = 4_000
	var writes []Write
	for i := range n {
		writes = append(writes, Write{Op: OpAppend, Path: "/log", Payload: []byte(fmt.Sprint(i))})
		if len(writes) == 1000 {
			if _, err := s.Batch(w.ctx, writes...); err != nil {
				t.Fatal(err)
			}
			writes = nil
		}
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := b.Sync(ctx, s.replica.Device())
		ended <- err
	}()
	seen := map[int]bool{}
	for {
		if report, ok := b.Underway(s.replica.Device()); ok && report.Compared && report.Missing > 0 {
			if report.RecordsIn+report.Missing < n {
				t.Fatalf("%d came and %d are missing, of %d", report.RecordsIn, report.Missing, n)
			}
			seen[report.Missing] = true
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := b.Underway(s.replica.Device()); ok {
				t.Error("the session is over, and still under way")
			}
			t.Logf("%d different numbers were seen", len(seen))
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}
