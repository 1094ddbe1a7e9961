package anabranch

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"anabranch/attest"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

// answer answers what a member's device asks. Whoever names no space of
// ours, or may not read it, is refused and learns nothing.
func (r *Replica) answer(stream mesh.Stream, device record.Key) error {
	if err := stream.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	frame, err := stream.ReadFrame()
	if err != nil {
		return err
	}
	if len(frame) < askHeadSize || frame[0] != askVersion {
		return stream.WriteFrame([]byte{answerRefused})
	}
	hello := session.Hello{Nonce: [session.NonceSize]byte(frame[1:])}
	copy(hello.Tag[:], frame[1+session.NonceSize:])
	s := r.spaceOf(hello, device)
	if s == nil {
		return stream.WriteFrame([]byte{answerRefused})
	}
	view, err := s.snapshot(r.ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	kind, rest := frame[askHeadSize-1], frame[askHeadSize:]
	switch kind {
	case askExchange:
		return s.answerExchange(stream, view, device, rest)
	case askQuery:
		err := s.answerQuery(stream, view, rest)
		switch {
		case errors.Is(err, ErrTooLong):
			return stream.WriteFrame([]byte{answerTooLong})
		case errors.Is(err, errNotWritten):
			return err
		case err != nil:
			return errors.Join(err, stream.WriteFrame([]byte{answerFailed}))
		}
		return nil
	}
	return stream.WriteFrame([]byte{answerRefused})
}

// errNotWritten says that the stream failed, so that nothing more fits on it.
var errNotWritten = errors.New("anabranch: answer not written")

func (s *Space) answerQuery(stream mesh.Stream, view *store.Snapshot, b []byte) error {
	q, err := takeQuestion(b)
	if err != nil {
		return err
	}
	answers := s.answered
	if s.replica.options.answers != nil {
		answers = func(q question, view *store.Snapshot) (*Attestation, []attest.Hash, []byte, error) {
			return s.replica.options.answers(s, q, view)
		}
	}
	a, grown, body, err := answers(q, view)
	if err != nil {
		return err
	}
	out := []byte{answerOK, byte(len(grown))}
	for _, h := range grown {
		out = append(out, h[:]...)
	}
	e := a.Encode()
	out = append(binary.BigEndian.AppendUint32(out, uint32(len(e))), e...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	if err := stream.WriteFrame(out); err != nil {
		return errors.Join(errNotWritten, err)
	}
	for len(body) > 0 {
		n := min(len(body), minFrameBytes) // whatever the peer has chosen, it takes those
		if err := stream.WriteFrame(body[:n]); err != nil {
			return errors.Join(errNotWritten, err)
		}
		body = body[n:]
	}
	return nil
}

// answered makes an honest answer: attestation, proof that the log has
// grown from where the asker knew it, and body.
func (s *Space) answered(q question, view *store.Snapshot) (*Attestation, []attest.Hash, []byte, error) {
	body, err := answerTo(view, q.query)
	if err != nil {
		return nil, nil, nil, err
	}
	a, grown, err := s.attest(s.replica.ctx, view, body.Describe(q.nonce, q.query), &q.since)
	if err != nil {
		return nil, nil, nil, err
	}
	return a, grown, body.Encode(), nil
}

// exchange tells a peer what is attested here and hears what it attests, and
// each passes on what the other does not know of third devices. It is 291
// bytes of frames when both hold the same set and know the same of others. It returns the bytes of all frames.
func (s *Space) exchange(ctx context.Context, device record.Key) (frameBytes int64, err error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer view.Close()
	stream, err := s.openAsk(ctx, device)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	own, _, err := s.attest(ctx, view, nil, nil)
	if err != nil {
		return 0, err
	}
	here := s.knows(device)
	ask := append(s.askHead(device, askExchange), compact(own)...)
	if err := stream.WriteFrame(append(ask, digestOf(here)...)); err != nil {
		return 0, err
	}
	frame, err := stream.ReadFrame()
	if err != nil {
		return 0, err
	}
	if err := statusOf(frame); err != nil {
		return 0, err
	}
	if len(frame) < 1+compactSize {
		return 0, errAskEncoding
	}
	theirs, err := expand(frame[1:1+compactSize], own, authorsOf(view, device))
	if err != nil {
		return 0, err
	}
	if err := s.hear(ctx, view, theirs); err != nil {
		return 0, err
	}
	if rest := frame[1+compactSize:]; len(rest) > 0 {
		if err := s.passOn(ctx, view, stream, here, rest); err != nil {
			return 0, err
		}
	}
	s.tell(device, Root(own.Root()))
	read, written := stream.Traffic()
	return read + written, nil
}

// passOn sends what the peer lacks of others and takes what is lacking here.
func (s *Space) passOn(ctx context.Context, view *store.Snapshot, stream mesh.Stream, here []known, theirs []byte) error {
	there, err := takeKnown(theirs)
	if err != nil {
		return err
	}
	frame := appendAttestations(nil, s.newer(here, there))
	wants := newerTags(there, here)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(wants)))
	for _, tag := range wants {
		frame = append(frame, tag[:]...)
	}
	if err := stream.WriteFrame(frame); err != nil {
		return err
	}
	if frame, err = stream.ReadFrame(); err != nil {
		return err
	}
	list, _, err := takeAttestations(frame)
	if err != nil {
		return err
	}
	return s.hearAll(ctx, view, list)
}

func (s *Space) hearAll(ctx context.Context, view *store.Snapshot, list []*Attestation) error {
	for _, a := range list {
		if err := s.hear(ctx, view, a); err != nil && !errors.Is(err, ErrCaught) {
			return err
		}
	}
	return nil
}

func (s *Space) answerExchange(stream mesh.Stream, view *store.Snapshot, device record.Key, b []byte) error {
	if len(b) != compactSize+8 {
		return stream.WriteFrame([]byte{answerRefused})
	}
	own, _, err := s.attest(s.replica.ctx, view, nil, nil)
	if err != nil {
		return errors.Join(err, stream.WriteFrame([]byte{answerFailed}))
	}
	theirs, err := expand(b[:compactSize], own, authorsOf(view, device))
	if err != nil { // the sets differ: sessions come first, and then this again
		return stream.WriteFrame([]byte{answerOtherSet})
	}
	if err := s.hear(s.replica.ctx, view, theirs); err != nil && !errors.Is(err, ErrCaught) {
		return errors.Join(err, stream.WriteFrame([]byte{answerFailed}))
	}
	here := s.knows(device)
	out := append([]byte{answerOK}, compact(own)...)
	same := string(digestOf(here)) == string(b[compactSize:])
	if !same {
		out = appendKnown(out, here)
	}
	if err := stream.WriteFrame(out); err != nil {
		return err
	}
	defer s.tell(device, Root(own.Root()))
	if same {
		return nil
	}
	frame, err := stream.ReadFrame()
	if err != nil {
		return err
	}
	list, rest, err := takeAttestations(frame)
	if err != nil {
		return err
	}
	if len(rest) < 2 || len(rest) != 2+8*int(binary.BigEndian.Uint16(rest)) {
		return errAskEncoding
	}
	wanted := map[authorTag]bool{}
	for rest = rest[2:]; len(rest) > 0; rest = rest[8:] {
		wanted[authorTag(rest[:8])] = true
	}
	if err := s.hearAll(s.replica.ctx, view, list); err != nil {
		return err
	}
	return stream.WriteFrame(appendAttestations(nil, s.of(func(k known) bool { return wanted[k.author] })))
}
