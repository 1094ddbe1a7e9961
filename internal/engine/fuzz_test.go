package engine

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"anabranch/gossip"
	"anabranch/record"
)

func FuzzFrame(f *testing.F) {
	f.Add(frame{kind: frameOpen, channel: 3}.encode())
	f.Add(frame{kind: frameClose, channel: 255}.encode())
	f.Add(frame{kind: frameRumors, body: []byte{5}}.encode())
	f.Add(frame{kind: frameNote, body: aNote(1, 7, 1, []byte("x"))}.encode())
	f.Add([]byte{4, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decode(b)
		if err != nil {
			return
		}
		if again := got.encode(); !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
	})
}

func FuzzNote(f *testing.F) {
	f.Add(aNote(1, 7, 1, nil))
	f.Add(aNote(2, 1<<53-1, 9, bytes.Repeat([]byte("x"), 3000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNote(b)
		if err != nil {
			return
		}
		unsigned, signature := SplitNote(b)
		if !bytes.Equal(append(AppendNote(nil, n), signature[:]...), b) || !bytes.Equal(AppendNote(nil, n), unsigned) {
			t.Errorf("%x reads as %+v, which is written otherwise", b, n)
		}
	})
}

// aNote is a note whose signature holds if good is 0: see world_test.go.
func aNote(kind uint8, at uint64, who int, body []byte) []byte {
	return append(AppendNote(nil, ParsedNote{Kind: kind, Device: keyOf(who), Time: at, Body: body}), make([]byte, noteSignature)...)
}

// FuzzEngine gives an engine inputs in any order, among them nonsense: it
// does not panic, answers every question of a peer's session, and keeps what
// it remembers within bounds.
func FuzzEngine(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add(bytes.Repeat([]byte{0, 1, 9, 2, 1, 3, 1, 4, 200, 8, 1, 13, 1}, 20))
	f.Add(bytes.Repeat([]byte{3, 5, 7, 11, 13}, 100))
	f.Fuzz(func(t *testing.T, script []byte) {
		rng := rand.New(rand.NewPCG(1, 2))
		e, err := New(Options{Self: keyOf(0), Rand: rng})
		if err != nil {
			t.Fatal(err)
		}
		spaces := []record.SpaceID{{1}, {2}}
		now := time.Duration(0)
		asked := map[Session]bool{}
		var number Session
		take := func() int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b)
		}
		for len(script) > 0 {
			who, sp := keyOf(1+take()%12), spaces[take()%2]
			var in Input
			switch take() % 19 {
			case 0:
				var members []Peer
				for i := range 1 + take()%12 {
					members = append(members, keyOf(i))
				}
				slices.SortFunc(members, compare)
				in = Joined{Space: sp, Members: members}
			case 1:
				in = Left{sp}
			case 2:
				in = PeerUp{Peer: who, Class: gossip.Class(take() % 3)}
			case 3:
				in = PeerDown{who}
			case 4:
				in = StreamUp{who}
			case 5:
				in = StreamDown{who}
			case 6:
				n := min(take(), len(script))
				in = Frame{who, slices.Clone(script[:n])}
				script = script[n:]
			case 7:
				var nonce [nonceSize]byte
				in = Frame{who, frame{kind: frameOpen, channel: uint8(take()), nonce: nonce, tag: tagOf(sp, who, keyOf(0), nonce)}.encode()}
			case 8:
				body := slices.Clone(script[:min(40, len(script))])
				in = Frame{who, append([]byte{frameRumors, uint8(take()), byte(take() % 17)}, body...)}
			case 9:
				in = Committed{Space: sp, Version: uint64(take()), Fresh: []Fresh{{ID: ID{byte(take())}, Bytes: make([]byte, 100*take()), Own: take()%2 == 0}}, Control: take()%4 == 0}
			case 10:
				in = Judged{sp, ID{byte(take())}, gossip.Verdict(take() % 7)}
			case 11:
				number++
				asked[Theirs|number] = true
				in = Asked{Session: Theirs | number, Space: sp, Peer: who, Equal: take()%2 == 0}
			case 12:
				in = Ended{Session: Session(take()) | Session(take()%2)<<63, Outcome: Outcome(take() % 6), Current: take()%2 == 0, Charge: take()%3 == 0}
			case 13:
				in = Progress{Session(take())}
			case 14:
				in = NoteJudged{Space: sp, From: who, Bytes: aNote(uint8(take()), uint64(take()), take()%12, nil), Good: take()%4 > 0, Age: time.Duration(take()) * time.Hour}
			case 15:
				in = Found{who}
			case 16:
				in = Online{take()%3 > 0}
			case 17:
				in = Caught{Peer: who, Space: sp, Reason: Reason(1 + take()%7)}
			default:
				now += time.Duration(take()) * 100 * time.Millisecond
				in = Tick{}
			}
			if end, ok := in.(Ended); ok {
				delete(asked, end.Session)
			}
			for _, out := range e.Step(now, in) {
				switch out := out.(type) {
				case Serve:
					if !asked[out.Session] {
						t.Fatalf("session %d is served and was not asked for, or twice", out.Session)
					}
					delete(asked, out.Session)
				case Refuse:
					delete(asked, out.Session)
				case Dial:
					if out.Peer == keyOf(0) {
						t.Fatal("it dials itself")
					}
				}
			}
		}
		// Nobody waits for ever, whatever has been left hanging.
		for range 100 {
			now += time.Second
			for _, out := range e.Step(now, Tick{}) {
				switch out := out.(type) {
				case Serve:
					delete(asked, out.Session)
				case Refuse:
					delete(asked, out.Session)
				}
			}
		}
		if len(asked) > 0 {
			t.Errorf("%d sessions of peers were never answered", len(asked))
		}
		if len(e.order) != len(e.peers) || len(e.order) > 12+1 {
			t.Errorf("%d and %d peers are remembered", len(e.order), len(e.peers))
		}
	})
}

// TestTagsAreHMAC: written out, and by the library.
func TestTagsAreHMAC(t *testing.T) {
	space, from, to, nonce := record.SpaceID{1, 255}, Peer{2}, Peer{3}, [nonceSize]byte{4}
	m := hmac.New(sha256.New, space[:])
	for _, part := range [][]byte{[]byte(openLabel), from[:], to[:], nonce[:]} {
		m.Write(part)
	}
	if got := tagOf(space, from, to, nonce); string(got[:]) != string(m.Sum(nil)[:tagSize]) {
		t.Errorf("the tag is %x", got)
	}
}
