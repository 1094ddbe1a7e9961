package reconcile

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// What a message may take from the heap, everything together that is ever
// allocated for it, whether garbage or not, on an engine that is new: twice
// its length, and
//
//	any engine    allocBase
//	a responder   a frame of its own, and a quarter
//	an initiator  the same, and 43 bytes for every item that it holds if it
//	              is told that the other side holds none of them
//	the dialect   14 frames in place of one: IDs for a frame of names
//
// These are the constants of docs/reconcile.md.
const (
	allocBase     = 24 << 10
	dialectFrames = 14
)

// allocated is what one call takes from the heap, in bytes. The least of some
// runs counts: the runtime uses the heap too.
func allocated(call func()) int {
	least := uint64(math.MaxUint64)
	for range 2 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		call()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return int(least)
}

// listing is a message of lists, in the dialect if there is a key.
type listing struct {
	writer
	key *Key
}

func newListing(key *Key) *listing {
	l := &listing{key: key}
	if key != nil {
		l.version = dialectVersion
	}
	l.begin()
	return l
}

func (l *listing) add(upper Bound, ids []ID) {
	l.header(&upper, modeList)
	l.buf = appendVarint(l.buf, uint64(len(ids)))
	for i := range ids {
		if l.key != nil {
			l.buf = append(l.buf, 0, 0, 0, 0, 0, 0, 0, 0)
			k := l.key.short(ids[i][:])
			for j := range 8 {
				l.buf[len(l.buf)-8+j] = byte(k >> (8 * j))
			}
			continue
		}
		l.buf = append(l.buf, ids[i][:]...)
	}
}

// hostileMessages are valid and invalid messages that ask for as much work or
// memory as their makers could think of. In none is an ID that somebody holds,
// but for those in held.
func hostileMessages(n int, held []Item, key *Key) map[string][]byte {
	rng := rand.New(rand.NewPCG(uint64(n), 3))
	ids := make([]ID, n)
	twins := make([]ID, n) // equal in their first eight bytes
	for i := range ids {
		for j := range ids[i] {
			ids[i][j] = byte(rng.Uint32())
		}
		twins[i] = ids[i]
		clear(twins[i][:8])
	}
	all := Bound{Time: Infinity}
	messages := map[string][]byte{}
	list := func(name string, ids []ID) {
		l := newListing(key)
		l.add(all, ids)
		messages[name] = l.buf
	}
	list("one list of unknown IDs", ids)
	list("one list of IDs that begin alike", twins)
	list("one list with an ID that comes twice", append(slices.Clone(twins), twins[0]))
	var known []ID
	for i := range held[:min(n, len(held))] {
		known = append(known, held[i].ID)
	}
	list("one list of all that is held", known)
	slices.Reverse(known)
	list("the same backwards", known)

	l := newListing(key) // each a little longer than all before: every one makes memory grow
	for at, step := 0, 1; at+step <= n; at, step = at+step, step+step/4+1 {
		l.add(Bound{Time: uint64(at + 1)}, ids[at:at+step])
	}
	messages["lists that grow"] = l.buf

	l = newListing(key)
	for at := 0; at+20 <= n; at += 20 {
		l.add(Bound{Time: 1_600_000_000 + uint64(at)*100}, ids[at:at+20])
	}
	messages["short lists"] = l.buf

	l = newListing(key)
	for i := range n {
		l.header(&Bound{Time: 1_600_000_000 + uint64(i)*100}, modeFingerprint)
		l.buf = append(l.buf, make([]byte, 16)...)
	}
	messages["fingerprints that are all wrong"] = l.buf

	l = newListing(key)
	for i := range n {
		l.header(&Bound{Time: 1_600_000_000 + uint64(i)*100}, uint64(i%2*modeList))
		if i%2 == 1 {
			l.buf = append(l.buf, 0)
		}
	}
	messages["empty lists and skips"] = l.buf

	l = newListing(key)
	for i := range n {
		id := ID{31: byte(i), 30: byte(i >> 8), 29: byte(i >> 16)}
		l.header(&Bound{Time: 1_600_000_000, Prefix: id, Len: 32}, modeSkip)
	}
	messages["long bounds"] = l.buf

	l = newListing(key)
	l.add(all, nil)
	messages["nothing is held"] = l.buf
	messages["a list of 2^63 IDs"] = append([]byte{l.buf[0], 0, 0, modeList}, appendVarint(nil, 1<<63)...)
	messages["an endless varint"] = append([]byte{l.buf[0]}, slices.Repeat([]byte{0xff}, n)...)
	messages["zeros"] = append([]byte{l.buf[0]}, make([]byte, n)...)
	if key != nil {
		l = newListing(key)
		l.header(&all, modeWants)
		l.buf = append(appendVarint(l.buf, 1), 0)
		l.buf = append(appendVarint(l.buf, uint64(len(held))), 0)
		messages["all is wanted"] = l.buf
		l = newListing(key)
		for i := range n {
			l.header(&Bound{Time: 1_600_000_000 + uint64(i)*100}, modeWants)
			l.buf = append(l.buf, 1, 0, 1, 0)
		}
		messages["items are wanted one by one"] = l.buf
		l = newListing(key)
		l.header(&all, modeWants)
		l.buf = appendVarint(l.buf, uint64(n))
		for range n {
			l.buf = append(l.buf, 1, 1)
		}
		messages["every second item is wanted"] = append(l.buf, 0)
	}
	return messages
}

