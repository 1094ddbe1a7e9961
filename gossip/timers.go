package gossip

import "time"

// timer is when a want is due.
type timer struct {
	at time.Duration
	id ID
}

// timers is a binary heap of them. A want whose time has changed, or that is
// gone, leaves its timer behind: it is skipped. Equal times go by ID, so that
// the order is that of the set.
type timers []timer

func (t timers) less(i, j int) bool {
	if t[i].at != t[j].at {
		return t[i].at < t[j].at
	}
	return compare(t[i].id, t[j].id) < 0
}

// next is the time of the first, never if there is none.
func (t timers) next() time.Duration {
	if len(t) == 0 {
		return never
	}
	return t[0].at
}

func (t *timers) push(x timer) {
	*t = append(*t, x)
	h := *t
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// pop returns a want that is due. It drops timers left behind in front.
func (t *timers) pop(now time.Duration, wants map[ID]*want) (timer, bool) {
	for len(*t) > 0 {
		x := (*t)[0]
		w := wants[x.id]
		stale := w == nil || w.at != x.at
		if !stale && x.at > now {
			return timer{}, false
		}
		t.remove()
		if !stale {
			return x, true
		}
	}
	return timer{}, false
}

// trim drops timers left behind in front.
func (t *timers) trim(wants map[ID]*want) {
	for len(*t) > 0 {
		if w := wants[(*t)[0].id]; w != nil && w.at == (*t)[0].at {
			return
		}
		t.remove()
	}
}

func (t *timers) remove() {
	h := *t
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	*t = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= n {
			return
		}
		if down+1 < n && h.less(down+1, down) {
			down++
		}
		if !h.less(down, i) {
			return
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}
