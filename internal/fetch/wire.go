package fetch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"anabranch/blob"
)

// ErrFrame says that a frame is none of this protocol.
var ErrFrame = errors.New("fetch: malformed frame")

// The first byte of a frame is its type. Integers are big-endian. Who opened
// the stream asks; the other side answers. docs/blobs-wire.md has it too.
//
//	1 hello     version 1 (= 1) | tag 16 | nonce 8          the first frame of who opened it
//	2 welcome   –                                           the first frame back
//	3 ask       names 40 n, 1 <= n <= 64
//	4 offer     name 40 | state 1 (0 nothing, 1 whole, 2 some) | set
//	5 get       request 4 | name 40 | begin 8 | end 8
//	6 data      request 4 | the next bytes of the slice, at least one
//	7 end       request 4 | outcome 1
//	8 question  id 16 | hops 1 | name 40
//	9 answer    id 16
const (
	typeHello byte = iota + 1
	typeWelcome
	typeAsk
	typeOffer
	typeGet
	typeData
	typeEnd
	typeQuestion
	typeAnswer
)

const (
	wireVersion = 1
	TagBytes    = 16
	NonceBytes  = 8
	DataHeader  = 5    // bytes of a data frame before the slice's
	maxRuns     = 1000 // in an offer
)

// Frame is one decoded frame: Hello, Welcome, Ask (without a peer), Offer,
// Get, Data, End, Question or AnswerTo.
type Frame interface{ Append([]byte) []byte }

type (
	Hello struct {
		Tag   [TagBytes]byte
		Nonce [NonceBytes]byte
	}
	Welcome struct{}
	Names   []blob.Name
	Offer   struct {
		Name  blob.Name
		Whole bool
		Set   *blob.Set // nil and not Whole: nothing
	}
	Request struct {
		ID   uint32
		Name blob.Name
		Span blob.Span
	}
	Data struct {
		ID    uint32
		Bytes []byte
	}
	End struct {
		ID  uint32
		How Outcome
	}
	AnswerTo struct{ ID QuestionID }
)

func (f Hello) Append(b []byte) []byte {
	return append(append(append(b, typeHello, wireVersion), f.Tag[:]...), f.Nonce[:]...)
}
func (Welcome) Append(b []byte) []byte { return append(b, typeWelcome) }
func (f Names) Append(b []byte) []byte {
	b = append(b, typeAsk)
	for _, n := range f {
		b = n.Append(b)
	}
	return b
}
func (f Offer) Append(b []byte) []byte {
	b = f.Name.Append(append(b, typeOffer))
	switch {
	case f.Whole:
		return append(b, 1)
	case f.Set == nil || f.Set.Len() == 0:
		return append(b, 0)
	}
	return f.Set.Append(append(b, 2), maxRuns)
}
func (f Request) Append(b []byte) []byte {
	b = f.Name.Append(binary.BigEndian.AppendUint32(append(b, typeGet), f.ID))
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, f.Span.Begin), f.Span.End)
}
func (f Data) Append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(b, typeData), f.ID), f.Bytes...)
}
func (f End) Append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(b, typeEnd), f.ID), byte(f.How))
}
func (q Question) Append(b []byte) []byte {
	return q.Name.Append(append(append(append(b, typeQuestion), q.ID[:]...), q.Hops))
}
func (f AnswerTo) Append(b []byte) []byte { return append(append(b, typeAnswer), f.ID[:]...) }

// Decode reads one frame. Data shares its bytes. mostSet bounds the groups of
// a content about which an offer of a part is read, since that allocates a
// bit for each.
func Decode(b []byte, mostSet uint64) (Frame, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrFrame)
	}
	kind, body := b[0], b[1:]
	exact := func(n int) error {
		if len(body) != n {
			return fmt.Errorf("%w: type %d with %d bytes, want %d", ErrFrame, kind, len(body), n)
		}
		return nil
	}
	name := func(at int) (blob.Name, error) {
		n, err := blob.DecodeName(body[at : at+blob.NameBytes])
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrFrame, err)
		}
		return n, err
	}
	switch kind {
	case typeHello:
		if err := exact(1 + TagBytes + NonceBytes); err != nil {
			return nil, err
		}
		if body[0] != wireVersion {
			return nil, fmt.Errorf("%w: version %d is not known", ErrFrame, body[0])
		}
		return Hello{[TagBytes]byte(body[1:]), [NonceBytes]byte(body[1+TagBytes:])}, nil
	case typeWelcome:
		return Welcome{}, exact(0)
	case typeAsk:
		n := len(body) / blob.NameBytes
		if n < 1 || n > MaxAsk || len(body)%blob.NameBytes != 0 {
			return nil, fmt.Errorf("%w: a question of %d bytes", ErrFrame, len(body))
		}
		out := make(Names, n)
		for i := range out {
			var err error
			if out[i], err = name(i * blob.NameBytes); err != nil {
				return nil, err
			}
		}
		return out, nil
	case typeOffer:
		return decodeOffer(body, mostSet)
	case typeGet:
		if err := exact(4 + blob.NameBytes + 16); err != nil {
			return nil, err
		}
		n, err := name(4)
		f := Request{binary.BigEndian.Uint32(body), n, blob.Span{
			Begin: binary.BigEndian.Uint64(body[44:]), End: binary.BigEndian.Uint64(body[52:])}}
		if err == nil && (!f.Span.Within(n) || f.Span.Len() > MaxPiece) {
			err = fmt.Errorf("%w: groups %d to %d of %d", ErrFrame, f.Span.Begin, f.Span.End, n.Groups())
		}
		return f, err
	case typeData:
		if len(body) < 5 {
			return nil, fmt.Errorf("%w: data of %d bytes", ErrFrame, len(body))
		}
		return Data{binary.BigEndian.Uint32(body), body[4:]}, nil
	case typeEnd:
		if err := exact(5); err != nil {
			return nil, err
		}
		if body[4] > byte(Busy) {
			return nil, fmt.Errorf("%w: outcome %d", ErrFrame, body[4])
		}
		return End{binary.BigEndian.Uint32(body), Outcome(body[4])}, nil
	case typeQuestion:
		if err := exact(17 + blob.NameBytes); err != nil {
			return nil, err
		}
		n, err := name(17)
		return Question{QuestionID(body), body[16], n}, err
	case typeAnswer:
		if err := exact(16); err != nil {
			return nil, err
		}
		return AnswerTo{QuestionID(body)}, nil
	}
	return nil, fmt.Errorf("%w: type %d is not known", ErrFrame, kind)
}

func decodeOffer(body []byte, mostSet uint64) (Frame, error) {
	if len(body) < blob.NameBytes+1 {
		return nil, fmt.Errorf("%w: an offer of %d bytes", ErrFrame, len(body))
	}
	n, err := blob.DecodeName(body[:blob.NameBytes])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	state, rest := body[blob.NameBytes], body[blob.NameBytes+1:]
	f := Offer{Name: n, Whole: state == 1}
	if state == 2 {
		if n.Groups() > mostSet {
			return nil, fmt.Errorf("%w: an offer of a part of %d groups", ErrFrame, n.Groups())
		}
		if f.Set, rest, err = blob.DecodeSet(n, rest, maxRuns); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFrame, err)
		}
		if f.Set.Len() == 0 {
			return nil, fmt.Errorf("%w: an offer of nothing", ErrFrame)
		}
	}
	if len(rest) > 0 || state > 2 {
		return nil, fmt.Errorf("%w: an offer in state %d", ErrFrame, state)
	}
	return f, nil
}
