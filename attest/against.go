package attest

import (
	"errors"
	"fmt"

	"anabranch/space"
)

// Contradiction says why two attestations of one author and log cannot both
// be true, or "" if they can, or are of different logs, spaces or authors. An
// honest device never signs such a pair: it keeps the log on disk before it
// speaks, and a restored home begins another log.
func Contradiction(a, b *Attestation) string {
	if a.Space != b.Space || a.Author != b.Author || a.Log != b.Log {
		return ""
	}
	if a.Size > b.Size {
		a, b = b, a
	}
	switch {
	case a.Size == b.Size && (a.Count != b.Count || a.Trie != b.Trie):
		return fmt.Sprintf("entry %d of its log is a set of %d records in one, and another set of %d in the other", a.Size, a.Count, b.Count)
	case a.Size == b.Size && a.Head != b.Head:
		return fmt.Sprintf("its log has two histories of %d entries", a.Size)
	case a.Size < b.Size && a.Time > b.Time:
		return fmt.Sprintf("its log had %d entries at %v and %d before that, at %v", a.Size, a.When(), b.Size, b.When())
	}
	return ""
}

// against checks that the device signed what cannot be true.
func (c *checker) against() error {
	f, a := c.file, c.file.Attestation
	switch f.Reason {
	case TwoStories:
		c.found.Other = f.Other
		if c.found.Detail = Contradiction(a, f.Other); c.found.Detail == "" {
			return fmt.Errorf("%w: both attestations can be true", ErrFalse)
		}
		return nil
	case FalseAnswer:
		_, err := OpenBody(f.Body, a, c.roots)
		switch {
		case err == nil:
			return fmt.Errorf("%w: the answer holds", ErrFalse)
		case !errors.Is(err, ErrFalse):
			return err
		}
		c.found.Detail = err.Error()
		return nil
	case Withheld:
		return c.withheld()
	}
	return c.olderSet()
}

// selected verifies the file's record and that the answer's query asks for it.
func (c *checker) selected() error {
	r, err := c.record()
	switch {
	case err != nil:
		return err
	case c.file.Attestation.Answer == nil:
		return fmt.Errorf("%w: the attestation answers nothing", ErrFalse)
	case !isData(r) || !c.file.Attestation.Answer.Query.Selects(&r.Record):
		return fmt.Errorf("%w: nobody asked for record %v", ErrFalse, r.ID)
	}
	return nil
}

func (c *checker) withheld() error {
	if err := c.selected(); err != nil {
		return err
	}
	a, r := c.file.Attestation, c.found.Record
	if err := inSet(c.file.Proof, a.Trie, r.ID, true); err != nil {
		return err
	}
	if err := inSet(c.file.NotThere, a.Answer.Trie, r.ID, false); err != nil {
		return err
	}
	c.found.Detail = fmt.Sprintf("record %v is in the set it attests and not in the answer that the same signature covers", r.ID)
	return nil
}

// olderSet: what a replica held is still in its set unless its control
// records and sweeps say otherwise, and those are in the answer.
func (c *checker) olderSet() error {
	if err := c.selected(); err != nil {
		return err
	}
	a, earlier, r := c.file.Attestation, c.file.Other, c.found.Record
	c.found.Other = earlier
	if a.Space != earlier.Space || a.Author != earlier.Author || a.Log != earlier.Log || earlier.Size >= a.Size {
		return fmt.Errorf("%w: the other attestation is not an earlier one of the same log", ErrFalse)
	}
	if err := inSet(c.file.Proof, earlier.Trie, r.ID, true); err != nil {
		return err
	}
	body, err := OpenBody(c.file.Body, a, c.roots)
	if err != nil {
		return err
	}
	c.found.Body = body
	for _, other := range body.Records {
		if other.ID == r.ID {
			return fmt.Errorf("%w: the answer has record %v", ErrFalse, r.ID)
		}
	}
	if v := body.state(c.roots).Judge(r); v != space.Member {
		return fmt.Errorf("%w: by the answer's control records and sweeps record %v is %v", ErrFalse, r.ID, v)
	}
	c.found.Detail = fmt.Sprintf("it attested record %v in entry %d of its log and lacked it in entry %d, though nothing it held had removed it", r.ID, earlier.Size, a.Size)
	return nil
}
