package session

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"anabranch/sketch"
)

// planKind is how the responder has decided to find the difference.
type planKind uint8

const (
	planRanges planKind = iota // the initiator begins with a reconcile frame
	planPrefix                 // the ask's cells were enough: the responder knows all
	planSketch                 // the responder sends cells
	planThin                   // … thin ones: its set is part of the initiator's
	planUpThin                 // the initiator sends thin cells from where its ask ended
	planList                   // the responder lists what it holds above a bound
	planLog                    // the responder sends what its log has after the cursor
	planAsk                    // tell me more: an ask frame follows
	planKinds
)

func (k planKind) method() Method {
	return [...]Method{Ranges, MethodPrefix, MethodSketch, MethodThin, MethodThin, MethodList, MethodCursor, Ranges}[k]
}

// plan is the answer to an ask:
//
//	kind·2 + last 1 | a varint? | b 1? c 1?
//
// last is 1 if the initiator has nothing to send. a is the number of cells,
// of names or of listed items, where there are any; b the window and c the
// spare bits of a list.
type plan struct {
	kind    planKind
	last    bool
	a, b, c uint64
}

func (p *plan) append(dst []byte) []byte {
	last := byte(0)
	if p.last {
		last = 1
	}
	dst = append(dst, byte(p.kind)<<1|last)
	if p.kind != planRanges && p.kind != planLog && p.kind != planAsk {
		dst = binary.AppendUvarint(dst, p.a)
	}
	if p.kind == planList {
		dst = append(dst, byte(p.b), byte(p.c))
	}
	return dst
}

func (r *reader) plan() (p plan) {
	first := r.byte()
	p.kind, p.last = planKind(first>>1), first&1 != 0
	if r.err == nil && p.kind >= planKinds {
		r.fail("plan %d", p.kind)
		return p
	}
	switch p.kind {
	case planPrefix, planSketch, planThin, planUpThin:
		p.a = r.uvarint(sketch.MaxCells)
	case planList:
		p.a = r.uvarint(maxListed)
		p.b, p.c = uint64(r.byte()), uint64(r.byte())
		if r.err == nil && (p.b > 64 && p.b != everything || p.c > 32) {
			r.fail("window %d, %d spare bits", p.b, p.c)
		}
	}
	return p
}

const (
	everything = 255     // the window of all items
	maxListed  = 1 << 22 // items in a list: 10 MB of it
	maxLogged  = 1 << 20 // records after a cursor
	thinLeast  = 300     // items below which thin cells save too little
)

// choice is a plan with what it is expected to cost, in bytes of frames that
// are not records.
type choice struct {
	plan
	bytes float64
}

// planner chooses for one exchange. Everything in it is known to the
// responder when it has read the ask.
type planner struct {
	view   View
	sk     *sketch.Sketch
	ours   uint64 // counts
	theirs uint64
	ask    *ask
	allow  func(Method) bool

	differ  int // items, estimated
	decoder *sketch.Decoder
	tried   []choice
	why     string
}

