package text

import (
	"bytes"
	"cmp"
	"compress/flate"
	"container/heap"
	"encoding/binary"
	"fmt"
	"slices"

	"anabranch/crdt"
)

// A delta is what one lane wrote in a burst: runs of characters, and claims
// about characters of any lane. The lane is not in it: it comes with the record
// that carries the delta. Numbers are those of crdt.AppendUvarint.
//
//	1 byte   0x10 | flags: 1 lanes, 2 runs, 4 claims, 8 deflated
//	         with flag 8: the length of what follows when inflated; the rest is one DEFLATE stream
//	lanes    count >= 1, then 8 bytes big-endian each: other lanes that are mentioned, in the order
//	         of their first mention in runs, then those that only claims mention, ascending
//	runs     number of the first character, count >= 1, then two columns:
//	           characters<<1 | 1 if the first is a left child of its parent, 0 if a right one
//	           parents, as references
//	claims   groups, >= 1, own lane first, then by place in lanes:
//	           0 for the own lane or 1 + place, count >= 1, and per claim, ascending:
//	             characters skipped since the claim before, characters<<1 | 0 for causal length 2 or 1,
//	             with 1 the causal length, >= 3
//	text     the rest, UTF-8: as many runes as the runs have characters
//
// A reference in a run that starts at number f is 0 for the start of the
// document, (f-n)<<1 for number n < f of the own lane, place<<1|1 and a number
// for another's. A run that could be the rest of the one before must be, and
// so must claims of one causal length that touch; so a delta has one encoding,
// whether it is deflated or not aside.
const (
	deltaVersion = 0x10

	hasLanes  = 1
	hasRuns   = 2
	hasClaims = 4
	deflated  = 8

	// MaxDelta bounds a delta in bytes, inflated.
	MaxDelta = 1 << 20
	// MaxClen is the causal length of a character whose text was dropped by the
	// lane that typed it: nobody else can say it, and nothing undoes it. It says
	// nothing any more (see Fold); edits and undo stay below it.
	MaxClen  = 1 << 30
	mostClen = MaxClen - 2 // the highest that an edit gives

	deflateDelta = 4096 // bytes of a delta below which deflating is not tried: inflating takes longer than joining
	deflateFrom  = 256  // and of a part of a saved state
	deltaRatio   = 64   // what a delta may expand by: a small record must not become a huge text
	deflateRatio = 1032 // no DEFLATE stream expands by more
)

// unknownLane is added to a lane's place in a delta to make its index, as long
// as the document does not know it.
const unknownLane = 1 << 30

// decoder holds one decoded delta, and keeps its memory for the next.
type decoder struct {
	b   []byte
	at  int // in b
	bad bool

	names  []uint64 // by place
	lanes  []int    // index in Doc.lanes, or unknownLane + place
	own    int      // the same; unknownLane+len(names) stands for an own lane without characters
	first  uint32
	total  uint32
	runs   []run
	claims []claim
	blanks []claim // those of claims that drop text, ascending

	raw      []byte
	inflater *inflater // made when it is needed first
}

// number reads one number.
func (in *decoder) number() uint64 {
	if in.at < len(in.b) && in.b[in.at] < 0x80 {
		in.at++
		return uint64(in.b[in.at-1])
	}
	return in.longNumber()
}

func (in *decoder) longNumber() uint64 {
	v, n := crdt.Uvarint(in.b[in.at:])
	if n == 0 {
		in.bad = true
		n = len(in.b) - in.at
	}
	in.at += n
	return v
}

// left is how many bytes are still to be read.
func (in *decoder) left() int { return len(in.b) - in.at }

func malformed(format string, args ...any) error {
	return &FormatError{What: "delta", Reason: fmt.Sprintf(format, args...)}
}

