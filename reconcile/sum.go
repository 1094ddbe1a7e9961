package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Fingerprint digests a set of IDs; equal sets have equal fingerprints.
// Against an adversary who may choose IDs it is only as strong as the sum
// below it; see docs/reconcile.md.
type Fingerprint [16]byte

// Sum is a sum of IDs as little-endian integers modulo 2^256, least
// significant word first. The zero Sum is that of the empty set. Sums of
// disjoint sets add up, which is what lets an index keep them in its nodes.
type Sum [4]uint64

// Add adds one ID.
func (s *Sum) Add(id *ID) { s.AddSum(sumOf(id)) }

// Sub takes one ID away.
func (s *Sum) Sub(id *ID) { s.SubSum(sumOf(id)) }

// AddSum adds the sum of another set.
func (s *Sum) AddSum(t Sum) {
	var c uint64
	s[0], c = bits.Add64(s[0], t[0], 0)
	s[1], c = bits.Add64(s[1], t[1], c)
	s[2], c = bits.Add64(s[2], t[2], c)
	s[3], _ = bits.Add64(s[3], t[3], c)
}

// SubSum takes the sum of a subset away.
func (s *Sum) SubSum(t Sum) {
	var b uint64
	s[0], b = bits.Sub64(s[0], t[0], 0)
	s[1], b = bits.Sub64(s[1], t[1], b)
	s[2], b = bits.Sub64(s[2], t[2], b)
	s[3], _ = bits.Sub64(s[3], t[3], b)
}

// Fingerprint is the first 16 bytes of SHA-256(sum, 32 bytes little-endian
// ‖ count as a varint). count is the number of IDs in the sum.
func (s Sum) Fingerprint(count int) Fingerprint {
	var buf [32 + maxVarint]byte
	for i, w := range s {
		binary.LittleEndian.PutUint64(buf[8*i:], w)
	}
	h := sha256.Sum256(appendVarint(buf[:32], uint64(count)))
	return Fingerprint(h[:16])
}

// addItems adds the IDs of items.
func (s *Sum) addItems(items []Item) {
	a, b, c, d := s[0], s[1], s[2], s[3]
	for i := range items {
		id := &items[i].ID
		var carry uint64
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(id[0:]), 0)
		b, carry = bits.Add64(b, binary.LittleEndian.Uint64(id[8:]), carry)
		c, carry = bits.Add64(c, binary.LittleEndian.Uint64(id[16:]), carry)
		d, _ = bits.Add64(d, binary.LittleEndian.Uint64(id[24:]), carry)
	}
	*s = Sum{a, b, c, d}
}

// subItems takes the IDs of items away.
func (s *Sum) subItems(items []Item) {
	a, b, c, d := s[0], s[1], s[2], s[3]
	for i := range items {
		id := &items[i].ID
		var borrow uint64
		a, borrow = bits.Sub64(a, binary.LittleEndian.Uint64(id[0:]), 0)
		b, borrow = bits.Sub64(b, binary.LittleEndian.Uint64(id[8:]), borrow)
		c, borrow = bits.Sub64(c, binary.LittleEndian.Uint64(id[16:]), borrow)
		d, _ = bits.Sub64(d, binary.LittleEndian.Uint64(id[24:]), borrow)
	}
	*s = Sum{a, b, c, d}
}

func sumOf(id *ID) Sum {
	return Sum{
		binary.LittleEndian.Uint64(id[0:]),
		binary.LittleEndian.Uint64(id[8:]),
		binary.LittleEndian.Uint64(id[16:]),
		binary.LittleEndian.Uint64(id[24:]),
	}
}
