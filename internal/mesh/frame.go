package mesh

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// joinBytes is the body length up to which a frame's prefix and body are
// copied together and written at once; longer bodies are written in place.
const joinBytes = 8 << 10

// pipe is what an implementation gives the frame layer: bytes both ways. Its
// errors are those of Stream already.
type pipe interface {
	io.Reader
	io.Writer
	SetDeadline(time.Time) error
	CloseWrite() error
	Close() error
	Reset()
}

// stream reads and writes frames on a pipe; it is the Stream of both twins.
type stream struct {
	pipe
	peer  Key
	addr  string
	limit int // bytes of a frame's body

	readMu  sync.Mutex // one frame at a time
	in      *bufio.Reader
	readErr error // sticky: after a failure the position is unknown

	writeMu  sync.Mutex // keeps frames whole
	out      []byte     // scratch, at most 3+joinBytes
	writeErr error      // sticky, for the same reason

	ended     atomic.Bool // Close or Reset was called
	halfEnded atomic.Bool // CloseWrite was called

	read, written atomic.Int64
}

func newStream(p pipe, peer Key, addr string, limit int) *stream {
	return &stream{pipe: p, peer: peer, addr: addr, limit: limit, in: bufio.NewReaderSize(p, 4<<10)}
}

func (s *stream) Peer() Key          { return s.peer }
func (s *stream) RemoteAddr() string { return s.addr }

func (s *stream) ReadFrame() ([]byte, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.ended.Load() {
		return nil, ErrClosed
	}
	if s.readErr != nil {
		return nil, s.readErr
	}
	body, prefix, err := readFrame(s.in, s.limit)
	if err != nil {
		if s.ended.Load() {
			err = ErrClosed
		}
		s.readErr = err
		return nil, err
	}
	s.read.Add(int64(prefix + len(body)))
	return body, nil
}

func (s *stream) WriteFrame(body []byte) error {
	if len(body) > s.limit {
		return fmt.Errorf("%w: writing %d bytes, limit %d", ErrFrameSize, len(body), s.limit)
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.ended.Load() || s.halfEnded.Load() {
		return ErrClosed
	}
	if s.writeErr != nil {
		return s.writeErr
	}
	if err := s.writeFrame(body); err != nil {
		if s.ended.Load() {
			err = ErrClosed
		}
		s.writeErr = err
		return err
	}
	return nil
}

func (s *stream) writeFrame(body []byte) error {
	s.out = appendLength(s.out[:0], len(body))
	prefix := len(s.out)
	joined := len(body) <= joinBytes
	if joined {
		s.out = append(s.out, body...)
	}
	if _, err := s.pipe.Write(s.out); err != nil {
		return err
	}
	if !joined {
		if _, err := s.pipe.Write(body); err != nil {
			return err
		}
	}
	s.written.Add(int64(prefix + len(body)))
	return nil
}

func (s *stream) CloseWrite() error {
	s.halfEnded.Store(true)
	return s.pipe.CloseWrite()
}

func (s *stream) Close() error {
	if s.ended.Swap(true) {
		return nil
	}
	return s.pipe.Close()
}

func (s *stream) Reset() {
	s.ended.Store(true)
	s.pipe.Reset()
}

func (s *stream) Traffic() (read, written int64) {
	return s.read.Load(), s.written.Load()
}

// appendLength appends n, at most maxFrameBytes, as an unsigned LEB128 varint.
func appendLength(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// readFrame reads one frame and also returns the length of its prefix. The
// body is allocated only after its length has passed the limit. The error is
// io.EOF only at the very start of a frame.
func readFrame(r *bufio.Reader, limit int) (body []byte, prefix int, err error) {
	n := 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			if err == io.EOF && prefix > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, 0, err
		}
		if prefix > 0 && b == 0 {
			return nil, 0, fmt.Errorf("%w: not in the shortest form", ErrFrameSize)
		}
		n |= int(b&0x7f) << (7 * prefix)
		prefix++
		if n > limit || (prefix == 3 && b >= 0x80) {
			return nil, 0, fmt.Errorf("%w: more than %d bytes announced", ErrFrameSize, limit)
		}
		if b < 0x80 {
			break
		}
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, 0, err
	}
	return body, prefix, nil
}