// decode reads a delta of a lane, with ids as d knows them.
func (in *decoder) decode(d *Doc, name uint64, body []byte) error {
	in.names = in.names[:0]
	in.lanes = in.lanes[:0]
	in.runs = in.runs[:0]
	in.claims = in.claims[:0]
	in.blanks = in.blanks[:0]
	in.first, in.total, in.bad = 0, 0, false
	if len(body) == 0 || len(body) > MaxDelta {
		return malformed("%d bytes", len(body))
	}
	head := body[0]
	in.b, in.at = body, 1
	if head&0xf0 != deltaVersion || head&(hasRuns|hasClaims) == 0 {
		return malformed("first byte %#x", head)
	}
	if head&deflated != 0 {
		if err := in.unpack(); err != nil {
			return err
		}
	}
	in.own = unknownLane
	if head&hasLanes != 0 {
		n := in.number()
		if n == 0 || n > uint64(in.left()/8) {
			return malformed("%d lanes in %d bytes", n, in.left())
		}
		for i := range int(n) {
			other := binary.BigEndian.Uint64(in.b[in.at:])
			in.at += 8
			if other == 0 || other == name {
				return malformed("lane %x is among the others", other)
			}
			at, ok := d.index[other]
			if !ok {
				at = int32(unknownLane + i)
			}
			in.names = append(in.names, other)
			in.lanes = append(in.lanes, int(at))
		}
		in.own += int(n)
	}
	if d.lastName == name && d.lastLane >= 0 {
		in.own = d.lastLane
	} else if at, ok := d.index[name]; ok {
		in.own = int(at)
		d.lastName, d.lastLane = name, in.own
	}
	mentioned := 0
	if head&hasRuns != 0 {
		var err error
		if mentioned, err = in.readRuns(); err != nil {
			return err
		}
	}
	if head&hasClaims != 0 {
		if err := in.readClaims(mentioned); err != nil {
			return err
		}
	} else if mentioned != len(in.names) {
		return malformed("a lane is never mentioned")
	}
	if in.bad {
		return malformed("a number is cut off or too long")
	}
	if runes, _, ok := checkBytes(in.b[in.at:]); !ok || runes != int(in.total) {
		return malformed("text of %d characters where runs have %d", runes, in.total)
	}
	return nil
}

// unpack inflates what follows the first byte.
func (in *decoder) unpack() error {
	size := in.number()
	if in.bad || size > MaxDelta || size > uint64(in.left())*deltaRatio {
		return malformed("%d bytes deflated to %d", size, in.left())
	}
	if in.inflater == nil {
		in.inflater = new(inflater)
	}
	in.raw = slices.Grow(in.raw[:0], int(size))[:size]
	if !in.inflater.inflate(in.raw, in.b[in.at:]) {
		return malformed("no DEFLATE stream of %d bytes", size)
	}
	in.b, in.at = in.raw, 0
	return nil
}

// readRuns returns how many lanes it met.
func (in *decoder) readRuns() (mentioned int, err error) {
	first, count := in.number(), in.number()
	if first == 0 || first > crdt.MaxNumber || count == 0 || count > uint64(in.left()/2) {
		return 0, malformed("%d runs from number %d in %d bytes", count, first, in.left())
	}
	in.first = uint32(first)
	total := uint64(0)
	for range count {
		v := in.number()
		n := v >> 1
		if n == 0 || n > uint64(in.left()) || first+total+n > crdt.MaxNumber {
			return 0, malformed("a run of %d characters", n)
		}
		in.runs = append(in.runs, run{id: makeID(in.own, uint32(first+total)), n: uint32(n), left: v&1 == 1})
		total += n
	}
	in.total = uint32(total)
	for i := range in.runs {
		r := &in.runs[i]
		if r.parent, err = in.reference(r.id, &mentioned); err != nil {
			return 0, err
		}
		switch {
		case r.left && r.parent == 0:
			return 0, malformed("number %d stands before the start of the document", r.id.number())
		case !r.left && i > 0 && r.parent == r.id-1:
			return 0, malformed("the run at number %d continues the one before", r.id.number())
		}
	}
	return mentioned, nil
}

