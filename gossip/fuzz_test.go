package gossip

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzFrame: the decoder takes any bytes, and what it accepts encodes to the
// same bytes.
func FuzzFrame(f *testing.F) {
	id, key := ID{1}, Peer{2}
	for _, m := range []message{
		{kind: RumorFrame, hops: 3, rumor: Rumor{ID: id, Payload: []byte("heron")}},
		{kind: AnnounceFrame, hops: 255, rumor: Rumor{ID: id, Size: 70000}},
		{kind: IHaveFrame, news: []news{{id, 1}, {id, 2}}},
		{kind: GraftFrame}, {kind: GraftFrame, ids: []ID{id}}, {kind: PruneFrame}, {kind: JoinFrame},
		{kind: WalkFrame, ttl: 6, peer: key}, {kind: NeighborFrame, flag: true},
		{kind: AcceptFrame}, {kind: DeclineFrame}, {kind: LeaveFrame},
		{kind: ShuffleFrame, ttl: 1, peer: key, ids: []Peer{key}}, {kind: ShuffledFrame},
		{kind: OfferFrame, flag: true}, {kind: OfferFrame, ids: []ID{id}},
		{kind: ReplyFrame, ids: []ID{id}, known: []ID{id, id}},
	} {
		b := m.appendTo(nil)
		if _, err := decode(b); err != nil {
			f.Fatalf("%v: %v", m.kind, err)
		}
		f.Add(b)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		Describe(b)
		m, err := decode(b)
		if err != nil {
			return
		}
		if again := m.appendTo(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x came as %x", again, b)
		}
	})
}

// drawMessage is any message within the protocol's limits, about few peers
// and rumors, so that they meet.
func drawMessage(t *rapid.T) message {
	id := func(label string) [32]byte { return [32]byte{rapid.ByteRange(0, 9).Draw(t, label)} }
	ids := func(most int, label string) (s [][32]byte) {
		for range rapid.IntRange(0, most).Draw(t, label) {
			s = append(s, id(label))
		}
		return s
	}
	m := message{kind: FrameType(rapid.IntRange(1, 15).Draw(t, "kind"))}
	switch m.kind {
	case RumorFrame:
		m.rumor = Rumor{ID: id("rumor"), Payload: []byte(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "payload"))}
		m.hops = rapid.Byte().Draw(t, "hops")
	case AnnounceFrame:
		m.rumor = Rumor{ID: id("rumor"), Size: rapid.Uint64Range(MaxPayload+1, MaxAnnouncement).Draw(t, "size")}
	case IHaveFrame:
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			m.news = append(m.news, news{id("news"), rapid.Byte().Draw(t, "hops")})
		}
	case GraftFrame, ShuffledFrame:
		m.ids = ids(5, "ids")
	case WalkFrame, ShuffleFrame:
		m.ttl, m.peer = rapid.ByteRange(0, MaxTTL).Draw(t, "ttl"), id("peer")
		if m.kind == ShuffleFrame {
			m.ids = ids(5, "peers")
		}
	case NeighborFrame:
		m.flag = rapid.Bool().Draw(t, "urgent")
	case OfferFrame:
		m.flag, m.ids = true, ids(5, "ids")
	case ReplyFrame:
		m.ids, m.known = append(ids(5, "wanted"), ID{}), ids(5, "known")
	}
	return m
}

