package store

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"anabranch/record"
)

// ErrLaneLeft says that the author does not write in that lane here any more.
var ErrLaneLeft = errors.New("store: the lane was left")

// Lane is the lane in which an author's next record is written here. It opens
// a fresh one if there is none, or if the present one is the one to avoid; 0
// avoids none.
func (sp *Space) Lane(ctx context.Context, author record.Key, avoid uint64) (lane uint64, err error) {
	err = sp.store.do(ctx, 0, func(c *commit) error {
		w := c.work(sp)
		if sp.lanes[author].lane == avoid && avoid != 0 {
			w.own[author] = ownLane{}
		}
		own, err := w.ownLane(author)
		lane = own.lane
		w.own[author] = own
		return err
	})
	return lane, err
}

// WriteIn is Write for drafts that say something of the lane they are written
// in, and changes facts in the same batch. ErrLaneLeft when it is not the
// author's lane here; nothing is stored then.
func (sp *Space) WriteIn(ctx context.Context, author ed25519.PrivateKey, lane, now uint64, facts []FactOp, drafts ...Draft) ([]*record.Verified, error) {
	key := record.Public(author)
	sp.KeepAuthor(key)
	size := 0
	for _, d := range drafts {
		size += len(d.Payload) + recordRows
	}
	for _, f := range facts {
		size += len(f.Value)
	}
	var out []*record.Verified
	run := func(c *commit) error {
		w := c.work(sp)
		for _, op := range facts {
			if err := c.fact(op); err != nil {
				return err
			}
		}
		written := make([]*record.Verified, 0, len(drafts))
		for _, d := range drafts {
			own, err := w.ownLane(key)
			if err != nil {
				return err
			}
			if own.lane != lane {
				return fmt.Errorf("%w: write %s", ErrLaneLeft, d.Path)
			}
			r, err := w.write(author, now, d)
			if err != nil {
				return fmt.Errorf("write %s: %w", d.Path, err)
			}
			written = append(written, r)
		}
		out = written
		return nil
	}
	err := sp.store.ask(&request{ctx: ctx, bytes: size, run: run, done: make(chan error, 1), drafts: true, adds: true})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Place is a live record at a path, as the path order knows it.
type Place struct {
	Number uint64 // of its arrival
	Time   uint64
}

// Places lists the live records of a kind at a path, oldest first, without
// reading them: 1 µs each or less.
func (v *Snapshot) Places(path string, kind record.Kind) ([]Place, error) {
	rows, err := v.reader()
	if err != nil {
		return nil, err
	}
	var out []Place
	prefix := kindPrefix(v.space.number, path, kind)
	err = each(rows, prefix, successor(prefix), func(x row) error {
		e, err := decodePath(x.key, x.value)
		if err != nil {
			return err
		}
		if _, gone := v.gone[e.n]; !gone {
			out = append(out, Place{Number: e.n, Time: e.time})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("places of %s: %w", path, err)
	}
	return out, nil
}

// Newest is the greatest time of a live record of a kind at a path, 0 if there
// is none. Cost: one seek.
func (v *Snapshot) Newest(path string, kind record.Kind) (uint64, error) {
	rows, err := v.reader()
	if err != nil {
		return 0, err
	}
	lo := kindPrefix(v.space.number, path, kind)
	x, err := rows.last(lo, successor(lo))
	if err != nil || x.key == nil {
		return 0, err
	}
	e, err := decodePath(x.key, x.value)
	return e.time, err
}

// Paths yields the paths at and below one that have live records of a kind,
// in order. ErrDamaged, or what fn returns, ends it.
func (v *Snapshot) Paths(below string, kind record.Kind, fn func(path string) error) error {
	last := ""
	return v.paths(&Query{Prefix: below, Kinds: []record.Kind{kind}}, func(e pathEntry, _ reader) error {
		if e.path == last {
			return nil
		}
		last = e.path
		return fn(e.path)
	})
}
