package anabranch

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"anabranch/attest"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

const (
	askTimeout = 20 * time.Second
	maxPassed  = 256 // attestations that one exchange passes on: members beyond come with the next
)

// ErrTooLong says that an answer would be longer than one may be: ask for
// less.
var ErrTooLong = attest.ErrTooLong

// Answer is what another device answered, checked.
type Answer struct {
	Device  record.Key
	Records []*Record // what was asked for, as List has it
	*Attestation
	File []byte // the proof, for anybody to check; see attest.Check
	// Lacks lists records that the query selects here and that the device does
	// not hold: it is behind, or they came here since.
	Lacks []record.ID
}

// Ask asks a member's device what it holds of a query, and checks the answer
// before it returns it: the device signed it with our nonce, every record is
// in the set that it attests, each was asked for and is a member by the
// control records and sweeps beside it, and the device's log of attestations
// is the continuation of the one we knew. That nothing else lies there rests
// on its signature; what we hold ourselves is compared, and a lie is kept as
// evidence.
//
// Errors worth matching: ErrCaught, ErrTooLong, ErrOffline, ErrNotMember,
// ErrUnreachable, ErrRefused.
func (s *Space) Ask(ctx context.Context, device record.Key, q space.Query) (Answer, error) {
	if err := q.Check(); err != nil {
		return Answer{}, err
	}
	answer, err := s.ask(ctx, device, q)
	if err != nil {
		return Answer{}, fmt.Errorf("anabranch: ask %v: %w", short(device), named(err))
	}
	return answer, nil
}

func (s *Space) ask(ctx context.Context, device record.Key, q space.Query) (Answer, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer view.Close()
	asked := question{query: q}
	rand.Read(asked.nonce[:])
	before := s.lastOf(view, device)
	if before != nil {
		asked.since = logPlace{before.Log, before.Size}
	}
	stream, err := s.openAsk(ctx, device)
	if err != nil {
		return Answer{}, err
	}
	defer stream.Close()
	if err := stream.WriteFrame(append(s.askHead(device, askQuery), asked.encode()...)); err != nil {
		return Answer{}, err
	}
	a, grown, body, err := readAnswer(stream)
	if err != nil {
		stream.Reset()
		return Answer{}, err
	}
	return s.judgeAnswer(ctx, view, device, asked.nonce, q, before, a, grown, body)
}

// judgeAnswer has an answer checked, keeps what the device attests, and what it
// signed falsely.
func (s *Space) judgeAnswer(ctx context.Context, view *store.Snapshot, device record.Key, nonce [16]byte, q space.Query, before, a *Attestation, grown []attest.Hash, b []byte) (Answer, error) {
	asked := attest.Question{
		Space: s.ID(), Roots: s.rows.Genesis().Roots, Authors: authorsOf(view, device), Nonce: nonce, Query: q, Before: before,
		Trie: view.Trie(), Records: view.List(rowsOf(q)),
	}
	body, lacks, evidence, err := asked.Judge(a, grown, b)
	switch {
	case err != nil:
		return Answer{}, err
	case evidence != nil:
		return Answer{}, s.catch(ctx, view, evidence)
	}
	if err := s.hear(ctx, view, a); err != nil {
		return Answer{}, err
	}
	f := &attest.File{Kind: attest.Whole, Attestation: a, Body: b}
	if err := s.sealFile(view, f); err != nil {
		return Answer{}, err
	}
	return Answer{Device: device, Records: body.Selected(), Attestation: a, File: f.Encode(), Lacks: lacks}, nil
}

