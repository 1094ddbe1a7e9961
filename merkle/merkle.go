// Package merkle digests a set of IDs so that two replicas can tell whether
// they hold the same set, and anybody with the digest can check that an ID
// is in the set or is not. See docs/root.md.
//
// The digest is that of a binary trie over the bits of the IDs, most
// significant first. It depends on the set alone:
//
//	no IDs            32 zero bytes
//	at most 16 IDs    SHA-256(00 ‖ the IDs, ascending)
//	more              SHA-256(01 ‖ left ‖ right), left being the digest of
//	                  those whose next bit is 0 and right of the others
//
// Tree is such a set in memory; a store that keeps its IDs on disk
// implements Source, and everything else here works on it alike. Nothing
// takes a lock or does I/O of its own.
package merkle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// ID names one member: 32 bytes that behave like the output of a hash. The
// trie is as deep as the longest prefix that 17 IDs share.
type ID = [32]byte

// Digest is a SHA-256 hash, or 32 zero bytes for an empty set.
type Digest = [32]byte

// LeafIDs is the most IDs that one leaf holds. It is part of the format:
// a subtree is a leaf if and only if it holds no more.
const LeafIDs = 16

const (
	idBits   = 256
	maxDepth = 252 // of a leaf: its parent has 17 IDs, which leave 5 bits free

	leafTag  = 0
	innerTag = 1
)

// Source is the trie of a set that does not change. Errors are its own
// (its disk) and are returned as they are.
type Source interface {
	// Subtree counts and digests the IDs whose first depth bits are those
	// of prefix, 0 <= depth <= 256. The other bits of prefix mean nothing.
	Subtree(prefix ID, depth int) (count int, hash Digest, err error)

	// IDs returns those IDs, ascending. It is asked for subtrees of at
	// most 2*LeafIDs. The caller does not change what it gets.
	IDs(prefix ID, depth int) ([]ID, error)
}

// Hash is the count and digest of the whole set.
func Hash(src Source) (count uint64, d Digest, err error) {
	n, d, err := src.Subtree(ID{}, 0)
	return uint64(n), d, err
}

// Root is the digest that stands for what a query selects from a space, as
// two replicas compare it:
//
//	SHA-256("anabranch root 1" ‖ space ‖ SHA-256(query) ‖ count, 8 bytes
//	big-endian ‖ trie)
//
// query is empty when it selects everything.
func Root(space [32]byte, query []byte, count uint64, trie Digest) Digest {
	q := sha256.Sum256(query)
	b := make([]byte, 0, 128)
	b = append(b, "anabranch root 1"...)
	b = append(b, space[:]...)
	b = append(b, q[:]...)
	b = binary.BigEndian.AppendUint64(b, count)
	b = append(b, trie[:]...)
	return sha256.Sum256(b)
}

// leafHash digests at most LeafIDs ascending IDs.
func leafHash(ids []ID) Digest {
	if len(ids) == 0 {
		return Digest{}
	}
	var buf [1 + LeafIDs*len(ID{})]byte
	b := append(buf[:0], leafTag)
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return sha256.Sum256(b)
}

func innerHash(left, right *Digest) Digest {
	var buf [1 + 2*len(Digest{})]byte
	buf[0] = innerTag
	copy(buf[1:], left[:])
	copy(buf[1+len(left):], right[:])
	return sha256.Sum256(buf[:])
}

// bit is the bit of id at a depth, 0 being the most significant.
func bit(id *ID, depth int) int {
	return int(id[depth/8]>>(7-depth%8)) & 1
}

// flipped is id with one bit the other way.
func flipped(id ID, depth int) ID {
	id[depth/8] ^= 0x80 >> (depth % 8)
	return id
}

// matches says whether the first depth bits of x and y agree.
func matches(x, y *ID, depth int) bool {
	if n := depth / 8; !bytes.Equal(x[:n], y[:n]) {
		return false
	}
	return depth%8 == 0 || (x[depth/8]^y[depth/8])>>(8-depth%8) == 0
}

func compareIDs(x, y ID) int { return bytes.Compare(x[:], y[:]) }

// Subtree is the digest of the subtree at a depth that holds exactly these
// IDs, ascending and equal in their first depth bits: what Source.Subtree
// answers for them.
func Subtree(ids []ID, depth int) Digest {
	if len(ids) <= LeafIDs {
		return leafHash(ids)
	}
	at := cut(ids, depth)
	l, r := Subtree(ids[:at], depth+1), Subtree(ids[at:], depth+1)
	return innerHash(&l, &r)
}

// Join is the digest of a node with more than LeafIDs IDs, from those of its
// two halves.
func Join(left, right Digest) Digest { return innerHash(&left, &right) }

// Below is the part of ascending ids whose first depth bits are those of
// prefix. It shares their memory.
func Below(ids []ID, prefix ID, depth int) []ID { return matching(ids, &prefix, depth) }

// Halves are the prefixes of the two halves of a subtree: of what begins with
// prefix and goes on with a 0, and with a 1. What else is in prefix stays.
func Halves(prefix ID, depth int) (left, right ID) { return below(prefix, depth) }
