package engine

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"anabranch/gossip"
	"anabranch/record"
)

var update = flag.Bool("update", false, "rewrite the transcripts")

// A transcript is a script of inputs, and below each line what the engine
// answers, indented. Peers have one letter, and keys in its order; the engine
// is m. "run 3s" lets time pass, with a tick whenever one is due. Replies to
// Judge come from "verdict"; sessions are numbered as the engine does, and
// those of peers from t1.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the engine says\n%s", got)
			}
		})
	}
}

func letter(s string) Peer { return Peer{s[0]} }

type player struct {
	t      *testing.T
	engine *Engine
	now    time.Duration
	out    bytes.Buffer
}

var theSpace = record.SpaceID{7}

func play(t *testing.T, script []byte) []byte {
	p := &player{t: t}
	p.renew(Options{})
	for line := range strings.Lines(string(script)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // an answer
		}
		fmt.Fprintln(&p.out, line)
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		p.line(words)
	}
	return p.out.Bytes()
}

func (p *player) renew(o Options) {
	o.Self, o.Rand = letter("m"), rand.New(rand.NewPCG(1, 2))
	var err error
	if p.engine, err = New(o); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) line(words []string) {
	duration := func(s string) time.Duration {
		d, err := time.ParseDuration(s)
		if err != nil {
			p.t.Fatal(err)
		}
		return d
	}
	session := func(s string) Session {
		var n Session
		if rest, ok := strings.CutPrefix(s, "t"); ok {
			fmt.Sscan(rest, &n)
			return Theirs | n
		}
		fmt.Sscan(s, &n)
		return n
	}
	has := func(word string) bool { return slices.Contains(words, word) }
	id := func(s string) ID { return ID{s[0]} }
	switch words[0] {
	case "new": // new [quick]: the same seed, other options
		p.renew(Options{SyncInterval: -1, Settle: -1})
	case "members":
		var members []Peer
		for _, w := range words[1:] {
			members = append(members, letter(w))
		}
		p.step(Joined{theSpace, members})
	case "run":
		for end := p.now + duration(words[1]); ; {
			at := p.engine.Next()
			if at > end {
				p.now = end
				return
			}
			p.now = max(p.now, at)
			p.step(Tick{})
		}
	case "up":
		for _, w := range words[1:] {
			p.step(PeerUp{Peer: letter(w)})
		}
	case "down":
		p.step(PeerDown{letter(words[1])})
	case "found":
		p.step(Found{letter(words[1])})
	case "stream": // the peer opens the space on it too
		p.step(StreamUp{letter(words[1])})
		p.step(Frame{letter(words[1]), frame{kind: frameOpen, tag: tagOf(theSpace, letter(words[1]), letter("m"), [nonceSize]byte{})}.encode()})
	case "accept": // the peer agrees to be a neighbour
		p.step(Frame{letter(words[1]), []byte{frameRumors, 0, 9}})
	case "rumor": // rumor PEER ID
		b := append([]byte{frameRumors, 0, 1, 1}, make([]byte, 32)...)
		b[4] = words[2][0]
		p.step(Frame{letter(words[1]), append(b, "content"...)})
	case "announce": // announce PEER ID
		b := append([]byte{frameRumors, 0, 2, 1}, make([]byte, 32)...)
		b[4] = words[2][0]
		p.step(Frame{letter(words[1]), append(b, 0xA0, 0x9C, 0x01)}) // 20 000
	case "caught": // caught PEER at false content
		p.step(Caught{Peer: letter(words[1]), Space: theSpace, Reason: Content})
	case "garbage":
		p.step(Frame{letter(words[1]), []byte("garbage")})
	case "verdict":
		for v := gossip.Accepted; v <= gossip.Lost; v++ {
			if v.String() == words[2] {
				p.step(Judged{theSpace, id(words[1]), v})
			}
		}
	case "wrote": // wrote ID
		p.step(Committed{Space: theSpace, Fresh: []Fresh{{ID: id(words[1]), Bytes: []byte("content"), Own: true}}})
	case "entered": // entered ID [control]
		p.step(Committed{Space: theSpace, Fresh: []Fresh{{ID: id(words[1])}}, Control: has("control")})
	case "imported":
		p.step(Committed{Space: theSpace, Many: true})
	case "asked": // asked tN PEER [equal]
		p.step(Asked{Session: session(words[1]), Space: theSpace, Peer: letter(words[2]), Equal: has("equal")})
	case "progress":
		p.step(Progress{session(words[1])})
	case "agreed":
		p.step(Ended{Session: session(words[1]), Outcome: Agreed, Current: true})
	case "failed":
		p.step(Ended{Session: session(words[1]), Outcome: Failed, Charge: has("charge")})
	case "offline":
		p.step(Online{false})
	case "online":
		p.step(Online{true})
	default:
		p.t.Fatalf("no such word: %s", words[0])
	}
}

func (p *player) step(in Input) {
	for _, out := range p.engine.Step(p.now, in) {
		fmt.Fprintf(&p.out, "    %-8v %s\n", p.now.Round(time.Millisecond), spell(out))
	}
}

func spell(out Output) string {
	number := func(n Session) string {
		if n&Theirs != 0 {
			return fmt.Sprint("t", uint64(n&^Theirs))
		}
		return fmt.Sprint(uint64(n))
	}
	who := func(p Peer) string { return string(p[:1]) }
	switch out := out.(type) {
	case Dial:
		return "dial " + who(out.Peer)
	case Hangup:
		return "hang up " + who(out.Peer)
	case Send:
		return fmt.Sprintf("send %s: %s", who(out.Peer), spellFrame(out.Frame))
	case Judge:
		if out.Bytes == nil {
			return fmt.Sprintf("look whether %s is here", who(out.ID))
		}
		return fmt.Sprintf("judge %s from %s", who(out.ID), who(out.From))
	case Sync:
		return fmt.Sprintf("session %s with %s: %v", number(out.Session), who(out.Peer), out.Why)
	case Serve:
		return "serve " + number(out.Session)
	case Refuse:
		return "refuse " + number(out.Session)
	case Charge:
		s := fmt.Sprintf("charge %s: %v", who(out.Peer), out.Reason)
		if out.Ban > 0 {
			s += fmt.Sprintf(", leave it alone for %v", out.Ban)
		}
		return s
	}
	return fmt.Sprintf("%T", out)
}

func spellFrame(b []byte) string {
	f, err := decode(b)
	if err != nil {
		return err.Error()
	}
	switch f.kind {
	case frameOpen:
		return "open"
	case frameClose:
		return "close"
	case frameNote:
		return "note"
	}
	names := []string{"", "rumor", "announce", "ihave", "graft", "prune", "join", "walk", "neighbor", "accept", "decline", "leave", "shuffle", "shuffled", "offer", "reply"}
	s := names[f.body[0]]
	if f.body[0] <= 3 {
		s += " " + string(f.body[2:3])
	}
	return s
}
