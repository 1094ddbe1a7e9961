package attest

import (
	"fmt"
	"time"

	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// Finding is what a file was found to show.
type Finding struct {
	Kind        Kind
	Space       record.SpaceID
	Attestation *Attestation
	Device      record.Key // the device that attests; zero if it signs with a root key

	Record *record.Verified // Member; Against: withheld, or of an older set
	ID     record.ID        // Absent
	Body   *Body            // Whole; Against: of an older set

	Reason Reason       // Against
	Other  *Attestation // Against: the second story, or the earlier one
	Detail string       // Against: what exactly is wrong
}

// Check verifies a file with nothing but the name of the space. An error
// means that the file shows nothing: it wraps ErrEncoding, ErrSignature,
// ErrFalse, or an error of the genesis. It costs a few signatures and
// hashes, and for an answer one signature a record.
func Check(b []byte, name record.SpaceID) (*Finding, error) {
	f, err := DecodeFile(b)
	if err != nil {
		return nil, err
	}
	genesis, err := space.DecodeGenesis(f.Genesis)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	if genesis.ID() != name {
		return nil, fmt.Errorf("%w: the file is about space %v", ErrFalse, genesis.ID())
	}
	if f.Attestation.Space != name {
		return nil, fmt.Errorf("%w: the attestation is about space %v", ErrFalse, f.Attestation.Space)
	}
	state, err := openChain(name, genesis.Roots, f.Chain)
	if err != nil {
		return nil, err
	}
	found := &Finding{Kind: f.Kind, Space: name, Attestation: f.Attestation, Reason: f.Reason, ID: f.ID}
	if found.Device, err = authorised(state, f.Attestation.Author); err != nil {
		return nil, err
	}
	c := checker{file: f, found: found, state: state, roots: genesis.Roots}
	switch f.Kind {
	case Member:
		err = c.member()
	case Absent:
		err = c.absent()
	case Whole:
		found.Body, err = OpenBody(f.Body, f.Attestation, genesis.Roots)
	case Against:
		err = c.against()
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

type checker struct {
	file  *File
	found *Finding
	state *space.State // of the file's grants
	roots []record.Key
}

func (c *checker) member() error {
	r, err := c.record()
	if err != nil {
		return err
	}
	if r.Kind != record.Sweep {
		if _, err := authorised(c.state, r.Author); err != nil {
			return err
		}
	}
	return inSet(c.file.Proof, c.file.Attestation.Trie, r.ID, true)
}

func (c *checker) absent() error {
	return inSet(c.file.Proof, c.file.Attestation.Trie, c.file.ID, false)
}

// record verifies the file's record.
func (c *checker) record() (*record.Verified, error) {
	rs, errs := record.VerifyBatch(c.found.Space, [][]byte{c.file.Record})
	if errs[0] != nil {
		return nil, fmt.Errorf("%w: its record: %w", ErrFalse, errs[0])
	}
	c.found.Record = rs[0]
	return rs[0], nil
}

func inSet(p merkle.Proof, trie merkle.Digest, id record.ID, want bool) error {
	present, err := p.Verify(trie, merkle.ID(id))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFalse, err)
	case present && !want:
		return fmt.Errorf("%w: record %v is in the set, not absent", ErrFalse, id)
	case !present && want:
		return fmt.Errorf("%w: record %v is absent from the set", ErrFalse, id)
	}
	return nil
}

// When is the time of an attestation as a clock shows it, to the second.
func (a *Attestation) When() time.Time {
	return time.UnixMicro(int64(a.Time)).UTC().Truncate(time.Second)
}
