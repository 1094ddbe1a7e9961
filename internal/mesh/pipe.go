package mesh

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-yamux/v5"
)

// swarmPipe is a stream of the swarm with its errors translated into ours.
type swarmPipe struct{ s network.Stream }

func (p *swarmPipe) Read(b []byte) (int, error) {
	n, err := p.s.Read(b)
	return n, streamError(err, p.s.Conn())
}

func (p *swarmPipe) Write(b []byte) (int, error) {
	n, err := p.s.Write(b)
	return n, streamError(err, p.s.Conn())
}

func (p *swarmPipe) SetDeadline(t time.Time) error {
	return streamError(p.s.SetDeadline(t), p.s.Conn())
}
func (p *swarmPipe) CloseWrite() error { return streamError(p.s.CloseWrite(), p.s.Conn()) }
func (p *swarmPipe) Close() error      { return streamError(p.s.Close(), p.s.Conn()) }
func (p *swarmPipe) Reset()            { _ = p.s.Reset() }

// streamError says which of the Stream errors it was, keeping the cause. A
// stream that was ended on this side does not come here: the frame layer knows.
func streamError(err error, conn network.Conn) error {
	var onStream *network.StreamError
	var onConn *network.ConnError
	switch {
	case err == nil, err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded // yamux says it in its own words
	case errors.As(err, &onConn) && onConn.Remote && onConn.ErrorCode == network.ConnGated, closedByGate(conn):
		return fmt.Errorf("%w: %w", ErrConnLost, errGateClosed)
	case errors.As(err, &onStream) && onStream.Remote:
		return fmt.Errorf("%w (code %#x)", ErrReset, uint32(onStream.ErrorCode))
	default:
		return fmt.Errorf("%w: %w", ErrConnLost, err)
	}
}