// reference reads a reference in the run that starts at x.
func (in *decoder) reference(x id, mentioned *int) (id, error) {
	v := in.number()
	switch {
	case v == 0:
		return 0, nil
	case v&1 == 0:
		if v>>1 >= uint64(x.number()) {
			return 0, malformed("a reference to %d characters before number %d", v>>1, x.number())
		}
		return x - id(v>>1), nil
	}
	place, n := v>>1, in.number()
	if place >= uint64(len(in.names)) || place > uint64(*mentioned) || n == 0 || n > crdt.MaxNumber {
		return 0, malformed("a reference to number %d of lane %d of %d", n, place, len(in.names))
	}
	if int(place) == *mentioned {
		*mentioned++
	}
	return makeID(in.lanes[place], uint32(n)), nil
}

// readClaims reads the claims, when runs have mentioned so many lanes.
func (in *decoder) readClaims(mentioned int) error {
	for i := mentioned + 1; i < len(in.names); i++ {
		if in.names[i] <= in.names[i-1] {
			return malformed("lanes that only claims mention are out of order")
		}
	}
	groups := in.number()
	if groups == 0 || groups > uint64(len(in.names)+1) {
		return malformed("%d groups of claims", groups)
	}
	least := uint64(0)
	for range groups {
		place, count := in.number(), in.number()
		if place < least || place > uint64(len(in.names)) || count == 0 || count > uint64(in.left()/2) {
			return malformed("%d claims about lane %d of %d", count, place, len(in.names))
		}
		for p := max(least, 1); p <= place; p++ {
			// Every lane beyond those of the runs has claims.
			if int(p)-1 >= mentioned && p != place {
				return malformed("a lane is never mentioned")
			}
		}
		least = place + 1
		on := in.own
		if place > 0 {
			on = in.lanes[place-1]
		}
		at, clen := uint64(1), uint64(0)
		for i := range count {
			gap, v := in.number(), in.number()
			n, this := v>>1, uint64(2)
			if v&1 == 1 {
				if this = in.number(); this < 3 || this > mostClen && (this != MaxClen || place > 0) {
					return malformed("a causal length of %d", this)
				}
			}
			if gap > crdt.MaxNumber || n == 0 || n > crdt.MaxNumber || at+gap+n-1 > crdt.MaxNumber {
				return malformed("a claim about %d characters", n)
			}
			if i > 0 && gap == 0 && this == clen {
				return malformed("a claim continues the one before")
			}
			in.claims = append(in.claims, claim{makeID(on, uint32(at+gap)), uint32(n), uint32(this)})
			if this == MaxClen {
				in.blanks = append(in.blanks, in.claims[len(in.claims)-1])
			}
			at, clen = at+gap+n, this
		}
	}
	if int(least)-1 < len(in.names) && len(in.names) > mentioned {
		return malformed("a lane is never mentioned")
	}
	return nil
}

// text is what the characters of the decoded delta say.
func (in *decoder) text() []byte { return in.b[in.at:] }

// encoder writes one delta.
type encoder struct {
	d     *Doc
	own   int
	names []byte
	place map[int]int // by lane index
}

// encode writes a delta: runs are maximal and in order, their text is UTF-8,
// claims are normal.
func (d *Doc) encode(own int, runs []run, claims []claim, text []byte) []byte {
	e := encoder{d: d, own: own}
	head := byte(deltaVersion)
	var b []byte
	if len(runs) > 0 {
		head |= hasRuns
		b = crdt.AppendUvarint(b, uint64(runs[0].id.number()))
		b = crdt.AppendUvarint(b, uint64(len(runs)))
		for _, r := range runs {
			side := uint64(0)
			if r.left {
				side = 1
			}
			b = crdt.AppendUvarint(b, uint64(r.n)<<1|side)
		}
		for _, r := range runs {
			b = e.reference(b, r.id, r.parent)
		}
	}
	if len(claims) > 0 {
		head |= hasClaims
		b = e.claims(b, claims)
	}
	b = append(b, text...)
	if len(e.place) > 0 {
		head |= hasLanes
		lanes := append(crdt.AppendUvarint(nil, uint64(len(e.place))), e.names...)
		b = append(lanes, b...)
	}
	if len(b) >= deflateDelta {
		if packed := deflate(b); len(packed)+3 < len(b) && len(b) <= len(packed)*deltaRatio {
			out := crdt.AppendUvarint([]byte{head | deflated}, uint64(len(b)))
			return append(out, packed...)
		}
	}
	return append([]byte{head}, b...)
}

