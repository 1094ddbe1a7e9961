package sim

import "slices"

// Reduce takes away from a plan that fails whatever it fails without: actions
// in ever smaller runs, then roles, then what links and disks do. It runs the
// plan some hundreds of times. fails must be true of p.
func Reduce(p Plan, fails func(Plan) bool) Plan {
	for size := (len(p.Actions) + 1) / 2; size > 0; size /= 2 {
		for i := 0; i < len(p.Actions); {
			q := p
			q.Actions = slices.Concat(p.Actions[:i], p.Actions[min(len(p.Actions), i+size):])
			if fails(q) {
				p = q
			} else {
				i += size
			}
		}
	}
	for i := 0; i < len(p.Roles); {
		q := p
		q.Roles = slices.Concat(p.Roles[:i], p.Roles[i+1:])
		if fails(q) {
			p = q
		} else {
			i++
		}
	}
	for _, simpler := range []func(*Plan){
		func(q *Plan) { q.Links.Loss = 0 },
		func(q *Plan) { q.Links.Reset = 0 },
		func(q *Plan) { q.Links.Jitter = 0 },
		func(q *Plan) { q.Links.Most = q.Links.Least },
		func(q *Plan) { q.Checked = false },
		func(q *Plan) { q.Plain = false },
		func(q *Plan) { q.OnPebble = false },
		func(q *Plan) { q.Frame = 0 },
	} {
		q := p
		simpler(&q)
		if fails(q) {
			p = q
		}
	}
	return p
}
