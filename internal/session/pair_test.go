package session

import (
	"errors"
	"fmt"
	"time"

	"anabranch/record"
)

// tester is what *testing.T and *rapid.T share.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

var epoch = time.Unix(1_700_000_000, 0)

// side is one machine with its shell: a store, and the work it owes.
type side struct {
	name    string
	s       *Session
	store   *testStore
	space   record.SpaceID
	inbox   [][]byte       // frames on the link to this side
	todo    []func() Input // answers that the shell owes
	waiting int            // bytes output since the last Drained
	done    *Done
	fail    *Fail
	commits int
	most    int // bytes that ever waited
	diskErr error
	viewed  func() View // the store's state, if not store.view
}

func (d *side) view() View {
	if d.viewed != nil {
		return d.viewed()
	}
	return d.store.view()
}

func (d *side) over() bool { return d.done != nil || d.fail != nil }

// pair is two machines and the link between them.
type pair struct {
	t       tester
	a, b    *side // initiator, responder
	now     time.Time
	frames  int                                                // carried so far
	carry   func(n int, from *side, frame []byte) (out []byte) // nil: the link is cut there
	choose  func(n int) int                                    // which of n things happens next
	between func(step int)                                     // live writes
	stalls  bool                                               // the peer may be waited for in vain: the shell's deadline ends that
	trust   bool                                               // signatures are not looked at
	log     func(d *side, in Input, outs []Output)
}

func newPair(t tester, w *world, a, b *testStore, frameBytes int) *pair {
	t.Helper()
	p := &pair{t: t, now: epoch, choose: func(int) int { return 0 }}
	alice, bob := record.Key{0xA}, record.Key{0xB}
	sa, err := Initiate(Options{Space: w.id, Self: alice, Peer: bob, View: a.view(), FrameBytes: frameBytes, Nonce: seed(7)})
	if err != nil {
		t.Fatal(err)
	}
	sb, err := Accept(Options{Space: w.id, Self: bob, Peer: alice, View: b.view(), FrameBytes: frameBytes})
	if err != nil {
		t.Fatal(err)
	}
	p.a = &side{name: "initiator", s: sa, store: a, space: w.id}
	p.b = &side{name: "responder", s: sb, store: b, space: w.id}
	return p
}

func (p *pair) other(d *side) *side {
	if d == p.a {
		return p.b
	}
	return p.a
}

func (p *pair) step(d *side, in Input) {
	p.now = p.now.Add(time.Millisecond)
	outs := d.s.Step(p.now, in)
	if p.log != nil {
		p.log(d, in, outs)
	}
	for _, out := range outs {
		if d.over() {
			p.t.Fatalf("%s: output %T after the end", d.name, out)
		}
		switch out := out.(type) {
		case Send:
			d.waiting += len(out.Frame)
			d.most = max(d.most, d.waiting)
			if len(out.Frame) > d.s.limit {
				p.t.Fatalf("%s: a frame of %d bytes", d.name, len(out.Frame))
			}
			frame := out.Frame
			if p.carry != nil {
				frame = p.carry(p.frames, d, frame)
			}
			p.frames++
			p.other(d).inbox = append(p.other(d).inbox, frame)
		case Verify:
			d.todo = append(d.todo, func() Input {
				if p.trust {
					return trusted(d.space, out.Batch)
				}
				records, errs := record.VerifyBatch(d.space, out.Batch)
				return Verified{Records: records, Errs: errs}
			})
		case Commit:
			d.todo = append(d.todo, func() Input {
				if d.diskErr != nil {
					return Committed{Err: d.diskErr}
				}
				d.commits++
				d.store.commit(out.Records)
				if !out.Completes && out.Records[0].Data() {
					return Committed{}
				}
				return Committed{View: d.view()}
			})
		case Done:
			d.done = &out
		case Fail:
			d.fail = &out
		}
	}
}

// run plays the conversation until both sides are over or nothing moves.
func (p *pair) run() {
	p.t.Helper()
	p.step(p.a, Start{})
	p.step(p.b, Start{})
	for n := 0; ; n++ {
		if n > 2_000_000 {
			p.t.Fatal("the conversation does not end")
		}
		if p.between != nil {
			p.between(n)
		}
		var can []func()
		for _, d := range []*side{p.a, p.b} {
			if d.over() {
				continue
			}
			if len(d.todo) > 0 {
				can = append(can, func() {
					f := d.todo[0]
					d.todo = d.todo[1:]
					p.step(d, f())
				})
			}
			if len(d.inbox) > 0 && (d.s.Accepts() || d.inbox[0] == nil) {
				can = append(can, func() {
					frame := d.inbox[0]
					if frame == nil {
						p.step(d, Closed{Err: errors.New("reset")})
						d.inbox = nil
						return
					}
					d.inbox = d.inbox[1:]
					p.step(d, Frame{Bytes: frame})
				})
			}
			if o := p.other(d); d.waiting > 0 && len(o.inbox) == 0 {
				can = append(can, func() { d.waiting = 0; p.step(d, Drained{}) })
			}
			if o := p.other(d); o.over() && len(d.inbox) == 0 {
				can = append(can, func() { p.step(d, Closed{}) })
			}
		}
		if len(can) == 0 && p.stalls && !(p.a.over() && p.b.over()) {
			for _, d := range []*side{p.a, p.b} {
				p.step(d, Closed{Err: errors.New("deadline")})
			}
			continue
		}
		if len(can) == 0 {
			break
		}
		can[p.choose(len(can))]()
	}
	if !p.a.over() || !p.b.over() {
		p.t.Fatalf("nothing moves: initiator in %v %+v, responder in %v %+v", p.a.s.step, p.a.s.x, p.b.s.step, p.b.s.x)
	}
}

// synced runs a pair and demands that both end with the same root.
func (p *pair) synced() {
	p.t.Helper()
	p.run()
	for _, d := range []*side{p.a, p.b} {
		if d.fail != nil {
			p.t.Fatalf("%s: %v", d.name, d.fail.Err)
		}
	}
	if ra, rb := p.a.done.Report.Root, p.b.done.Report.Root; ra != rb {
		p.t.Fatalf("reports differ: %x and %x", ra, rb)
	}
}

func describe(r Report) string {
	return fmt.Sprintf("%s rounds %d queries %d control %d; in %d frames %d bytes %d records; out %d frames %d bytes %d records; overhead %d/%d; count %d completed %v",
		r.Method, r.Rounds, r.Queries, r.ControlRounds, r.FramesIn, r.BytesIn, r.RecordsIn, r.FramesOut, r.BytesOut, r.RecordsOut,
		r.OverheadIn(), r.OverheadOut(), r.Count, r.Completed)
}

func trusted(space record.SpaceID, batch [][]byte) Verified {
	v := Verified{Records: make([]*record.Verified, len(batch)), Errs: make([]error, len(batch))}
	for i, b := range batch {
		v.Records[i], v.Errs[i] = record.Restore(space, b)
	}
	return v
}
