package session

import (
	"bytes"
	"testing"

	"anabranch/record"
)

// FuzzFrame: every frame's decoder takes any bytes, and what it accepts
// encodes to the same bytes, but for offers and parts of later versions, which
// are ignored.
func FuzzFrame(f *testing.F) {
	h := Hello{FrameBytes: DefaultFrameBytes, Nonce: seed(3), state: state{count: 300}}
	f.Add(h.append(nil, HelloFrame))
	f.Add(h.append(nil, WelcomeFrame))
	h.Keyed = true
	f.Add(h.append(nil, HelloFrame))
	f.Add(h.append(nil, WelcomeFrame))
	f.Add(h.state.append([]byte{byte(StateFrame)}))
	f.Add(idsFrame(WantFrame, make([]record.ID, 2)))
	f.Add(idsFrame(GoneFrame, make([]record.ID, 1)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHello(b); err == nil {
			helloIsCanonical(t, h, HelloFrame, b)
		}
		if len(b) == 0 {
			return
		}
		switch t1 := FrameType(b[0]); t1 {
		case WelcomeFrame:
			if h, err := parseHello(t1, b[1:]); err == nil {
				helloIsCanonical(t, h, t1, b)
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

// helloIsCanonical: h, read from b, encodes to b. Of its ask only the parts
// that this version knows come again, each as it was.
func helloIsCanonical(t *testing.T, h Hello, frame FrameType, b []byte) {
	t.Helper()
	again := h.append(nil, frame)
	again[2] = b[2] // offers of later versions
	body := len(again)
	if h.Seek {
		body -= len(h.ask.append(nil))
	}
	if len(b) < body || !bytes.Equal(again[:body], b[:body]) {
		t.Fatalf("%v %x came as %x", frame, again, b)
	}
	known := again[body:]
	for rest := b[body:]; len(rest) > 0; {
		n, size := uvarint(rest[1:])
		part := rest[:1+size+int(n)]
		rest = rest[len(part):]
		if part[0] <= partWithout {
			if !bytes.HasPrefix(known, part) {
				t.Fatalf("%v: part %x came again as %x", frame, part, known)
			}
			known = known[len(part):]
		}
	}
	if len(known) > 0 {
		t.Fatalf("%v: nobody sent %x", frame, known)
	}
}

// FuzzSession plays the scene, and from some message on the fuzzer stands on
// the link to one side: it lets frames pass, flips, cuts, repeats and swaps
// them, or writes its own. From 128 on, at is 128 more and the initiator offers
// no keyed lists. Nothing panics, what waits stays bounded, and both
// sides end for good.
func FuzzSession(f *testing.F) {
	w := newWorld()
	inA, inB := scene(w)
	storeA, storeB := w.store(inA...), w.store(inB...)
	viewA, viewB := storeA.view(), storeB.view()
	for at := range uint8(28) {
		f.Add(128+at, at%2 == 0, []byte{at % 6, 0, at, at, 5, 6, 1, 2, 3, 4, 5, 6})
		f.Add(at, true, []byte{at % 6, 0, at, at, 5, 6, 1, 2, 3, 4, 5, 6})
		f.Add(at, false, []byte{5, 6, 5, 0x61, 0, 0, 2, 0, 3, 1, 4, 1})
	}
	f.Fuzz(func(t *testing.T, at uint8, toInitiator bool, script []byte) {
		p := newPair(t, w, forked(storeA), forked(storeB), MinFrameBytes)
		p.a.s.view, p.b.s.view = viewA, viewB
		p.stalls = true
		p.a.s.o.Plain = at >= 128
		at %= 128
		next := func() int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b)
		}
		var heard [][]byte
		p.carry = func(n int, from *side, frame []byte) []byte {
			victim := p.other(from)
			if (victim == p.a) != toInitiator {
				return frame
			}
			heard = append(heard, frame)
			if n < int(at) || len(script) == 0 {
				return frame
			}
			frame = bytes.Clone(frame)
			switch next() % 6 {
			case 1: // flipped
				if len(frame) > 0 {
					frame[(next()<<8|next())%len(frame)] ^= 1 << (next() % 8)
				}
			case 2: // cut
				frame = frame[:(next()<<8|next())%(len(frame)+1)]
			case 3: // one from before instead
				frame = heard[next()%len(heard)]
			case 4: // one from before first
				victim.inbox = append(victim.inbox, bytes.Clone(heard[next()%len(heard)]))
			case 5: // the fuzzer's own
				n := min(next(), len(script))
				frame, script = bytes.Clone(script[:n]), script[n:]
			}
			return frame
		}
		p.log = func(d *side, _ Input, _ []Output) {
			if n := d.s.in.bytes; n < 0 || n > intakeBytes+3*MinFrameBytes {
				t.Fatalf("%s: %d bytes of intake", d.name, n)
			}
		}
		p.run()
	})
}

func forked(s *testStore) *testStore {
	c := &testStore{w: s.w, state: s.state.Clone(), data: map[record.ID]*record.Verified{}}
	for id, r := range s.data {
		c.data[id] = r
	}
	return c
}