// property plays any inputs in any order, and looks at every bound after each.
func property(t *rapid.T) {
	mode := Mode(rapid.IntRange(0, 3).Draw(t, "mode"))
	self := Peer{5}
	m, err := New(Options{
		Self: self, Rand: rand.New(rand.NewPCG(1, 2)), Mode: mode, MeshPeers: 3, ActivePeers: 2, PassivePeers: 3,
		CacheBytes: 300, SeenIDs: 3, Counter: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Duration(0)
	waiting := map[ID]bool{}
	var up []Peer
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		now += time.Duration(rapid.SampledFrom([]int64{0, 1, 5, 200, 1000, 15_000}).Draw(t, "ms")) * time.Millisecond
		peer, id := Peer{rapid.ByteRange(0, 9).Draw(t, "peer")}, ID{rapid.ByteRange(0, 9).Draw(t, "id")}
		var in Input
		switch rapid.IntRange(0, 9).Draw(t, "input") {
		case 0:
			in, up = PeerUp{Peer: peer, Class: Class(id[0] % 3)}, append(up, peer)
		case 1:
			in = PeerDown{peer}
		case 2:
			in = Publish{Rumor{ID: id, Payload: []byte{id[0]}}}
		case 3:
			in = Learned{id}
		case 4:
			in = Judged{id, Verdict(rapid.IntRange(1, 5).Draw(t, "verdict"))}
		case 5:
			var all []Peer
			for k := range rapid.ByteRange(1, 10).Draw(t, "members") {
				all = append(all, Peer{k})
			}
			in = Members{all}
		case 6:
			in = Tick{}
		default:
			if len(up) > 0 {
				peer = up[int(id[0])%len(up)]
			}
			msg := drawMessage(t)
			in = Frame{peer, msg.appendTo(nil)}
		}
		for _, out := range m.Step(now, in) {
			switch out := out.(type) {
			case Send:
				if _, err := decode(out.Frame); err != nil {
					t.Fatalf("%T makes it send %x", in, out.Frame)
				}
				if out.Peer == self {
					t.Fatal("it talks to itself")
				}
			case Connect:
				if out.Peer == self {
					t.Fatal("it connects to itself")
				}
			case Deliver:
				if waiting[out.Rumor.ID] && m.open[out.Rumor.ID].at != m.now {
					t.Fatalf("%x is delivered twice", out.Rumor.ID[:1])
				}
				waiting[out.Rumor.ID] = true
			}
		}
		for id := range waiting {
			if m.open[id] == nil {
				delete(waiting, id)
			}
		}
		m.check(t)
	}
}

// check holds a machine to what its fields promise.
func (m *Machine) check(t *rapid.T) {
	if m.Next() <= m.now {
		t.Fatalf("at %v the next deadline is %v", m.now, m.Next())
	}
	if n, most := m.count(active), max(m.o.MeshPeers, m.o.ActivePeers+spareActive); n > most {
		t.Fatalf("%d neighbours", n)
	}
	if len(m.passive) > m.o.PassivePeers || slices.Contains(m.passive, m.o.Self) {
		t.Fatalf("passive view %v", m.passive)
	}
	for i, p := range m.passive {
		if slices.Contains(m.passive[i+1:], p) || m.isShunned(p) {
			t.Fatalf("passive view %v", m.passive)
		}
	}
	if m.cache.bytes > m.o.CacheBytes || m.cache.byID != nil && len(m.cache.byID) != m.cache.queue.len() {
		t.Fatalf("cache: %d bytes, %d of %d", m.cache.bytes, len(m.cache.byID), m.cache.queue.len())
	}
	if m.seen.young.n > m.o.SeenIDs || m.seen.old.n > m.o.SeenIDs {
		t.Fatal("it remembers too much")
	}
	books := map[Peer]account{}
	for _, c := range m.open {
		a := books[c.from]
		if c.held {
			a.held++
			a.heldBytes += c.rumor.bytes()
		} else {
			a.open++
		}
		books[c.from] = a
	}
	for _, w := range m.wants {
		a := books[w.by]
		a.wants++
		books[w.by] = a
	}
	if len(books) != len(m.accounts) {
		t.Fatalf("accounts %v, books %v", m.accounts, books)
	}
	for p, a := range books {
		if m.account(p) != a {
			t.Fatalf("account of %x: %+v, want %+v", p[:1], m.account(p), a)
		}
	}
	if len(m.hot) != len(m.hotByID) {
		t.Fatal("hot rumors")
	}
	for _, l := range m.links.all {
		if (l.lazyAt == never) != (len(l.lazy) == 0) || l.state != active && l.eager || len(l.graft) > 0 {
			t.Fatalf("link %+v", l)
		}
		if (l.until != never) != (l.state == dialing || l.state == asking) {
			t.Fatalf("link %+v", l)
		}
	}
}

func TestAnyInputsInAnyOrder(t *testing.T) { rapid.Check(t, property) }

func FuzzMachine(f *testing.F) { f.Fuzz(rapid.MakeFuzz(property)) }

// FuzzHostile feeds one machine the fuzzer's frames, raw, from three peers.
func FuzzHostile(f *testing.F) {
	f.Add([]byte{33, byte(IHaveFrame), 1, 2}, uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		m, err := New(Options{Self: Peer{9}, Rand: rand.New(rand.NewPCG(1, 2)), Mode: Mode(mode % 4), SeenIDs: 4, CacheBytes: 1 << 12})
		if err != nil {
			t.Fatal(err)
		}
		for k := byte(1); k <= 3; k++ {
			m.Step(0, PeerUp{Peer: Peer{k}})
			m.Step(0, Frame{Peer{k}, []byte{byte(JoinFrame)}})
		}
		now := time.Duration(0)
		for len(b) > 2 {
			n := min(int(b[0]), len(b)-1)
			peer, frame := Peer{b[0]%3 + 1}, b[1:1+n]
			b = b[1+n:]
			now += time.Duration(n) * time.Millisecond
			for _, out := range m.Step(now, Frame{peer, frame}) {
				if d, ok := out.(Deliver); ok {
					m.Step(now, Judged{d.Rumor.ID, Verdict(n%5 + 1)})
				}
			}
		}
	})
}