func (e *encoder) slot(lane int) int {
	i, ok := e.place[lane]
	if !ok {
		if e.place == nil {
			e.place = make(map[int]int)
		}
		i = len(e.place)
		e.place[lane] = i
		e.names = binary.BigEndian.AppendUint64(e.names, e.d.lanes[lane].name)
	}
	return i
}

func (e *encoder) reference(b []byte, from, x id) []byte {
	switch {
	case x == 0:
		return append(b, 0)
	case x.lane() == e.own:
		return crdt.AppendUvarint(b, uint64(from-x)<<1)
	}
	b = crdt.AppendUvarint(b, uint64(e.slot(x.lane()))<<1|1)
	return crdt.AppendUvarint(b, uint64(x.number()))
}

func (e *encoder) claims(b []byte, claims []claim) []byte {
	byLane := make(map[int][]claim)
	var lanes []int
	for _, c := range claims {
		l := c.id.lane()
		if byLane[l] == nil {
			lanes = append(lanes, l)
		}
		byLane[l] = append(byLane[l], c)
	}
	slices.SortFunc(lanes, func(x, y int) int { return cmp.Compare(e.d.lanes[x].name, e.d.lanes[y].name) })
	for _, l := range lanes {
		if l != e.own {
			e.slot(l)
		}
	}
	rank := func(l int) int {
		if l == e.own {
			return 0
		}
		return 1 + e.place[l]
	}
	slices.SortFunc(lanes, func(x, y int) int { return rank(x) - rank(y) })
	b = crdt.AppendUvarint(b, uint64(len(lanes)))
	for _, l := range lanes {
		b = crdt.AppendUvarint(b, uint64(rank(l)))
		b = crdt.AppendUvarint(b, uint64(len(byLane[l])))
		at := uint32(1)
		for _, c := range byLane[l] {
			b = crdt.AppendUvarint(b, uint64(c.id.number()-at))
			if c.clen == 2 {
				b = crdt.AppendUvarint(b, uint64(c.n)<<1)
			} else {
				b = crdt.AppendUvarint(b, uint64(c.n)<<1|1)
				b = crdt.AppendUvarint(b, uint64(c.clen))
			}
			at = c.id.number() + c.n
		}
	}
	return b
}

// normal sorts claims by lane index and number, gives every character its
// highest causal length and joins what touches. It may reorder its argument.
func normal(claims []claim) []claim {
	slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(a.id, b.id) })
	var out []claim
	add := func(c claim) {
		if c.n == 0 {
			return
		}
		if k := len(out) - 1; k >= 0 && out[k].id+id(out[k].n) == c.id && out[k].clen == c.clen {
			out[k].n += c.n
			return
		}
		out = append(out, c)
	}
	// A sweep: open claims in a heap, the greatest causal length on top.
	var open claimHeap
	at := id(0)
	upTo := func(to id) {
		for len(open) > 0 && at < to {
			top := open[0]
			end := top.id + id(top.n)
			if end <= at {
				heap.Pop(&open)
				continue
			}
			end = min(end, to)
			add(claim{at, uint32(end - at), top.clen})
			at = end
		}
	}
	for _, c := range claims {
		upTo(c.id)
		at = c.id
		heap.Push(&open, c)
	}
	upTo(^id(0))
	return out
}

type claimHeap []claim

func (h claimHeap) Len() int           { return len(h) }
func (h claimHeap) Less(i, j int) bool { return h[i].clen > h[j].clen }
func (h claimHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *claimHeap) Push(x any)        { *h = append(*h, x.(claim)) }
func (h *claimHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	if _, err = w.Write(b); err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}
