package text

import "slices"

// MaxSteps is how many steps can be undone; the oldest is forgotten first.
const MaxSteps = 1000

// A step is what Undo takes back at once: for each character that it touched
// the causal length it gave. Undoing raises those that still have it by one,
// and that is a step too, for Redo. So an undo touches only what nobody changed
// since, brings back the same characters with what others typed between them,
// and two documents of one author that undo the same step undo it once.
type step []claim

// steps is what can be undone and redone.
type steps struct {
	undo, redo []step
	first      uint32 // the own number at which the open step began; 0: not open
}

// edit is called before every edit but Undo and Redo.
func (s *steps) edit(next uint32) {
	if s.first == 0 {
		s.first = next
		s.redo = nil
	}
}

// EndStep ends a step: edits since the last call are undone together.
func (d *Doc) EndStep() {
	s := &d.steps
	if s.first == 0 {
		return
	}
	var done step
	next := s.first
	if d.mine >= 0 {
		next = d.lanes[d.mine].next
	}
	for _, c := range normal(d.burst.closeStep()) {
		// What was typed and deleted in one step has left nothing to undo.
		if c.id.lane() == d.mine {
			if c.id.number() >= s.first {
				continue
			}
			c.n = min(c.n, s.first-c.id.number())
		}
		done = append(done, c)
	}
	if s.first < next {
		done = append(done, claim{makeID(d.mine, s.first), next - s.first, 1})
	}
	s.first = 0
	s.undo = pushStep(s.undo, done)
}

func pushStep(stack []step, s step) []step {
	if len(stack) == MaxSteps {
		stack = slices.Delete(stack, 0, 1)
	}
	return append(stack, s)
}

// Undo takes back the last step of this document's own edits that was not
// undone, and ends the open one. It is an edit as others are: to be flushed.
// It reports false when there is none. A document that was loaded has none.
func (d *Doc) Undo() bool {
	d.EndStep()
	return d.turn(&d.steps.undo, &d.steps.redo)
}

// Redo takes back the last Undo, if nothing was edited since.
func (d *Doc) Redo() bool {
	if d.steps.first != 0 {
		return false
	}
	return d.turn(&d.steps.redo, &d.steps.undo)
}

// turn undoes the last step of one stack and puts what that did on another.
func (d *Doc) turn(from, to *[]step) bool {
	if len(*from) == 0 {
		return false
	}
	last := (*from)[len(*from)-1]
	*from = (*from)[:len(*from)-1]
	var done step
	for _, c := range last {
		for c.n > 0 {
			l, i, off := d.locate(c.id)
			s := &l.spans[i]
			k := min(c.n, s.n-off)
			if s.clen == c.clen && c.clen < mostClen {
				turned := claim{c.id, k, c.clen + 1}
				d.raise(turned, d.own, true)
				d.burst.claim(turned)
				d.burst.step = len(d.burst.claims) // no step is open
				done = joinClaim(done, turned)
			}
			c.id += id(k)
			c.n -= k
		}
	}
	*to = pushStep(*to, done)
	return true
}