// readAnswer reads the answer to a query off its stream.
func readAnswer(stream mesh.Stream) (a *Attestation, grown []attest.Hash, body []byte, err error) {
	frame, err := stream.ReadFrame()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := statusOf(frame); err != nil {
		return nil, nil, nil, err
	}
	b := frame[1:]
	if len(b) < 1 || len(b) < 1+32*int(b[0])+4 {
		return nil, nil, nil, fmt.Errorf("%w: an answer of %d bytes", errAskEncoding, len(b))
	}
	n, b := int(b[0]), b[1:]
	for ; n > 0; n-- {
		grown, b = append(grown, attest.Hash(b[:32])), b[32:]
	}
	size := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(size)+4 != uint64(len(b)) {
		return nil, nil, nil, fmt.Errorf("%w: an attestation of %d in %d bytes", errAskEncoding, size, len(b))
	}
	if a, err = attest.Decode(b[:size]); err != nil {
		return nil, nil, nil, err
	}
	left := int64(binary.BigEndian.Uint32(b[size:]))
	if left > attest.MaxBody {
		return nil, nil, nil, fmt.Errorf("%w: a body of %d bytes", errAskEncoding, left)
	}
	for left > 0 {
		frame, err := stream.ReadFrame()
		if err != nil {
			return nil, nil, nil, err
		}
		if len(frame) == 0 || int64(len(frame)) > left {
			return nil, nil, nil, fmt.Errorf("%w: %d bytes of a body where %d are due", errAskEncoding, len(frame), left)
		}
		body, left = append(body, frame...), left-int64(len(frame))
	}
	return a, grown, body, nil
}

func statusOf(frame []byte) error {
	switch {
	case len(frame) == 0:
		return fmt.Errorf("%w: an empty answer", errAskEncoding)
	case frame[0] == answerOK:
		return nil
	case frame[0] == answerRefused:
		return ErrRefused
	case frame[0] == answerTooLong:
		return ErrTooLong
	case frame[0] == answerOtherSet:
		return errOtherSet
	}
	return errors.New("the device could not answer just now")
}

// openAsk opens a stream for one question to a member's device.
func (s *Space) openAsk(ctx context.Context, device record.Key) (mesh.Stream, error) {
	r := s.replica
	if r.host == nil || !r.Online() {
		return nil, ErrOffline
	}
	if device == r.Device() {
		return nil, errors.New("that is this device")
	}
	if !s.mayRead(device) {
		return nil, fmt.Errorf("%w: device %v", ErrNotMember, short(device))
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stream, err := r.host.Open(ctx, mesh.Key(device), r.addrsOf(device), askProtocol)
	if err != nil {
		return nil, err
	}
	if err := stream.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		stream.Reset()
		return nil, err
	}
	return stream, nil
}

func (s *Space) askHead(device record.Key, kind byte) []byte {
	var nonce [session.NonceSize]byte
	rand.Read(nonce[:])
	return askHead(s.ID(), s.replica.Device(), device, nonce, kind)
}

// authorsOf are the keys under which a device may sign in this space.
func authorsOf(view *store.Snapshot, device record.Key) []record.Key {
	var out []record.Key
	for _, g := range view.State().GrantsOfDevice(device) {
		if !slices.Contains(out, g.Author) {
			out = append(out, g.Author)
		}
	}
	slices.Reverse(out) // the newest first
	return out
}

// lastOf is the newest attestation of a device that is known here.
func (s *Space) lastOf(view *store.Snapshot, device record.Key) *Attestation {
	w := &s.witness
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.loadWitness() != nil {
		return nil
	}
	var newest *Attestation
	for _, author := range authorsOf(view, device) {
		if x := w.others[author]; x != nil && (newest == nil || x.attestation.Time > newest.Time) {
			newest = x.attestation
		}
	}
	return newest
}

// rowsOf is a query as the store has it.
func rowsOf(q space.Query) store.Query {
	return store.Query{Prefix: q.Prefix, Gte: pathBound(q.Gte), Lte: pathBound(q.Lte), Authors: q.Authors, Kinds: q.Kinds, From: q.From, To: q.To, Order: store.Path}
}

// pathBound is a bound that divides all paths as a given one does. A path has
// no byte below 0x20, so that what follows the first one in a bound decides
// nothing; the store's keys end a path with a zero.
func pathBound(bound string) string {
	for i := range len(bound) {
		if bound[i] < 0x20 {
			return bound[:i] + "\x01"
		}
	}
	return bound
}

// answerTo makes the body of an answer out of a snapshot.
func answerTo(view *store.Snapshot, q space.Query) (*attest.Body, error) {
	records, err := attest.Select(q, view.State(), view.List(rowsOf(q)))
	if err != nil {
		return nil, err
	}
	body, err := attest.NewBody(view.Trie(), records)
	if err == nil && len(body.Encode()) > attest.MaxBody {
		err = ErrTooLong
	}
	return body, err
}

// digestOf is what two sides compare before they list what they know.
func digestOf(list []known) []byte {
	sum := sha256.Sum256(appendKnown(nil, list))
	return sum[:8]
}
