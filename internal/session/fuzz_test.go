package session

import (
	"bytes"
	"testing"

	"anabranch/record"
)

// FuzzFrame: every frame's decoder takes any bytes, and what it accepts
// encodes to the same bytes.
func FuzzFrame(f *testing.F) {
	h := Hello{FrameBytes: DefaultFrameBytes, Nonce: seed(3), state: state{count: 300}}
	f.Add(h.append(nil, HelloFrame))
	f.Add(h.append(nil, WelcomeFrame))
	f.Add(h.state.append([]byte{byte(StateFrame)}))
	f.Add(idsFrame(WantFrame, make([]record.ID, 2)))
	f.Add(idsFrame(GoneFrame, make([]record.ID, 1)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHello(b); err == nil {
			again := h.append(nil, HelloFrame)
			again[2] = b[2] // offers of later versions
			if !bytes.Equal(again, b) {
				t.Fatalf("hello %x came as %x", again, b)
			}
		}
		if len(b) == 0 {
			return
		}
		switch t1 := FrameType(b[0]); t1 {
		case WelcomeFrame:
			if h, err := parseHello(t1, b[1:]); err == nil {
				again := h.append(nil, WelcomeFrame)
				again[2] = b[2]
				if !bytes.Equal(again, b) {
					t.Fatalf("welcome %x came as %x", again, b)
				}
			}
		case StateFrame:
			r := reader{frame: t1, b: b[1:]}
			if a := r.state(); r.end() == nil && !bytes.Equal(a.append([]byte{b[0]}), b) {
				t.Fatalf("state %+v came as %x", a, b)
			}
		case WantFrame, GoneFrame:
			if ids, err := idsBody(t1, b[1:]); err == nil && !bytes.Equal(idsFrame(t1, ids), b) {
				t.Fatalf("%v came as %x", ids, b)
			}
		default:
			_ = t1.String()
		}
	})
}

// FuzzSession plays the scene up to some message, then gives one side frames
// that the fuzzer wrote. Nothing panics, memory stays bounded, and what ends
// ends for good.
func FuzzSession(f *testing.F) {
	w := newWorld()
	inA, inB := scene(w)
	storeA, storeB := w.store(inA...), w.store(inB...)
	viewA, viewB := storeA.view(), storeB.view()
	for at := range uint8(28) {
		f.Add(at, true, []byte{3, 0, 4, 4, 1, 2, 3, 4})
		f.Add(at, false, []byte{6, 0, 5, 0x61, 0, 0, 2, 0, 1, 0, 9})
	}
	f.Fuzz(func(t *testing.T, at uint8, toInitiator bool, script []byte) {
		// Stores are not committed to: every conversation starts alike.
		p := newPair(t, w, w.store(), w.store(), MinFrameBytes)
		p.a.s.view, p.b.s.view = viewA, viewB
		p.a.store, p.b.store = forked(storeA), forked(storeB)
		p.stalls = true
		p.carry = func(n int, from *side, frame []byte) []byte {
			victim := p.other(from)
			if n < int(at) || (victim == p.a) != toInitiator {
				return frame
			}
			// From here on the victim hears the fuzzer: frames that it
			// wrote, each with a length of two bytes before it.
			if len(script) < 2 {
				return nil
			}
			size := min(int(script[0])|int(script[1])<<8, len(script)-2)
			frame, script = script[2:2+size:2+size], script[2+size:]
			return append([]byte{}, frame...)
		}
		p.run()
		for _, d := range []*side{p.a, p.b} {
			if d.s.in.bytes < 0 {
				t.Fatalf("%s: %d bytes of intake", d.name, d.s.in.bytes)
			}
		}
	})
}

func forked(s *testStore) *testStore {
	c := &testStore{w: s.w, state: s.state.Clone(), data: map[record.ID]*record.Verified{}}
	for id, r := range s.data {
		c.data[id] = r
	}
	return c
}
