package session

import (
	"crypto/ed25519"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"anabranch/record"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts plays each script in testdata and compares what is said
// with what stands below it. A script is lines of
//
//	WHO entries AUTHOR LANE FIRST LAST     WHO is initiator, responder or both
//	WHO big AUTHOR LANE NUMBER BYTES       one record with a payload of that size
//	WHO grant AUTHOR ROLE TIME
//	WHO seal AUTHOR TIME                   of the author's first grant
//	WHO sweep AUTHOR LANE TIME NUMBERS…
//	WHO lost LANE NUMBER                   its bytes are gone from the view, as if it just died
//	WHO damaged                            its trie holds an ID that it has no record of
//	WHO plain                              it offers no keyed lists
//	frames BYTES
//	cut N                                  the link closes in place of frame N, from 0
//	run
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(b), "---\n")
			got := newPlay(t).run(script)
			if *update {
				if err := os.WriteFile(file, []byte(script+"---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("said:\n%s", got)
			}
		})
	}
}

// play is a script being played.
type play struct {
	t       *testing.T
	w       *world
	stores  [2]*testStore
	names   map[string]ed25519.PrivateKey
	grants  map[string]record.ID
	lost    [2]map[record.ID]bool
	damaged [2]bool
	plain   [2]bool
	frames  int
	cut     int
	out     strings.Builder
}

func newPlay(t *testing.T) *play {
	w := newWorld()
	return &play{
		t: t, w: w, stores: [2]*testStore{w.store(), w.store()}, cut: -1,
		names:  map[string]ed25519.PrivateKey{"root": w.root, "ada": keyOf("ada"), "ben": keyOf("ben")},
		grants: map[string]record.ID{},
		lost:   [2]map[record.ID]bool{{}, {}},
	}
}

func (p *play) run(script string) string {
	for line := range strings.Lines(script) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			p.line(f)
		}
	}
	return p.out.String()
}

func (p *play) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *play) line(f []string) {
	switch f[0] {
	case "frames":
		p.frames = p.number(f[1])
		return
	case "cut":
		p.cut = p.number(f[1])
		return
	case "run":
		p.converse()
		return
	}
	var who []int
	switch f[0] {
	case "initiator":
		who = []int{0}
	case "responder":
		who = []int{1}
	case "both":
		who = []int{0, 1}
	default:
		p.t.Fatalf("script: %v", f)
	}
	for _, i := range who {
		p.hold(i, f[1], f[2:])
	}
}

func (p *play) hold(i int, verb string, f []string) {
	s := p.stores[i]
	switch verb {
	case "entries":
		for n := p.number(f[2]); n <= p.number(f[3]); n++ {
			s.commit([]*record.Verified{p.entry(f[0], f[1], n)})
		}
	case "big":
		payload := make([]byte, p.number(f[3]))
		s.commit([]*record.Verified{p.w.entry(p.names[f[0]], uint64(p.number(f[1])), uint32(p.number(f[2])), payload)})
	case "grant":
		role, err := record.ParseRole(f[1])
		if err != nil {
			p.t.Fatal(err)
		}
		g := p.w.grant(p.names[f[0]], role, uint64(p.number(f[2])))
		p.grants[f[0]] = g.ID
		s.commit([]*record.Verified{g})
	case "seal":
		s.commit([]*record.Verified{p.w.seal(p.grants[f[0]], uint64(p.number(f[1])))})
	case "sweep":
		var numbers []uint32
		for _, n := range f[3:] {
			numbers = append(numbers, uint32(p.number(n)))
		}
		s.commit([]*record.Verified{p.w.sweep(p.names[f[0]], uint64(p.number(f[1])), uint64(p.number(f[2])), numbers...)})
	case "lost":
		p.lost[i][p.entry("root", f[0], p.number(f[1])).ID] = true
	case "plain":
		p.plain[i] = true
	case "damaged":
		p.damaged[i] = true
	default:
		p.t.Fatalf("script: %s", verb)
	}
}

