package sim

import "time"

// queue holds what is yet to happen, by time and then in the order it was
// put there. What is due within the next seconds lies in buckets of about a
// millisecond, in no order; the bucket whose time has come, and what is due
// much later, are heaps. Nothing in it but the values is for the collector.
type queue[T any] struct {
	near    heap // of the present bucket, and what was put there too late for its own
	far     heap // of what the buckets do not reach
	buckets [][]timed
	spare   [][]timed // of buckets that are empty
	waiting int       // in buckets
	present int64     // the number of the bucket in near
	vals    []T
	free    []int32 // places in vals
	seq     uint64
}

const (
	bucketBits = 20      // 2^20 ns
	bucketMany = 1 << 11 // of them: 2.1 s
)

// timed is when a value is due.
type timed struct {
	at  time.Duration
	seq uint64
	val int32
}

func (t *timed) before(u *timed) bool { return t.at < u.at || t.at == u.at && t.seq < u.seq }

// next is when the first of them is due; forever when there is none.
func (q *queue[T]) next() time.Duration {
	if len(q.near) == 0 && !q.advance() {
		return forever
	}
	return q.near[0].at
}

// advance fills near from the next bucket in which there is something.
func (q *queue[T]) advance() bool {
	switch {
	case q.waiting > 0:
		for q.present++; len(q.buckets[q.present%bucketMany]) == 0 && !q.reached(); q.present++ {
		}
	case len(q.far) > 0:
		q.present = int64(q.far[0].at >> bucketBits)
	default:
		return false
	}
	if q.waiting > 0 {
		if b := &q.buckets[q.present%bucketMany]; len(*b) > 0 {
			for _, e := range *b {
				q.near.push(e)
			}
			q.waiting -= len(*b)
			q.spare = append(q.spare, (*b)[:0])
			*b = nil
		}
	}
	for len(q.far) > 0 && q.reached() {
		q.near.push(q.far.pop())
	}
	return true
}

// reached reports whether the first of far is due in the present bucket.
func (q *queue[T]) reached() bool {
	return len(q.far) > 0 && int64(q.far[0].at>>bucketBits) <= q.present
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
	q.seq++
	switch ahead := int64(at>>bucketBits) - q.present; {
	case ahead <= 0:
		q.near.push(e)
	case ahead < bucketMany:
		if q.buckets == nil {
			q.buckets = make([][]timed, bucketMany)
		}
		b := &q.buckets[(q.present+ahead)%bucketMany]
		if n := len(q.spare); n > 0 && *b == nil {
			*b, q.spare = q.spare[n-1], q.spare[:n-1]
		}
		*b = append(*b, e)
		q.waiting++
	default:
		q.far.push(e)
	}
}

// pop takes the first; there must be one.
func (q *queue[T]) pop() (time.Duration, T) {
	q.next()
	first := q.near.pop()
	val := q.vals[first.val]
	var none T
	q.vals[first.val] = none
	q.free = append(q.free, first.val)
	return first.at, val
}

// heap has the first in front; each has up to four below it.
type heap []timed

func (q *heap) push(e timed) {
	h := append(*q, e)
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
	*q = h
}

func (q *heap) pop() timed {
	h := *q
	first, n := h[0], len(h)-1
	e := h[n]
	h = h[:n]
	*q = h
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
	return first
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
