package anabranch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"anabranch/attest"
	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

func proveIn(src merkle.Source, id record.ID) (merkle.Proof, error) {
	return merkle.Prove(src, merkle.ID(id))
}

// Prove makes a file that shows, to whoever knows the space's ID, that a
// record is in the set that this device holds now: one at a path (the
// document that is read there) or with an ID, of which the beginning is
// enough. Of a whole ID that is not in the set it shows the absence. See
// attest.Check.
//
// Errors worth matching: ErrNotFound, ErrAmbiguous, ErrNotMember.
func (s *Space) Prove(ctx context.Context, what string) ([]byte, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	f := &attest.File{Kind: attest.Member}
	var r *Record
	if strings.HasPrefix(what, "/") {
		reading, err := view.Resolve(what, s.replica.now())
		if err != nil {
			return nil, err
		}
		if r = reading.Doc; r == nil {
			return nil, fmt.Errorf("%w: no document at %q", ErrNotFound, what)
		}
	} else if r, err = s.FindRecord(ctx, what); errors.Is(err, ErrNotFound) {
		id, bad := record.ParseID(what)
		if bad != nil {
			return nil, err
		}
		f.Kind, f.ID = attest.Absent, id
	} else if err != nil {
		return nil, err
	}
	if f.Attestation, _, err = s.attest(ctx, view, nil, nil); err != nil {
		return nil, err
	}
	var authors []record.Key
	if r != nil {
		f.Record, f.ID = r.Bytes, r.ID
		if r.Kind != record.Sweep {
			authors = append(authors, r.Author)
		}
	}
	if f.Proof, err = proveIn(view.Trie(), f.ID); err != nil {
		return nil, err
	}
	if err := s.sealFile(view, f, authors...); err != nil {
		return nil, fmt.Errorf("anabranch: prove: %w", err)
	}
	return f.Encode(), nil
}

// ProveWhole makes a file that shows everything that a query selects in the
// set that this device holds now, and by this device's word that there is no
// more. Errors worth matching: ErrTooLong, ErrNotMember.
func (s *Space) ProveWhole(ctx context.Context, q space.Query) ([]byte, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	a, _, body, err := s.answered(question{query: q}, view)
	if err != nil {
		return nil, err
	}
	f := &attest.File{Kind: attest.Whole, Attestation: a, Body: body}
	if err := s.sealFile(view, f); err != nil {
		return nil, fmt.Errorf("anabranch: prove: %w", err)
	}
	return f.Encode(), nil
}

// ProveAgainst returns the evidence held against a device. ErrNotFound if
// there is none.
func (s *Space) ProveAgainst(device record.Key) ([]byte, error) {
	all, err := s.Evidence()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(c Caught) bool { return c.Device == device })
	if i < 0 {
		return nil, fmt.Errorf("%w: nothing is held against device %v", ErrNotFound, short(device))
	}
	return all[i].Proof, nil
}

// PathQuery selects a path and what lies below it.
func PathQuery(path string) (space.Query, error) {
	if err := record.CheckPath(path); err != nil {
		return space.Query{}, err
	}
	if path == "/" {
		return space.Query{}, nil
	}
	return space.Query{Prefix: path}, nil
}