func (p *play) entry(author, lane string, n int) *record.Verified {
	return p.w.entry(p.names[author], uint64(p.number(lane)), uint32(n), fmt.Appendf(nil, "note %d of %s", n, author))
}

// damagedView has an ID in its trie that is in no index.
type damagedView struct{ *testView }

func (v damagedView) Filter(sweeps []*record.Verified) (View, error) {
	f, err := v.testView.Filter(sweeps)
	if err == nil {
		f.(*testView).trie.Insert([32]byte{0xDA})
	}
	return f, err
}

func (p *play) converse() {
	pair := newPair(p.t, p.w, p.stores[0], p.stores[1], p.frames)
	for i, d := range []*side{pair.a, pair.b} {
		v := p.stores[i].view()
		v.lost = p.lost[i]
		d.s.view = v
		d.s.o.Plain = p.plain[i]
		if p.damaged[i] {
			v.trie.Insert([32]byte{0xDA})
			d.s.view = damagedView{v}
		}
	}
	cut := p.cut
	p.cut = -1
	pair.carry = func(n int, _ *side, frame []byte) []byte {
		if n == cut {
			return nil
		}
		return frame
	}
	pair.log = func(d *side, in Input, outs []Output) {
		if _, ok := in.(Drained); ok && len(outs) == 0 {
			return
		}
		fmt.Fprintf(&p.out, "%s: %s\n", d.name, sayInput(in))
		for _, out := range outs {
			fmt.Fprintf(&p.out, "  %s\n", sayOutput(out))
		}
	}
	pair.run()
	same := "differ"
	if p.stores[0].root() == p.stores[1].root() {
		same = "are equal"
	}
	fmt.Fprintf(&p.out, "stores %s\n\n", same)
}

func sayInput(in Input) string {
	switch in := in.(type) {
	case Start:
		return "start"
	case Frame:
		return FrameType(in.Bytes[0]).String()
	case Verified:
		bad := 0
		for _, err := range in.Errs {
			if err != nil {
				bad++
			}
		}
		return fmt.Sprintf("verified, %d good, %d bad", len(in.Errs)-bad, bad)
	case Committed:
		return "committed"
	case Drained:
		return "drained"
	}
	return "closed"
}

func sayOutput(out Output) string {
	switch out := out.(type) {
	case Send:
		return "send " + sayFrame(out.Frame)
	case Verify:
		return fmt.Sprintf("verify %d records", len(out.Batch))
	case Commit:
		if out.Completes {
			return fmt.Sprintf("commit %s, which completes", sayRecords(out.Records))
		}
		return "commit " + sayRecords(out.Records)
	case Done:
		return "done: " + describe(out.Report)
	case Fail:
		charge := "nobody is charged"
		if out.Charge {
			charge = "the peer is charged"
		}
		return fmt.Sprintf("fail: %v; %s; %s", out.Err, charge, describe(out.Report))
	}
	return "?"
}

func sayRecords(rs []*record.Verified) string {
	if len(rs) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%d records from %v on", len(rs), rs[0].Kind)
}

func sayFrame(b []byte) string {
	t, body := FrameType(b[0]), b[1:]
	switch t {
	case HelloFrame, WelcomeFrame:
		h, err := parseHello(t, body)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%v: frames of %d, %s (%d bytes)", t, h.FrameBytes, sayState(h.state), len(b))
	case StateFrame:
		r := reader{frame: t, b: body}
		a := r.state()
		if err := r.end(); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("state: %s (%d bytes)", sayState(a), len(b))
	case WantFrame, GoneFrame:
		return fmt.Sprintf("%v: %d IDs", t, len(body)/32)
	case ReconcileFrame, DataFrame:
		return fmt.Sprintf("%v: %d bytes", t, len(body))
	}
	return t.String()
}

func sayState(a state) string {
	return fmt.Sprintf("%d records, root %x, control %x, sweeps %x", a.count, a.root[:3], a.control[:3], a.sweeps[:3])
}
