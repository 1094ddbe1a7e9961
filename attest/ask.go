package attest

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// Question is what somebody asked of a device, and what they hold themselves.
type Question struct {
	Space   record.SpaceID
	Roots   []record.Key // of the space
	Authors []record.Key // the keys under which the device may sign
	Nonce   [16]byte     // drawn for this question
	Query   space.Query
	Before  *Attestation // the newest of the device that is known; may be nil

	// The asker's own set: its trie, and the records in it that the query
	// selects.
	Trie    merkle.Source
	Records iter.Seq2[*record.Verified, error]
}

// ErrAnswer is wrapped when an answer is to be dropped and nothing can be
// held against its device.
var ErrAnswer = errors.New("attest: not an answer to this question")

// Judge checks an answer: who signed it and to what, that the device's log
// goes on from where it was known, that everything in the body holds, and
// whether what is lacking there can be held against the device: it attests
// the asker's very set, or did before.
//
// It returns the body and the IDs of the asker's records that the device
// does not hold; or evidence, a file that lacks only genesis and grants; or
// an error, which is the asker's own or wraps ErrAnswer, ErrEncoding or
// ErrFalse.
func (q *Question) Judge(a *Attestation, grown []Hash, body []byte) (answer *Body, lacks []record.ID, evidence *File, err error) {
	switch {
	case a.Space != q.Space || !slices.Contains(q.Authors, a.Author):
		return nil, nil, nil, fmt.Errorf("%w: it is signed by a key that is not that device's", ErrAnswer)
	case a.Answer == nil || a.Answer.Nonce != q.Nonce || string(a.Answer.Query.Encode()) != string(q.Query.Encode()):
		return nil, nil, nil, fmt.Errorf("%w: it answers another one", ErrAnswer)
	}
	before := q.Before
	if before != nil && (before.Author != a.Author || before.Log != a.Log) {
		before = nil // a new log: nothing ties the two together
	}
	if before != nil {
		if Contradiction(before, a) != "" {
			return nil, nil, &File{Kind: Against, Attestation: a, Reason: TwoStories, Other: before}, nil
		}
		if err := CheckGrown(grown, before, a); err != nil {
			return nil, nil, nil, fmt.Errorf("%w: the device does not show that its log goes on from where it was known: %w", ErrAnswer, err)
		}
	}
	answer, err = OpenBody(body, a, q.Roots)
	switch {
	case errors.Is(err, ErrFalse):
		return nil, nil, &File{Kind: Against, Attestation: a, Reason: FalseAnswer, Body: body}, nil
	case err != nil:
		return nil, nil, nil, err
	}
	lacks, evidence, err = q.compare(before, a, answer, body)
	return answer, lacks, evidence, err
}

// compare goes through what the asker holds of the query.
func (q *Question) compare(before, a *Attestation, answer *Body, body []byte) (lacks []record.ID, evidence *File, err error) {
	_, own, err := merkle.Hash(q.Trie)
	if err != nil {
		return nil, nil, err
	}
	state := answer.state(q.Roots)
	has := make(map[record.ID]bool, len(answer.Records))
	for _, r := range answer.Records {
		has[r.ID] = true
	}
	for r, err := range q.Records {
		switch {
		case err != nil:
			return nil, nil, err
		case has[r.ID] || !isData(r) || !q.Query.Selects(&r.Record):
			continue
		}
		lacks = append(lacks, r.ID)
		f := &File{Kind: Against, Attestation: a, Record: r.Bytes}
		switch {
		case a.Trie == own:
			f.Reason = Withheld
			if f.NotThere, err = merkle.Prove(answer.Set(), merkle.ID(r.ID)); err != nil {
				return nil, nil, err
			}
		case before != nil && before.Trie == own && before.Size < a.Size && state.Judge(r) == space.Member:
			f.Reason, f.Other, f.Body = OlderSet, before, body
		default:
			continue
		}
		f.Proof, err = merkle.Prove(q.Trie, merkle.ID(r.ID))
		return lacks, f, err
	}
	return lacks, nil, nil
}
