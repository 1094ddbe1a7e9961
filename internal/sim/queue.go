package sim

import "time"

// queue holds what is yet to happen, by time and then in the order it was
// put there: a heap of four branches, of numbers alone, so that moving things
// in it costs the collector nothing.
type queue[T any] struct {
	heap []timed
	vals []T
	free []int32 // places in vals
	seq  uint64
}

// timed is when a value is due.
type timed struct {
	at  time.Duration
	seq uint64
	val int32
}

func (t *timed) before(u *timed) bool { return t.at < u.at || t.at == u.at && t.seq < u.seq }

// next is when the first of them is due; forever when there is none.
func (q *queue[T]) next() time.Duration {
	if len(q.heap) == 0 {
		return forever
	}
	return q.heap[0].at
}

func (q *queue[T]) push(at time.Duration, val T) {
	place := int32(len(q.vals))
	if n := len(q.free); n > 0 {
		place, q.free = q.free[n-1], q.free[:n-1]
		q.vals[place] = val
	} else {
		q.vals = append(q.vals, val)
	}
	e := timed{at: at, seq: q.seq, val: place}
	h := append(q.heap, e)
	q.seq++
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	q.heap = h
}

// pop takes the first; there must be one.
func (q *queue[T]) pop() (time.Duration, T) {
	h := q.heap
	first, n := h[0], len(h)-1
	e := h[n]
	h = h[:n]
	q.heap = h
	for i := 0; n > 0; {
		least, from := -1, 4*i+1
		for down := from; down < from+4 && down < n; down++ {
			if least < 0 || h[down].before(&h[least]) {
				least = down
			}
		}
		if least < 0 || !h[least].before(&e) {
			h[i] = e
			break
		}
		h[i] = h[least]
		i = least
	}
	val := q.vals[first.val]
	var none T
	q.vals[first.val] = none
	q.free = append(q.free, first.val)
	return first.at, val
}

// forever is the time of what never happens.
const forever = time.Duration(1<<63 - 1)

// trace is a hash over everything that happens in a world, in its order:
// FNV-1a over 64-bit words.
type trace uint64

const freshTrace trace = 14695981039346656037

func (t *trace) mix(v uint64) { *t = (*t ^ trace(v)) * 1099511628211 }

func (t *trace) bytes(b []byte) {
	t.mix(uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		t.mix(uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56)
	}
	for _, c := range b {
		t.mix(uint64(c))
	}
}
