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

	// Split is how mismatching ranges are cut. Default Reference.
	Split Split

	// Seed moves the boundaries that every Split but Reference places, so
	// that nobody can know which items will share a range: give a fresh
	// random number per conversation. They move with the set in any case.
	Seed uint64

	// MaxRounds bounds the answers an Initiator takes in one conversation,
	// and the messages a Responder does. At 0 an Initiator stops after 256
	// and one for every 16 items it holds or has found; an honest responder
	// needs few. At 0 a Responder, which cannot know, has no bound.
	MaxRounds int

	// Dialect, if not nil, is the key of this conversation, and both sides
	// speak the dialect of V1 in which each of them learns what it alone
	// holds, from lists of 8 bytes per item that are not answered by
	// lists; see docs/reconcile.md. Both sides must have agreed on it. An
	// Initiator then reports have and no need, and both report Coming.
	Dialect *Key

	// MaxNeed bounds the IDs that one conversation may report as needed,
	// when something is known about the number of the responder's items.
	// 0 is no bound.
	MaxNeed int
}

func (o Options) validate() error {
	var wrong []error
	if o.FrameBytes != 0 && o.FrameBytes < minFrameBytes {
		wrong = append(wrong, fmt.Errorf("reconcile: FrameBytes is %d, must be 0 or at least %d", o.FrameBytes, minFrameBytes))
	}
	if int(o.Split) >= len(plans) {
		wrong = append(wrong, fmt.Errorf("reconcile: there is no %v", o.Split))
	}
	if o.MaxRounds < 0 {
		wrong = append(wrong, fmt.Errorf("reconcile: MaxRounds is %d, must be 0 or more", o.MaxRounds))
	}
	if o.MaxNeed < 0 {
		wrong = append(wrong, fmt.Errorf("reconcile: MaxNeed is %d, must be 0 or more", o.MaxNeed))
	}
	return errors.Join(wrong...)
}

const (
	// graceRounds and itemsPerRound are what MaxRounds is by default. The
	// smallest frames at the worst of interleavings settle sixteen items a
	// round in the long run.
	graceRounds   = 256
	itemsPerRound = 16

	// maxStalled is how many answers in a row may leave the lowest open
	// bound where it was. Even 2^63 items lie at most 64 halvings deep, and
	// every message brings one.
	maxStalled = 72
)

// LimitError says that the peer has gone past a bound which honest peers
// keep. The conversation with that peer cannot go on.
type LimitError struct {
	What  string
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("reconcile: more than %d %s", e.Limit, e.What)
}

// Initiator is the side that begins, and that learns the difference.
// It is not safe for concurrent use.
type Initiator struct {
	engine  engine
	options Options
	state   initiatorState

	rounds  int
	stalled int   // answers in a row that left the lowest open bound alone
	lowest  Bound // that bound
	needed  int   // IDs reported
}

type initiatorState uint8

const (
	idle initiatorState = iota
	running
	finished
)

// NewInitiator prepares one conversation about the items in ix, which must
// not change while it lasts. Only a Tree may: the conversation is about the
// items in it now.
func NewInitiator(ix Index, o Options) (*Initiator, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	i := &Initiator{engine: newEngine(o, true), options: o}
	i.engine.over(ix, true)
	return i, nil
}

// Reset prepares another conversation in the memory of the one before, with
// another Seed. What Start and Step have returned is no longer valid.
func (i *Initiator) Reset(ix Index, seed uint64) {
	i.engine.seed = seed
	i.engine.over(ix, true)
	i.state, i.rounds, i.stalled, i.lowest, i.needed = idle, 0, 0, Bound{}, 0
}

// Start returns the opening message, about 1 KB at most (4 KB with Latency).
// It is valid until the next call of any method, and may be asked for once.
func (i *Initiator) Start() ([]byte, error) {
	if i.state != idle {
		return nil, errors.New("reconcile: the conversation has already started")
	}
	i.state = running
	if err := i.engine.open(); err != nil {
		i.state = finished
		return nil, err
	}
	return i.engine.w.buf, nil
}

