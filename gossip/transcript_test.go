package gossip_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"anabranch/gossip"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts plays each script in testdata and compares what the
// machines did with what stands below it. Replicas are a, b, c …, whose keys
// show as aaaaaa and so on; links take 20 ms. A script is lines of
//
//	replicas N [tree|push|pull|push-pull] [COUNTER]
//	members            everyone gets the list of all
//	up A B [relay]     a link comes up;  down A B
//	publish A ID BYTES with IDs of one byte, in hex
//	judge ID VERDICT   what all replicas think of it from now on (default: accepted)
//	verdict A ID VERDICT  a later verdict of one
//	learned A ID
//	frame A B HEX      A sends B this; idXX stands for the ID, keyX for the key
//	lose A B           frames from A to B are lost from now on
//	wait MS
//	quiet, loud        no output from here; output again
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
			p := &play{t: t, verdicts: map[gossip.ID]gossip.Verdict{}, lost: map[[2]int32]bool{}}
			for line := range strings.Lines(script) {
				if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
					p.line(f)
				}
			}
			got := p.out.String()
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
	t        *testing.T
	w        *world
	verdicts map[gossip.ID]gossip.Verdict
	lost     map[[2]int32]bool
	quiet    bool
	out      strings.Builder
}

func (p *play) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *play) id(s string) (id gossip.ID) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 1 {
		p.t.Fatalf("script: ID %s", s)
	}
	for i := range id {
		id[i] = b[0]
	}
	return id
}

func (p *play) verdict(s string) gossip.Verdict {
	for v := gossip.Accepted; v <= gossip.Lost; v++ {
		if v.String() == s {
			return v
		}
	}
	p.t.Fatalf("script: verdict %s", s)
	return 0
}

func who(s string) int32 { return int32(s[0] - 'a') }

func (p *play) line(f []string) {
	w := p.w
	switch f[0] {
	case "replicas":
		p.start(f[1:])
	case "members":
		for i := range w.nodes {
			w.step(int32(i), gossip.Members{Peers: w.order})
		}
	case "up":
		up := gossip.PeerUp{RTT: 40 * time.Millisecond}
		if len(f) > 3 {
			up.Class = gossip.Relay
		}
		a, b := who(f[1]), who(f[2])
		w.links[pairOf(a, b)] = true
		for _, x := range [][2]int32{{a, b}, {b, a}} {
			up.Peer = w.keys[x[1]]
			w.nodes[x[0]].links = append(w.nodes[x[0]].links, x[1])
			w.step(x[0], up)
		}
	case "down":
		a, b := who(f[1]), who(f[2])
		w.unlink(a, b)
		w.step(a, gossip.PeerDown{Peer: w.keys[b]})
		w.step(b, gossip.PeerDown{Peer: w.keys[a]})
	case "publish":
		w.step(who(f[1]), gossip.Publish{Rumor: gossip.Rumor{ID: p.id(f[2]), Payload: make([]byte, p.number(f[3]))}})
	case "judge":
		p.verdicts[p.id(f[1])] = p.verdict(f[2])
	case "verdict":
		w.step(who(f[1]), gossip.Judged{ID: p.id(f[2]), Verdict: p.verdict(f[3])})
	case "learned":
		w.step(who(f[1]), gossip.Learned{ID: p.id(f[2])})
	case "frame":
		text := strings.Join(f[3:], "")
		for i := range 256 {
			text = strings.ReplaceAll(text, fmt.Sprintf("id%02x", i), strings.Repeat(fmt.Sprintf("%02x", i), 32))
		}
		b, err := hex.DecodeString(text)
		if err != nil {
			p.t.Fatal(err)
		}
		w.send(who(f[1]), who(f[2]), b)
	case "lose":
		p.lost[[2]int32{who(f[1]), who(f[2])}] = true
	case "wait":
		w.run(w.now+time.Duration(p.number(f[1]))*time.Millisecond, nil)
	case "quiet":
		p.quiet = true
	case "loud":
		p.quiet = false
	default:
		p.t.Fatalf("script: %v", f)
	}
}

func (p *play) start(f []string) {
	var o gossip.Options
	if len(f) > 1 {
		for o.Mode.String() != f[1] {
			o.Mode++
		}
	}
	if len(f) > 2 {
		o.Counter = p.number(f[2])
	}
	w := newNamedWorld(p.t, p.number(f[0]), 1, o, func(i int) (k gossip.Peer) {
		for j := range k {
			k[j] = 0xaa + 0x11*byte(i)
		}
		return k
	})
	p.w = w
	w.near = func(_, _ int32) time.Duration { return 20 * time.Millisecond }
	w.judge = func(_ int32, d gossip.Deliver) gossip.Verdict {
		if v, ok := p.verdicts[d.Rumor.ID]; ok {
			return v
		}
		return gossip.Accepted
	}
	w.carry = func(from, to int32, frame []byte) []byte {
		if p.lost[[2]int32{from, to}] {
			return nil
		}
		return frame
	}
	w.log = func(i int32, in gossip.Input, outs []gossip.Output, now time.Duration) {
		if _, tick := in.(gossip.Tick); p.quiet || tick && len(outs) == 0 {
			return
		}
		fmt.Fprintf(&p.out, "%d ms, %c: %s\n", now.Milliseconds(), 'a'+i, p.sayInput(in))
		for _, out := range outs {
			fmt.Fprintf(&p.out, "  %s\n", p.sayOutput(out))
		}
	}
}

func (p *play) name(k gossip.Peer) string { return string(rune('a' + p.w.index[k])) }

func (p *play) sayInput(in gossip.Input) string {
	switch in := in.(type) {
	case gossip.Members:
		return fmt.Sprintf("members, %d", len(in.Peers))
	case gossip.PeerUp:
		if in.Class == gossip.Relay {
			return p.name(in.Peer) + " is up, by relay"
		}
		return p.name(in.Peer) + " is up"
	case gossip.PeerDown:
		return p.name(in.Peer) + " is down"
	case gossip.Frame:
		return p.name(in.Peer) + " says " + gossip.Describe(in.Bytes)
	case gossip.Publish:
		return fmt.Sprintf("publish %x, %d bytes", in.Rumor.ID[:3], len(in.Rumor.Payload))
	case gossip.Learned:
		return fmt.Sprintf("learned %x", in.ID[:3])
	case gossip.Judged:
		return fmt.Sprintf("%x is %s", in.ID[:3], in.Verdict)
	}
	return "tick"
}

func (p *play) sayOutput(out gossip.Output) string {
	switch out := out.(type) {
	case gossip.Send:
		return "to " + p.name(out.Peer) + ": " + gossip.Describe(out.Frame)
	case gossip.Deliver:
		if out.Rumor.Size > 0 {
			return fmt.Sprintf("deliver %x, %d bytes to be fetched from %s", out.Rumor.ID[:3], out.Rumor.Size, p.name(out.From))
		}
		return fmt.Sprintf("deliver %x, %d bytes", out.Rumor.ID[:3], len(out.Rumor.Payload))
	case gossip.Connect:
		return "connect to " + p.name(out.Peer)
	case gossip.Close:
		return "close the link to " + p.name(out.Peer)
	case gossip.Charge:
		return fmt.Sprintf("charge %s: %s", p.name(out.Peer), out.Reason)
	case gossip.Missed:
		return fmt.Sprintf("missed %x of %s", out.ID[:3], p.name(out.Peer))
	}
	return "?"
}