// Hostile messages and honest ones, of several sizes, at every kind of engine.
func TestAMessageTakesNoMoreThanTwiceItsLength(t *testing.T) {
	const n = 20_000
	var mine, theirs []Item
	for i := range n {
		if i%50 > 0 {
			mine = append(mine, numbered(i))
		}
		if i%30 > 0 {
			theirs = append(theirs, numbered(i))
		}
	}
	v, _ := NewVector(mine)
	w, _ := NewVector(theirs)
	tree := new(Tree)
	tree.Insert(mine...)
	worst := map[string]float64{}
	judge := func(who, what string, msg []byte, took, constant int) {
		if took > 2*len(msg)+constant {
			t.Errorf("%s: %q, %d bytes, takes %d: that is twice its length and %d, not %d",
				who, what, len(msg), took, took-2*len(msg), constant)
		}
		if len(msg) > 100_000 {
			worst[who] = max(worst[who], float64(took-constant)/float64(len(msg)))
		}
	}
	for _, size := range []int{1, 100, 2_000, 20_000} {
		for _, key := range []*Key{nil, {1, 2, 3}} {
			messages := hostileMessages(size, mine, key)
			names := make([]string, 0, len(messages))
			for name := range messages {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				msg := messages[name]
				took := allocated(func() {
					r := reader{msg: msg, short: key != nil}
					if _, err := r.versionByte(); err == nil {
						r.check()
					}
				})
				judge("parser", name, msg, took, 4<<10)
				for k, ix := range []Index{v, tree} {
					for split := range plans {
						if split > 1 && size > 100 || k > 0 && size > 2_000 {
							continue
						}
						for _, frame := range []int{4096, 65_536} {
							o := Options{FrameBytes: frame, Split: Split(split), Dialect: key}
							frames, who := frame+frame/4, ""
							if key != nil {
								frames, who = dialectFrames*frame, ", dialect"
							}
							took := allocated(func() { Respond(ix, msg, o) })
							judge("responder"+who, fmt.Sprintf("%s (%v, frame %d)", name, Split(split), frame), msg, took, allocBase+frames)
							have := 0
							took = allocated(func() {
								in, _ := NewInitiator(ix, o)
								in.Start()
								_, ids, _, _ := in.Step(msg)
								have = len(ids)
							})
							if have > 0 {
								frames += 43 * ix.Len()
							}
							judge("initiator"+who, fmt.Sprintf("%s (%v, frame %d)", name, Split(split), frame), msg, took, allocBase+frames)
						}
					}
				}
			}
		}
	}

	// Honest ones, each to an engine that has never seen another.
	for _, key := range []*Key{nil, {1, 2, 3}} {
		for split := range plans {
			o := Options{FrameBytes: 65_536, Split: Split(split), Dialect: key}
			frames := o.FrameBytes + o.FrameBytes/4
			if key != nil {
				frames = dialectFrames * o.FrameBytes
			}
			k, err := honest(v, w, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, msg := range k {
				if i%2 == 0 {
					took := allocated(func() { Respond(w, msg, o) })
					judge("responder, honest peer", fmt.Sprint("message ", i), msg, took, allocBase+frames)
					continue
				}
				took := allocated(func() {
					in, _ := NewInitiator(v, o)
					in.Start()
					in.Step(msg)
				})
				judge("initiator, honest peer", fmt.Sprint("message ", i), msg, took, allocBase+frames+43*v.Len())
			}
		}
	}
	for _, who := range []string{"parser", "responder", "initiator", "responder, dialect", "initiator, dialect"} {
		t.Logf("%s: at most %.2f bytes for each of a message beyond 100 000, and the constant", who, worst[who])
	}
}

// honest is all messages of a conversation, the initiator's first.
func honest(mine, theirs Index, o Options) (messages [][]byte, err error) {
	in, err := NewInitiator(mine, o)
	if err != nil {
		return nil, err
	}
	out, err := NewResponder(theirs, o)
	if err != nil {
		return nil, err
	}
	msg, err := in.Start()
	for msg != nil && err == nil {
		messages = append(messages, slices.Clone(msg))
		if msg, err = out.Respond(msg); err == nil {
			messages = append(messages, slices.Clone(msg))
			msg, _, _, err = in.Step(msg)
		}
	}
	return messages, err
}
