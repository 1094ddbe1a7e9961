package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Place names where and when this store is open: its identity, the boot, and
// the device and inode of its folder. Two copies of a store have two places,
// and so has one store after a reboot. It is "" where that cannot be told.
// What is kept under this name in a folder that backups do not carry is
// known to be this copy's own.
func (s *Store) Place() string {
	if s.dir == "" {
		return ""
	}
	p, ok := whereIs(s.dir)
	if !ok {
		return ""
	}
	l := lease{store: s, place: p}
	name := sha256.Sum256(l.head())
	return hex.EncodeToString(name[:8])
}

// SetFacts changes facts in one batch: all of them are durable on return, or
// none was changed.
func (s *Store) SetFacts(ctx context.Context, ops ...FactOp) error {
	size := 0
	for _, op := range ops {
		size += len(op.Key) + len(op.Value)
	}
	err := s.do(ctx, size, func(c *commit) error {
		for _, op := range ops {
			if err := c.fact(op); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set %d facts: %w", len(ops), err)
	}
	return nil
}