// decide returns the cheapest plan.
func (p *planner) decide() (plan, error) {
	ours := p.ours
	if p.ask.estimator == nil || p.sk == nil {
		p.why = "ranges: nothing is known about the difference"
		return plan{kind: planRanges}, nil
	}
	e := p.sk.Estimator()
	p.differ = max(1, e.Difference(p.ask.estimator), gap(ours, p.theirs))
	p.differ = int(min(uint64(p.differ), ours+p.theirs)) // more cannot differ, whatever was told
	if p.allow(MethodPrefix) && len(p.ask.cells) > 0 {
		p.decoder = sketch.NewDecoder(p.sk.Minus(p.ask.cells, 0))
		if p.decoder.Decode() && p.decoder.Sure() {
			p.why = fmt.Sprintf("prefix: the first %d cells are enough", len(p.ask.cells))
			return plan{kind: planPrefix}, nil
		}
	}
	p.offer(choice{plan{kind: planRanges}, rangesBytes(p.differ, ours, p.theirs)})
	d := p.differ
	wants := float64(max(0, d+int(ours)-int(p.theirs))/2) * nameBytes(ours, d/2)
	cells := sketch.CellsFor(d + d/12 + 2)
	if p.decoder != nil { // the first few were not enough, so a little more will not be
		cells = max(cells, 2*len(p.ask.cells)+8)
	}
	if p.allow(MethodSketch) && sketch.CellsFor(d-d/6) <= p.sk.Len() {
		cost := float64(sketch.CellBytes*cells) + wants
		if cells > p.sk.Len() { // all that there are may do
			cells = p.sk.Len()
			cost *= 1.25
		}
		p.offer(choice{plan{kind: planSketch, a: uint64(cells)}, cost})
	}
	if g := gap(ours, p.theirs); p.allow(MethodThin) && d >= thinLeast && g*5 >= d*4 {
		if cells := sketch.CellsFor(g + 1); cells <= p.sk.Len() {
			kind := planThin
			if ours > p.theirs {
				kind = planUpThin
			}
			p.offer(choice{plan{kind: kind, a: uint64(cells), last: kind == planUpThin}, float64(sketch.ThinBytes * cells)})
		}
	}
	if err := p.offerList(); err != nil {
		return plan{}, err
	}
	best := p.tried[0]
	for _, c := range p.tried[1:] {
		if c.bytes < best.bytes {
			best = c
		}
	}
	p.explain(best)
	return best.plan, nil
}

func (p *planner) offer(c choice) { p.tried = append(p.tried, c) }

// offerList looks for the narrowest window below which both sides are equal.
func (p *planner) offerList() error {
	if !p.allow(MethodList) {
		return nil
	}
	ix := p.view.Index()
	at, window := 0, uint64(everything)
	if w := p.ask.windows; w != nil {
		for i := 0; i*windowMark < len(w.marks); i++ {
			pos, m, err := mark(ix, w.bound(i))
			if err != nil {
				return err
			}
			if string(m[:]) == string(w.marks[i*windowMark:(i+1)*windowMark]) {
				at, window = pos, uint64(i)
				break
			}
		}
	}
	n := ix.Len() - at
	if n > maxListed {
		return nil
	}
	// What only one side holds hides what only the other holds if both have
	// one code: with so many spare bits that happens in one short session of
	// fifty, and in one long one of eight. A second look costs half a kilobyte.
	half := float64(p.differ) / 2
	care := 32.0
	if n > 4000 {
		care = 4
	}
	spare := max(4, bits.Len64(uint64(care*half*half/float64(max(n, 1)))))
	c := choice{plan{kind: planList, a: uint64(n), b: window, c: uint64(spare)}, 0}
	c.bytes = float64(n)*(float64(spare)+1.55)/8 + min(float64(n)/8+8, half*nameBytes(uint64(n)>>nameSpare, p.differ/2))
	p.offer(c)
	return nil
}

func gap(a, b uint64) int { return int(min(max(a, b)-min(a, b), 1<<31)) }

// nameBytes is what one of n names costs.
func nameBytes(count uint64, n int) float64 {
	return max(1, float64(nameBits(count))-math.Log2(float64(max(n, 1)))+1.6) / 8
}

// rangesBytes is what ranges cost, as measured (docs/planner.md): each
// difference opens its way down from what the differences share, sixteen
// fingerprints a step, until lists of 8 bytes an item begin.
func rangesBytes(d int, ours, theirs uint64) float64 {
	n := float64(max(ours, theirs, 2))
	depth := max(0.3, math.Log2(n/float64(max(d, 1)))/4-0.7)
	return min(float64(d)*(100*depth+25)+700, n*8.5)
}

func (p *planner) explain(best choice) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: about %d differ, %s expected", best.kind.method(), p.differ, size(best.bytes))
	for _, c := range p.tried {
		if c.kind != best.kind {
			fmt.Fprintf(&b, "; %s %s", c.kind.method(), size(c.bytes))
		}
	}
	p.why = b.String()
}

func size(bytes float64) string {
	switch {
	case bytes < 1000:
		return fmt.Sprintf("%.0f B", bytes)
	case bytes < 1e6:
		return fmt.Sprintf("%.1f kB", bytes/1e3)
	}
	return fmt.Sprintf("%.1f MB", bytes/1e6)
}
