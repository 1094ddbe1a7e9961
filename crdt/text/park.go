package text

import (
	"cmp"
	"container/heap"
	"slices"

	"anabranch/crdt"
)

// What may wait for others. Whoever feeds the document has what it feeds in
// records; a delta that finds no place is given again later.
const (
	MaxParked      = 4096     // deltas
	MaxParkedBytes = 16 << 20 // of memory that they take
)

// park holds what of deltas speaks of characters that are not here yet.
type park struct {
	lanes map[uint64]*waiting // by the lane of the character waited for
	known map[parkedKey]bool
	count int
	bytes int
}

// parkedKey is what makes two parked deltas the same.
type parkedKey struct {
	lane uint64
	body string
}

// parked is the rest of a delta: runs and claims in order, the first of which
// waits for a dot. Lanes are by name, since the document may not know them.
type parked struct {
	parkedKey
	number uint32 // of the first character of runs
	runs   []parkedRun
	claims []parkedClaim
	text   []byte
	size   int
	dot    crdt.Dot // what it waits for
}

type parkedRun struct {
	parent crdt.Dot
	n      uint32
	left   bool
}

type parkedClaim struct {
	first   crdt.Dot
	n, clen uint32
}

// waiting is a heap of deltas by the number they wait for in one lane.
type waiting []*parked

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].dot.Number < w[j].dot.Number }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(*parked)) }
func (w *waiting) Pop() any {
	old := *w
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	return x
}

// parkRest keeps what of the decoded delta comes after so many runs and claims.
func (d *Doc) parkRest(name uint64, body []byte, runs, claims int) error {
	in, k := &d.in, &d.park
	key := parkedKey{name, string(body)}
	if k.known[key] {
		return nil
	}
	size := len(body) + len(in.text()) + 24*(len(in.runs)-runs+len(in.claims)-claims) + 200
	if k.count == MaxParked || k.bytes+size > MaxParkedBytes {
		return ErrParkFull
	}
	dot := func(x id) crdt.Dot {
		switch l := x.lane(); {
		case x == 0:
			return crdt.Dot{}
		case l == in.own:
			return crdt.Dot{Lane: name, Number: x.number()}
		case l >= unknownLane:
			return crdt.Dot{Lane: in.names[l-unknownLane], Number: x.number()}
		default:
			return crdt.Dot{Lane: d.lanes[l].name, Number: x.number()}
		}
	}
	p := &parked{parkedKey: key, size: size}
	text := in.text()
	for i, r := range in.runs {
		if i < runs {
			text = text[prefix(text, r.n):]
			continue
		}
		if i == runs {
			p.number = r.id.number()
		}
		p.runs = append(p.runs, parkedRun{dot(r.parent), r.n, r.left})
	}
	p.text = slices.Clone(text)
	for _, c := range in.claims[claims:] {
		p.claims = append(p.claims, parkedClaim{dot(c.id), c.n, c.clen})
	}
	if k.lanes == nil {
		k.lanes, k.known = make(map[uint64]*waiting), make(map[parkedKey]bool)
	}
	k.known[key] = true
	k.count++
	k.bytes += size
	p.dot = d.blocked(p)
	d.wait(p)
	return nil
}

// blocked is the first dot that keeps a parked delta waiting, zero if none.
func (d *Doc) blocked(p *parked) crdt.Dot {
	if len(p.runs) > 0 {
		if before := (crdt.Dot{Lane: p.lane, Number: p.number - 1}); p.number > 1 && !d.Has(before) {
			return before
		}
		if x := p.runs[0].parent; !x.IsZero() && x.Lane != p.lane && !d.Has(x) {
			return x
		}
		return crdt.Dot{}
	}
	if len(p.claims) > 0 {
		c := p.claims[0]
		if last := (crdt.Dot{Lane: c.first.Lane, Number: c.first.Number + c.n - 1}); !d.Has(last) {
			return last
		}
	}
	return crdt.Dot{}
}

