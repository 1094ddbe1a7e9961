package attest

import (
	"fmt"

	"anabranch/merkle"
	"anabranch/record"
)

// Magic begins every file.
const Magic = "anabranch proof 1\n"

// MaxFile bounds a file, in bytes.
const MaxFile = MaxBody + 1<<20

// Kind is what a file shows.
type Kind uint8

const (
	// Member: a record is in the attested set.
	Member Kind = 1 + iota
	// Absent: an ID is not in the attested set.
	Absent
	// Whole: all that a query selects in the attested set.
	Whole
	// Against: a device has signed what cannot be true.
	Against
)

// Reason says what a device is caught at.
type Reason uint8

const (
	// TwoStories: two attestations of one log that cannot both be true.
	TwoStories Reason = 1 + iota
	// FalseAnswer: it signed an answer that its own attestation refutes.
	FalseAnswer
	// Withheld: an answer lacks a record which is in the set that the same
	// signature attests.
	Withheld
	// OlderSet: an answer lacks a record that the device attested before, and
	// that by the answer's own control records and sweeps is a member.
	OlderSet
)

// File is a proof as it travels: its genesis, the grants of those who speak
// in it, an attestation, and what the kind needs besides.
type File struct {
	Kind        Kind
	Genesis     []byte
	Chain       [][]byte // encoded grants, ascending by ID; see Chain
	Attestation *Attestation

	Record []byte       // Member; Against: withheld, or of an older set
	ID     record.ID    // Absent
	Proof  merkle.Proof // Member, Absent; Against: that Record is in the set it was in
	Body   []byte       // Whole; Against: a false answer, or one of an older set

	Reason   Reason       // Against
	Other    *Attestation // Against: of two stories the other; of an older set the earlier
	NotThere merkle.Proof // Against: that a withheld Record is not in the answer's set
}

// Encode returns the file's one encoding, integers big-endian, a block being
// length 4 ‖ bytes:
//
//	"anabranch proof 1\n" ‖ kind 1 ‖ genesis block ‖ n 4 ‖ n × grant block ‖
//	attestation block ‖
//	  member   record block ‖ proof block
//	  absent   ID 32 ‖ proof block
//	  whole    body block
//	  against  reason 1 ‖
//	    two stories   attestation block
//	    false answer  body block
//	    withheld      record block ‖ proof block ‖ proof block
//	    older set     attestation block ‖ record block ‖ proof block ‖ body block
func (f *File) Encode() []byte {
	b := append([]byte(Magic), byte(f.Kind))
	b = appendBlocks(appendBlock(b, f.Genesis), f.Chain)
	b = appendBlock(b, f.Attestation.Encode())
	switch f.Kind {
	case Member:
		b = appendBlock(appendBlock(b, f.Record), f.Proof.Encode())
	case Absent:
		b = appendBlock(append(b, f.ID[:]...), f.Proof.Encode())
	case Whole:
		b = appendBlock(b, f.Body)
	case Against:
		b = append(b, byte(f.Reason))
		switch f.Reason {
		case TwoStories:
			b = appendBlock(b, f.Other.Encode())
		case FalseAnswer:
			b = appendBlock(b, f.Body)
		case Withheld:
			b = appendBlock(appendBlock(b, f.Record), f.Proof.Encode())
			b = appendBlock(b, f.NotThere.Encode())
		case OlderSet:
			b = appendBlock(appendBlock(b, f.Other.Encode()), f.Record)
			b = appendBlock(appendBlock(b, f.Proof.Encode()), f.Body)
		}
	}
	return b
}

// DecodeFile reads a file's layout and the signatures of its attestations.
// What the file shows, Check says. Errors wrap ErrEncoding or ErrSignature.
func DecodeFile(b []byte) (*File, error) {
	if len(b) > MaxFile {
		return nil, fmt.Errorf("%w file: %d bytes, at most %d", ErrEncoding, len(b), MaxFile)
	}
	if len(b) < len(Magic) || string(b[:len(Magic)]) != Magic {
		return nil, fmt.Errorf("%w file: it does not begin with %q", ErrEncoding, Magic)
	}
	r := fileReader{reader: reader{rest: b[len(Magic):]}}
	f := &File{Kind: Kind(r.byte()), Genesis: r.block(MaxFile), Chain: r.blocks(maxRecord), Attestation: r.attestation()}
	switch f.Kind {
	case Member:
		f.Record, f.Proof = r.block(maxRecord), r.proof()
	case Absent:
		f.ID, f.Proof = record.ID(r.hash()), r.proof()
	case Whole:
		f.Body = r.block(MaxBody)
	case Against:
		f.Reason = Reason(r.byte())
		switch f.Reason {
		case TwoStories:
			f.Other = r.attestation()
		case FalseAnswer:
			f.Body = r.block(MaxBody)
		case Withheld:
			f.Record, f.Proof, f.NotThere = r.block(maxRecord), r.proof(), r.proof()
		case OlderSet:
			f.Other, f.Record, f.Proof, f.Body = r.attestation(), r.block(maxRecord), r.proof(), r.block(MaxBody)
		default:
			r.fail(fmt.Errorf("%w file: reason %d", ErrEncoding, f.Reason))
		}
	default:
		r.fail(fmt.Errorf("%w file: kind %d", ErrEncoding, f.Kind))
	}
	if r.err != nil {
		return nil, r.err
	}
	return f, r.end("file")
}

// fileReader keeps the first error of a part.
type fileReader struct {
	reader
	err error
}

func (r *fileReader) fail(err error) {
	if r.err == nil && !r.short {
		r.err = err
	}
}

func (r *fileReader) attestation() *Attestation {
	a, err := Decode(r.block(maxQuery + 1<<10))
	if err != nil {
		r.fail(err)
	}
	return a
}

func (r *fileReader) proof() merkle.Proof {
	p, err := merkle.DecodeProof(r.block(1 << 16))
	if err != nil {
		r.fail(fmt.Errorf("%w file: %w", ErrEncoding, err))
	}
	return p
}

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Member:
		return "member"
	case Absent:
		return "absent"
	case Whole:
		return "whole"
	case Against:
		return "against"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// String says the reason in words.
func (r Reason) String() string {
	switch r {
	case TwoStories:
		return "it signed two stories"
	case FalseAnswer:
		return "it signed a false answer"
	case Withheld:
		return "it withheld a record"
	case OlderSet:
		return "it answered from an older set"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}
