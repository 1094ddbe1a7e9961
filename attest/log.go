package attest

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a node of a log's tree.
type Hash = tlog.Hash

// Log is the append-only list of what one device attested in one space, as a
// Merkle tree (RFC 6962, section 2). It holds no hashes itself: Stored gives
// those at positions that Append returned, and the caller keeps them, 2 for
// each leaf on average, 32 bytes each. It costs O(log n) of them to append,
// to read a head or to prove.
type Log struct {
	Size   uint64
	Stored func(positions []int64) ([]Hash, error)
}

// hashes is the log as its library reads it.
func (l *Log) hashes() tlog.HashReader { return tlog.HashReaderFunc(l.Stored) }

// Append adds a leaf. It returns the hashes to keep, at the positions from
// first on; they must be durable before an attestation with the new head
// leaves the device. Size grows at once.
func (l *Log) Append(leaf []byte) (first int64, hashes []Hash, err error) {
	hashes, err = tlog.StoredHashes(int64(l.Size), leaf, l.hashes())
	if err != nil {
		return 0, nil, fmt.Errorf("attest: log: %w", err)
	}
	first = tlog.StoredHashCount(int64(l.Size))
	l.Size++
	return first, hashes, nil
}

// Head is the tree hash at a size, at most the log's.
func (l *Log) Head(size uint64) ([32]byte, error) {
	if size > l.Size {
		return [32]byte{}, fmt.Errorf("attest: log of %d leaves has no head at %d", l.Size, size)
	}
	h, err := tlog.TreeHash(int64(size), l.hashes())
	return h, err
}

// maxLogProof bounds a proof about a log: trees have fewer levels than this.
const maxLogProof = 64

// Grown proves that the log at one size is the beginning of the log at
// another (RFC 6962, 2.1.2).
func (l *Log) Grown(from, to uint64) ([]Hash, error) {
	if from == 0 || from > to || to > l.Size {
		return nil, fmt.Errorf("attest: log of %d leaves cannot show %d within %d", l.Size, from, to)
	}
	return tlog.ProveTree(int64(to), int64(from), l.hashes())
}

// CheckGrown checks that the log of one attestation is the beginning of that
// of another one of the same author and log, from.Size <= to.Size. The error
// wraps ErrFalse.
func CheckGrown(proof []Hash, from, to *Attestation) error {
	switch {
	case from.Author != to.Author || from.Log != to.Log || from.Space != to.Space:
		return fmt.Errorf("%w: the attestations are of different logs", ErrFalse)
	case from.Size > to.Size || len(proof) > maxLogProof:
		return fmt.Errorf("%w: no proof from %d to %d leaves", ErrFalse, from.Size, to.Size)
	}
	if err := tlog.CheckTree(tlog.TreeProof(proof), int64(to.Size), to.Head, int64(from.Size), from.Head); err != nil {
		return fmt.Errorf("%w: the log with %d leaves is not the beginning of that with %d: %w", ErrFalse, from.Size, to.Size, err)
	}
	return nil
}

// CheckNewest checks that Count and Trie of an attestation are the newest
// leaf under its head. The error wraps ErrFalse.
func CheckNewest(proof []Hash, a *Attestation) error {
	if len(proof) > maxLogProof {
		return fmt.Errorf("%w: a proof of %d hashes", ErrFalse, len(proof))
	}
	err := tlog.CheckRecord(tlog.RecordProof(proof), int64(a.Size), a.Head, int64(a.Size)-1, tlog.RecordHash(a.Leaf()))
	if err != nil {
		return fmt.Errorf("%w: what is attested is not the newest leaf of its log: %w", ErrFalse, err)
	}
	return nil
}

// Newest proves that the newest leaf of the log is under its head.
func (l *Log) Newest() ([]Hash, error) {
	if l.Size == 0 {
		return nil, errors.New("attest: the log is empty")
	}
	return tlog.ProveRecord(int64(l.Size), int64(l.Size)-1, l.hashes())
}
