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
	askTimeout    = 20 * time.Second
	maxPassed     = 256 // attestations that one exchange passes on: members beyond come with the next
	answerRecords = 65536
)

// ErrTooLong says that an answer would be longer than one may be: ask for
// less.
var ErrTooLong = errors.New("anabranch: the answer is too long; ask for a narrower path")

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
	if err := s.judgeAnswer(ctx, view, device, before, asked, a, grown); err != nil {
		return Answer{}, err
	}
	return s.openAnswer(ctx, view, device, before, a, body)
}

// judgeAnswer checks who signed and what of the log.
func (s *Space) judgeAnswer(ctx context.Context, view *store.Snapshot, device record.Key, before *Attestation, asked question, a *Attestation, grown []attest.Hash) error {
	x := a.Answer
	switch {
	case a.Space != s.ID() || !slices.Contains(authorsOf(view, device), a.Author):
		return errors.New("the answer is signed by a key that is not that device's")
	case x == nil || x.Nonce != asked.nonce || string(x.Query.Encode()) != string(asked.query.Encode()):
		return errors.New("the answer is to another question")
	}
	if before != nil && before.Author == a.Author && before.Log == a.Log {
		if why := attest.Contradiction(before, a); why != "" {
			return s.catch(ctx, view, &attest.File{Attestation: a, Reason: attest.TwoStories, Other: before})
		}
		if err := attest.CheckGrown(grown, before, a); err != nil {
			return fmt.Errorf("the device does not show that its log goes on from where we knew it: %w", err)
		}
	}
	return s.hear(ctx, view, a)
}

// openAnswer opens the body and compares it with what is held here.
func (s *Space) openAnswer(ctx context.Context, view *store.Snapshot, device record.Key, before, a *Attestation, b []byte) (Answer, error) {
	body, err := attest.OpenBody(b, a, s.rows.Genesis().Roots)
	switch {
	case errors.Is(err, attest.ErrFalse):
		return Answer{}, s.catch(ctx, view, &attest.File{Attestation: a, Reason: attest.FalseAnswer, Body: b})
	case err != nil:
		return Answer{}, err
	}
	out := Answer{Device: device, Records: body.Selected(), Attestation: a}
	has := map[record.ID]bool{}
	for _, r := range out.Records {
		has[r.ID] = true
	}
	for r, err := range view.List(rowsOf(a.Answer.Query)) {
		if err != nil {
			return Answer{}, err
		}
		if has[r.ID] || !a.Answer.Query.Selects(&r.Record) {
			continue
		}
		if err := s.missed(ctx, view, before, a, body, b, r); err != nil {
			return Answer{}, err
		}
		out.Lacks = append(out.Lacks, r.ID)
	}
	f := &attest.File{Kind: attest.Whole, Attestation: a, Body: b}
	if err := s.sealFile(view, f); err != nil {
		return Answer{}, err
	}
	out.File = f.Encode()
	return out, nil
}

// missed asks whether the lack of a record that is held here can be held
// against the device: it attests our very set, or did before.
func (s *Space) missed(ctx context.Context, view *store.Snapshot, before, a *Attestation, body *attest.Body, b []byte, r *Record) error {
	_, trie, err := view.Trie().Subtree([32]byte{}, 0)
	if err != nil {
		return err
	}
	f := &attest.File{Attestation: a, Record: r.Bytes}
	switch {
	case a.Trie == trie:
		f.Reason = attest.Withheld
		if f.NotThere, err = proveIn(body.Set(), r.ID); err != nil {
			return err
		}
	case before != nil && before.Trie == trie && before.Author == a.Author && before.Log == a.Log && before.Size < a.Size:
		f.Reason, f.Other, f.Body = attest.OlderSet, before, b
	default:
		return nil
	}
	if f.Proof, err = proveIn(view.Trie(), r.ID); err != nil {
		return err
	}
	if err := s.catch(ctx, view, f); errors.Is(err, ErrCaught) || !errors.Is(err, attest.ErrFalse) {
		return err
	}
	return nil // it has an explanation
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
	records := slices.Clone(view.State().Control())
	for _, r := range view.State().Sweeps() {
		if q.Concerns(&r.Record) {
			records = append(records, r)
		}
	}
	size := 0
	for _, r := range records {
		size += len(r.Bytes)
	}
	for r, err := range view.List(rowsOf(q)) {
		if err != nil {
			return nil, err
		}
		if !q.Selects(&r.Record) {
			continue
		}
		records = append(records, r)
		if size += len(r.Bytes); size > attest.MaxBody/2 || len(records) > answerRecords {
			return nil, ErrTooLong
		}
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
