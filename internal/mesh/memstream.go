package mesh

import (
	"io"
	"os"
	"sync"
	"time"
)

// windowBytes is how much one direction of a stream in memory holds before
// its writer waits for the reader.
const windowBytes = 256 << 10

// memStream is one end of a stream: it reads from in and writes into the other
// end's in.
type memStream struct {
	conn       *memConn
	from, to   Key
	in, out    *queue
	writeUntil *deadline
}

func newMemStreams(c *memConn, a, b *memHost) (atA, atB *memStream) {
	intoA, intoB := newQueue(), newQueue()
	atA = &memStream{conn: c, from: a.self, to: b.self, in: intoA, out: intoB}
	atB = &memStream{conn: c, from: b.self, to: a.self, in: intoB, out: intoA}
	atA.writeUntil = &deadline{q: intoB}
	atB.writeUntil = &deadline{q: intoA}
	return atA, atB
}

func (s *memStream) Read(b []byte) (int, error) { return s.in.read(b) }

func (s *memStream) Write(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(len(b), n+windowBytes)]
		if err := s.out.reserve(len(piece), s.writeUntil); err != nil {
			return n, err
		}
		pass, delay, cut := s.conn.net.spend(s.from, s.to, len(piece))
		s.out.put(piece[:pass], time.Now().Add(delay))
		n += pass
		for _, c := range cut {
			c.fail(errLinkDown, true)
		}
	}
	return n, nil
}

func (s *memStream) SetDeadline(t time.Time) error {
	s.in.readUntil.set(t)
	s.writeUntil.set(t)
	return nil
}

func (s *memStream) CloseWrite() error {
	s.conn.net.mu.Lock()
	delay := s.conn.net.delay
	s.conn.net.mu.Unlock()
	s.out.end(time.Now().Add(delay))
	return nil
}

func (s *memStream) Close() error {
	s.in.fail(ErrReset, false) // the peer's writes fail, as do our reads
	return s.CloseWrite()
}

func (s *memStream) Reset() {
	s.in.fail(ErrReset, false)
	s.out.fail(ErrReset, false)
}

// piece is bytes on their way, or the end of them.
type piece struct {
	b   []byte
	at  time.Time // when they arrive
	end bool
}

// queue is one direction of a stream.
type queue struct {
	mu        sync.Mutex
	wake      *sync.Cond // anything below changed, or a time has come
	pieces    []piece
	size      int // bytes in pieces
	ended     bool
	err       error // for the writer at once, for the reader after pieces
	readUntil deadline
}

func newQueue() *queue {
	q := &queue{}
	q.wake = sync.NewCond(&q.mu)
	q.readUntil.q = q
	return q
}

// deadline is a time at which waiting on a queue ends. Its fields are guarded
// by the queue's mutex.
type deadline struct {
	q     *queue
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(t time.Time) {
	d.q.mu.Lock()
	defer d.q.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if !t.IsZero() {
		d.timer = d.q.wakeAt(t)
	}
	d.q.wake.Broadcast()
}

// passed is called with the queue's mutex held.
func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (q *queue) wakeAt(t time.Time) *time.Timer {
	return time.AfterFunc(time.Until(t), func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.wake.Broadcast()
	})
}

func (q *queue) read(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.readUntil.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		if len(q.pieces) > 0 {
			p := &q.pieces[0]
			if time.Now().Before(p.at) {
				t := q.wakeAt(p.at)
				q.wake.Wait()
				t.Stop()
				continue
			}
			if p.end {
				return 0, io.EOF
			}
			n := copy(b, p.b)
			p.b = p.b[n:]
			q.size -= n
			if len(p.b) == 0 {
				q.pieces = q.pieces[1:]
			}
			q.wake.Broadcast()
			return n, nil
		}
		if q.err != nil {
			return 0, q.err
		}
		q.wake.Wait()
	}
}

// reserve waits until the window has room for n bytes, or is empty.
func (q *queue) reserve(n int, until *deadline) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch {
		case q.err != nil:
			return q.err
		case q.ended:
			return ErrClosed
		case until.passed():
			return os.ErrDeadlineExceeded
		case q.size == 0 || q.size+n <= windowBytes:
			return nil
		}
		q.wake.Wait()
	}
}

func (q *queue) put(b []byte, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil || len(b) == 0 {
		return
	}
	q.pieces = append(q.pieces, piece{b: append([]byte(nil), b...), at: at})
	q.size += len(b)
	q.wake.Broadcast()
}

// end marks the end of what the writer sends.
func (q *queue) end(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended || q.err != nil {
		return
	}
	q.ended = true
	q.pieces = append(q.pieces, piece{at: at, end: true})
	q.wake.Broadcast()
}

// over reports whether nothing more will come out.
func (q *queue) over() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pieces) == 0 && q.err != nil || len(q.pieces) > 0 && q.pieces[0].end
}

// fail ends both the writing and, once what has arrived is drained or at once,
// the reading. The first error stays.
func (q *queue) fail(err error, drain bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	if !drain {
		q.pieces, q.size = nil, 0
	}
	q.wake.Broadcast()
}
