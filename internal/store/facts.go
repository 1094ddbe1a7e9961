package store

import (
	"bytes"
	"context"
	"fmt"
)

// Fact returns a local fact: a small value that is replicated to nobody.
func (s *Store) Fact(key string) ([]byte, bool, error) {
	r := s.now()
	defer r.release()
	v, err := r.get(factKey(key))
	return v, v != nil, err
}

// SetFact sets a fact, or deletes it if value is nil. It is durable on
// return.
func (s *Store) SetFact(ctx context.Context, key string, value []byte) error {
	op := FactOp{Key: key, Value: bytes.Clone(value)}
	if err := s.do(ctx, len(value), func(c *commit) error { return c.fact(op) }); err != nil {
		return fmt.Errorf("set fact %s: %w", key, err)
	}
	return nil
}

// Facts returns the facts whose keys begin with a prefix.
func (s *Store) Facts(prefix string) (map[string][]byte, error) {
	r := s.now()
	defer r.release()
	out := make(map[string][]byte)
	lo := factKey(prefix)
	err := each(r, lo, successor(lo), func(x row) error {
		out[string(x.key[1:])] = x.value
		return nil
	})
	return out, err
}

// FactOp changes a fact in the same batch as something else.
type FactOp struct {
	Key   string
	Value []byte // nil deletes
	// If Check is set and the fact's present value is not Old (nil: absent),
	// the whole request fails with ErrFactChanged.
	Check bool
	Old   []byte
}

func (c *commit) fact(op FactOp) error {
	key := factKey(op.Key)
	if op.Check {
		old, err := c.tx.get(key)
		if err != nil {
			return err
		}
		if (old == nil) != (op.Old == nil) || !bytes.Equal(old, op.Old) {
			return fmt.Errorf("%w: %s", ErrFactChanged, op.Key)
		}
	}
	if op.Value == nil {
		c.tx.delete(key)
	} else {
		c.tx.set(key, op.Value)
	}
	return nil
}
