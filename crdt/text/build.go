package text

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// Part is a delta as a record carries it: Lane and Number are the record's own,
// ID is its hash.
type Part struct {
	Lane   uint64
	Number uint32
	ID     [32]byte
	Body   []byte
}

// Fork is a part that was left out, or whose rest was, because its lane said
// something else at one of its dots.
type Fork struct {
	Lane  uint64
	Delta []byte
	Err   *ForkError
}

// Build makes a document of parts, for one whose Apply returned a *ForkError.
// Parts are joined in the order of lane, number and ID, so that of two which
// give one dot to different characters the smaller counts; the result depends
// on the set of parts alone, not on the order in which they came. Where no
// lane equivocates it is what Apply makes of them in any order.
//
// Malformed parts are left out: they are wrong for everyone. When more wait for
// missing ones than may, ErrParkFull comes with the document of the others.
func Build(lane uint64, parts []Part) (*Doc, []Fork, error) {
	d := New(lane)
	var forks []Fork
	note := func(lane uint64, body []byte, err error) {
		var fork *ForkError
		if errors.As(err, &fork) {
			forks = append(forks, Fork{Lane: lane, Delta: body, Err: fork})
		}
	}
	todo := slices.Clone(parts)
	slices.SortFunc(todo, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.Number, b.Number), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for {
		before := len(todo)
		todo = slices.DeleteFunc(todo, func(p Part) bool {
			res, err := d.Apply(p.Lane, p.Body)
			for _, r := range res.Refused {
				note(r.Lane, r.Delta, r.Err)
			}
			note(p.Lane, p.Body, err)
			return !errors.Is(err, ErrParkFull)
		})
		switch len(todo) {
		case 0:
			return d, forks, nil
		case before:
			return d, forks, ErrParkFull
		}
	}
}
