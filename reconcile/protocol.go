package reconcile

import (
	"errors"
	"fmt"
)

// minFrameBytes is the protocol's: a frame must hold any one split.
const minFrameBytes = 4096

// Options configures one side. The zero value is ready to use. The two
// sides need not agree.
type Options struct {
	// FrameBytes bounds every message this side builds. 0 is no bound, so
	// that a responder may be asked for 32 bytes per item that it holds;
	// otherwise it is at least 4096. The peer's messages are not judged
	// by it: what carries them has a limit of its own.
	FrameBytes int
}

func (o Options) validate() error {
	if o.FrameBytes != 0 && o.FrameBytes < minFrameBytes {
		return fmt.Errorf("reconcile: FrameBytes is %d, must be 0 or at least %d", o.FrameBytes, minFrameBytes)
	}
	return nil
}

// Initiator is the side that begins, and that learns the difference.
// It is not safe for concurrent use.
type Initiator struct {
	ix      Index
	options Options
	state   initiatorState
}

type initiatorState uint8

const (
	idle initiatorState = iota
	running
	finished
)

// NewInitiator prepares one conversation about the items in ix, which must
// not change while it lasts.
func NewInitiator(ix Index, o Options) (*Initiator, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Initiator{ix: ix, options: o}, nil
}

// Start returns the opening message, about 1 KB at most. It may be called
// once.
func (i *Initiator) Start() ([]byte, error) {
	if i.state != idle {
		return nil, errors.New("reconcile: the conversation has already started")
	}
	i.state = running
	s := side{ix: i.ix, w: newWriter(512)}
	if err := s.split(0, i.ix.Len(), Bound{Time: Infinity}); err != nil {
		return nil, err
	}
	return s.w.buf, nil
}

// Step takes the responder's answer. have and need are the IDs that this
// answer settled: held here and not there, and the reverse, in no
// particular order. Over a whole conversation with a frame limit on either
// side an ID may come twice. A nil reply means that the conversation is
// complete; another call is an error.
//
// A *MessageError is the responder's fault, any other error the index's.
// Either ends the conversation, and nothing is known then about what has not
// been reported.
//
// It costs O(log n) per range in msg, and the items of the ranges that
// msg lists.
func (i *Initiator) Step(msg []byte) (reply []byte, have, need []ID, err error) {
	if i.state != running {
		return nil, nil, nil, errors.New("reconcile: the conversation is not running")
	}
	s := side{ix: i.ix, frameBytes: i.options.FrameBytes, initiator: true}
	r := reader{msg: msg}
	v, err := r.versionByte()
	if err == nil && v != version {
		err = r.fail(0, ErrVersion, "the responder answers with 0x%02x, this is 0x%02x", v, version)
	}
	if err == nil {
		err = s.answer(&r)
	}
	if err != nil {
		i.state = finished
		return nil, nil, nil, err
	}
	if len(s.w.buf) == 1 {
		i.state = finished
		return nil, s.have, s.need, nil
	}
	return s.w.buf, s.have, s.need, nil
}

// Respond answers one message. It keeps nothing between calls, so ix may
// gain and lose items between them; what did not change is still found.
//
// To a message in another version of the protocol it answers with its own
// version byte alone. A *MessageError is the initiator's fault, any other
// error the index's or the options'.
//
// It costs O(log n) per range in msg, and the items of the ranges that
// msg lists, up to FrameBytes.
func Respond(ix Index, msg []byte, o Options) ([]byte, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return respond(ix, msg, o.FrameBytes)
}

func respond(ix Index, msg []byte, frameBytes int) ([]byte, error) {
	s := side{ix: ix, frameBytes: frameBytes}
	r := reader{msg: msg}
	v, err := r.versionByte()
	if err != nil {
		return nil, err
	}
	if v != version {
		return []byte{version}, nil
	}
	if err := s.answer(&r); err != nil {
		return nil, err
	}
	return s.w.buf, nil
}