// Has reports whether the document has a character, visible or not.
func (d *Doc) Has(dot crdt.Dot) bool {
	i, ok := d.index[dot.Lane]
	return ok && dot.Number > 0 && dot.Number < d.lanes[i].next
}

func (d *Doc) wait(p *parked) {
	w := d.park.lanes[p.dot.Lane]
	if w == nil {
		w = new(waiting)
		d.park.lanes[p.dot.Lane] = w
	}
	heap.Push(w, p)
}

// release goes on with what waited for characters of a lane that has more now,
// and then of those that grew by that. Every run and claim is looked at once
// for each dot it waits for, two at most.
func (d *Doc) release(lane int, res *Result) {
	k := &d.park
	grown := []int{lane}
	for len(grown) > 0 {
		l := d.lanes[grown[len(grown)-1]]
		w := k.lanes[l.name]
		if w == nil || (*w)[0].dot.Number >= l.next {
			grown = grown[:len(grown)-1]
			continue
		}
		p := heap.Pop(w).(*parked)
		if len(*w) == 0 {
			delete(k.lanes, l.name)
		}
		more, err := d.resume(p)
		if err == nil && !p.dot.IsZero() {
			d.wait(p)
		} else {
			delete(k.known, p.parkedKey)
			k.count--
			k.bytes -= p.size
			if err != nil {
				res.Refused = append(res.Refused, Refusal{Lane: p.lane, Delta: []byte(p.body), Err: err})
			} else {
				res.Released++
			}
		}
		if more {
			if i := int(d.index[p.lane]); !slices.Contains(grown, i) {
				grown = append(grown, i)
			}
		}
	}
}

// resume joins what it can of a parked delta, and reports whether the
// document has more characters then.
func (d *Doc) resume(p *parked) (grown bool, err error) {
	for {
		if p.dot = d.blocked(p); !p.dot.IsZero() {
			return grown, nil
		}
		switch {
		case len(p.runs) > 0:
			at := d.laneOf(p.lane)
			r := run{id: makeID(at, p.number), parent: d.find(p.runs[0].parent), n: p.runs[0].n, left: p.runs[0].left}
			skip := uint32(0)
			if next := d.lanes[at].next; p.number < next {
				skip = min(next-p.number, r.n)
				if err := d.compare([]run{r}, skip, p.text); err != nil {
					return grown, err
				}
			}
			if skip < r.n {
				d.join([]run{r}, skip, p.text)
				grown = true
			}
			p.text = p.text[prefix(p.text, r.n):]
			p.number += r.n
			p.runs = p.runs[1:]
		case len(p.claims) > 0:
			c := p.claims[0]
			d.raise(claim{d.find(c.first), c.n, c.clen}, p.lane, false)
			p.claims = p.claims[1:]
		default:
			return grown, nil
		}
	}
}

// find is the id of a dot that is here, or of the start of the document.
func (d *Doc) find(dot crdt.Dot) id {
	if dot.IsZero() {
		return 0
	}
	return makeID(int(d.index[dot.Lane]), dot.Number)
}

// Missing lists what parked deltas wait for next: per lane, the lowest number.
// It is empty when nothing is parked.
func (d *Doc) Missing() []crdt.Dot {
	var out []crdt.Dot
	for _, w := range d.park.lanes {
		out = append(out, (*w)[0].dot)
	}
	slices.SortFunc(out, crdt.Dot.Compare)
	return out
}

// Parked is the number of deltas that wait for others.
func (d *Doc) Parked() int { return d.park.count }

// sorted lists the parked deltas in an order that depends on nothing else.
func (k *park) sorted() []parkedKey {
	out := make([]parkedKey, 0, len(k.known))
	for key := range k.known {
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b parkedKey) int {
		return cmp.Or(cmp.Compare(a.lane, b.lane), cmp.Compare(a.body, b.body))
	})
	return out
}
