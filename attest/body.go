package attest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"

	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// MaxBody bounds the body of an answer, in bytes. A question whose answer is
// longer has to be narrowed.
const MaxBody = 8 << 20

// maxRecord is the longest a record can be; see docs/record.md.
const maxRecord = 67_462

// Body is what an answer consists of: every member that the query selects,
// all standing control, the sweeps that concern the query, and the proof that
// each of them is in the whole set.
//
//	n 4 ‖ n × (length 4 ‖ record), ascending by ID ‖ length 4 ‖ MultiProof
type Body struct {
	Records []*record.Verified
	Proof   merkle.MultiProof
}

// ErrTooLong says that an answer would be longer than one may be.
var ErrTooLong = errors.New("attest: the answer is too long; ask for a narrower path")

// maxAnswer bounds the records of an answer. Their bytes are bounded by half
// of MaxBody, which leaves as much for the proof.
const maxAnswer = 65536

// Select gathers what an answer to a query consists of: all standing control,
// the sweeps that concern it, and those of the records, all members, that it
// selects. The error is the records' own, or ErrTooLong.
func Select(q space.Query, state *space.State, records iter.Seq2[*record.Verified, error]) ([]*record.Verified, error) {
	out := slices.Clone(state.Control())
	for _, r := range state.Sweeps() {
		if q.Concerns(&r.Record) {
			out = append(out, r)
		}
	}
	size := 0
	for _, r := range out {
		size += len(r.Bytes)
	}
	for r, err := range records {
		switch {
		case err != nil:
			return nil, err
		case !isData(r) || !q.Selects(&r.Record):
			continue
		}
		out = append(out, r)
		if size += len(r.Bytes); size > MaxBody/2 || len(out) > maxAnswer {
			return nil, ErrTooLong
		}
	}
	return out, nil
}

// NewBody makes the body for records of one query, in any order, out of the
// whole set's trie.
func NewBody(whole merkle.Source, records []*record.Verified) (*Body, error) {
	b := &Body{Records: slices.Clone(records)}
	slices.SortFunc(b.Records, func(x, y *record.Verified) int { return x.ID.Compare(y.ID) })
	var err error
	b.Proof, err = merkle.ProveMany(whole, b.ids())
	return b, err
}

func (b *Body) ids() []merkle.ID {
	ids := make([]merkle.ID, len(b.Records))
	for i, r := range b.Records {
		ids[i] = merkle.ID(r.ID)
	}
	return ids
}

// Set is the set of the query as a tree: its root, and proofs about it.
func (b *Body) Set() *merkle.Tree {
	var t merkle.Tree
	t.Insert(b.ids()...)
	return &t
}

// Encode returns the body's one encoding.
func (b *Body) Encode() []byte {
	blocks := make([][]byte, len(b.Records))
	for i, r := range b.Records {
		blocks[i] = r.Bytes
	}
	return appendBlock(appendBlocks(nil, blocks), b.Proof)
}

// Describe returns the answer that says what the body is, to be signed as a
// part of an attestation.
func (b *Body) Describe(nonce [16]byte, q space.Query) *Answer {
	set := b.Set()
	return &Answer{Nonce: nonce, Query: q, Count: uint64(set.Count()), Trie: set.Hash(), Body: sha256.Sum256(b.Encode())}
}

// OpenBody reads the body of an attestation's answer and checks that it is
// what was signed and that everything in it holds: the records are of the
// space, signed, in the attested set, selected by the query, and members by
// the control and sweeps among them; and they are exactly the set whose trie
// was attested. roots are the root keys of the space.
//
// An error that wraps ErrEncoding means that b is not what was signed, which
// says nothing against the device. One that wraps ErrFalse means that the
// device signed something false.
func OpenBody(b []byte, a *Attestation, roots []record.Key) (*Body, error) {
	if a.Answer == nil {
		return nil, fmt.Errorf("%w answer: the attestation answers nothing", ErrEncoding)
	}
	if len(b) > MaxBody || sha256.Sum256(b) != a.Answer.Body {
		return nil, fmt.Errorf("%w answer: its bytes are not those that were signed", ErrEncoding)
	}
	body, err := decodeBody(b, a.Space)
	if err != nil {
		return nil, err
	}
	set := body.Set()
	if uint64(set.Count()) != a.Answer.Count || set.Hash() != a.Answer.Trie {
		return nil, fmt.Errorf("%w: the answer's %d records are not the %d that were attested", ErrFalse, set.Count(), a.Answer.Count)
	}
	present, err := body.Proof.Verify(a.Trie, body.ids())
	if err != nil {
		return nil, fmt.Errorf("%w: the answer is not out of the set that was attested: %w", ErrFalse, err)
	}
	if i := slices.Index(present, false); i >= 0 {
		return nil, fmt.Errorf("%w: record %v of the answer is not in the set that was attested", ErrFalse, body.Records[i].ID)
	}
	return body, body.judge(a.Answer.Query, roots)
}

// decodeBody reads a body whose bytes its device has signed: whatever is
// wrong in it is that device's word.
func decodeBody(b []byte, name record.SpaceID) (*Body, error) {
	r := reader{rest: b}
	blocks := r.blocks(maxRecord)
	body := &Body{Proof: r.block(MaxBody)}
	if err := r.end("answer"); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFalse, err)
	}
	records, errs := record.VerifyBatch(name, blocks)
	for i := range blocks {
		if errs[i] != nil {
			return nil, fmt.Errorf("%w: record %d of the answer: %w", ErrFalse, i, errs[i])
		}
		if i > 0 && records[i-1].ID.Compare(records[i].ID) >= 0 {
			return nil, fmt.Errorf("%w: the answer's records are not ascending", ErrFalse)
		}
	}
	body.Records = records
	return body, nil
}

// judge checks that what is in the answer belongs there.
func (b *Body) judge(q space.Query, roots []record.Key) error {
	state := b.state(roots)
	for _, r := range b.Records {
		wanted := true
		switch r.Kind {
		case record.Control:
		case record.Sweep:
			wanted = q.Concerns(&r.Record)
		default:
			wanted = q.Selects(&r.Record)
		}
		if !wanted {
			return fmt.Errorf("%w: nobody asked for record %v of the answer", ErrFalse, r.ID)
		}
		if v := state.Judge(r); v != space.Member {
			return fmt.Errorf("%w: record %v of the answer is %v by the answer's own control records and sweeps", ErrFalse, r.ID, v)
		}
	}
	return nil
}

// state judges by the control records and sweeps of the answer.
func (b *Body) state(roots []record.Key) *space.State {
	state := space.NewState(roots)
	state.Insert(b.Records...)
	return state
}

// Selected returns the records that the query asked for, without the control
// records and sweeps that every answer carries.
func (b *Body) Selected() []*record.Verified {
	var out []*record.Verified
	for _, r := range b.Records {
		if r.Kind != record.Control && r.Kind != record.Sweep {
			out = append(out, r)
		}
	}
	return out
}