// Step takes the responder's answer. have and need are the IDs that this
// answer settled: held here and not there, and the reverse, in no
// particular order. Over a whole conversation with a frame limit on either
// side an ID may come twice. A nil reply means that the conversation is
// complete; another call is an error. What is returned is valid until the
// next call of any method; msg is not kept.
//
// A *MessageError or a *LimitError is the responder's fault, any other error
// the index's. Each ends the conversation, and nothing is known then about
// what has not been reported.
//
// It costs O(log n) per range in msg, and the items of the ranges that
// msg lists. It allocates when its buffers have to grow.
func (i *Initiator) Step(msg []byte) (reply []byte, have, need []ID, err error) {
	if i.state != running {
		return nil, nil, nil, errors.New("reconcile: the conversation is not running")
	}
	s := &i.engine
	s.r.reset(msg)
	v, err := s.r.versionByte()
	if own := s.version(); err == nil && v != own {
		err = s.r.fail(0, ErrVersion, "the responder answers with 0x%02x, this is 0x%02x", v, own)
	}
	if err == nil {
		err = s.answer()
	}
	if err == nil {
		err = i.progress()
	}
	s.r.msg = nil
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

// Rekey sets the key for the next conversation in the dialect, before Reset.
func (i *Initiator) Rekey(k Key) { i.engine.setKey(k) }

// Coming is the number of items that, by the last answer in the dialect,
// only the responder holds.
func (i *Initiator) Coming() int { return i.engine.coming }

// progress checks that this leads to an end.
func (i *Initiator) progress() error {
	s := &i.engine
	i.rounds++
	i.needed += len(s.need) + s.coming
	if m := i.options.MaxNeed; m > 0 && i.needed > m {
		return &LimitError{"IDs needed", m}
	}
	if len(s.w.buf) == 1 {
		return nil
	}
	most := i.options.MaxRounds
	if most == 0 {
		most = graceRounds + s.n/itemsPerRound + i.needed/itemsPerRound
	}
	if i.rounds >= most {
		return &LimitError{"rounds", most}
	}
	i.stalled++
	if x := s.lowest.Item(); x.above(&i.lowest) {
		i.stalled, i.lowest = 0, s.lowest
	}
	if i.stalled > maxStalled {
		return &LimitError{"answers that settle nothing", maxStalled}
	}
	return nil
}

// Responder answers messages in the memory of the ones before. It keeps
// nothing else between them, so that its index may gain and lose items; what
// did not change is still found. It is not safe for concurrent use.
type Responder struct {
	engine  engine
	options Options
	ix      Index
	rounds  int
}

// NewResponder prepares to answer from ix.
func NewResponder(ix Index, o Options) (*Responder, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Responder{engine: newEngine(o, false), options: o, ix: ix}, nil
}

// Reset begins another conversation.
func (r *Responder) Reset(ix Index, seed uint64) {
	r.ix, r.engine.seed, r.rounds = ix, seed, 0
	r.engine.cur = nil
}

// Rekey sets the key for the next conversation in the dialect, before Reset.
func (r *Responder) Rekey(k Key) { r.engine.setKey(k) }

// Have is what the last message settled in the dialect: IDs that are held
// here and not at the initiator. It is valid until the next call.
func (r *Responder) Have() []ID { return r.engine.have }

// Coming is the number of items that, by the last message in the dialect,
// only the initiator holds.
func (r *Responder) Coming() int { return r.engine.coming }

// Respond is the function Respond with the answer in memory that is used
// again: it is valid until the next call. msg is not kept.
func (r *Responder) Respond(msg []byte) ([]byte, error) {
	s := &r.engine
	if m := r.options.MaxRounds; m > 0 && r.rounds >= m {
		return nil, &LimitError{"rounds", m}
	}
	r.rounds++
	s.r.reset(msg)
	v, err := s.r.versionByte()
	if err != nil {
		return nil, err
	}
	if v != s.version() {
		s.have, s.coming = s.have[:0], 0
		s.w.begin()
		return s.w.buf, nil
	}
	if s.key == nil {
		s.over(r.ix, false)
	} else if s.cur == nil {
		s.over(r.ix, true) // positions in lists must stay what they are
	}
	err = s.answer()
	s.r.msg = nil
	if err != nil {
		return nil, err
	}
	return s.w.buf, nil
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
	r, err := NewResponder(ix, o)
	if err != nil {
		return nil, err
	}
	return r.Respond(msg)
}
