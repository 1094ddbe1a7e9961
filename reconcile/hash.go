package reconcile

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

// hasher digests sums as Sum.Fingerprint does, in half the time: what it
// hashes always fits one block of SHA-256, so it pads the block itself and
// takes the digest out of the state after it.
type hasher struct {
	hash  hash.Hash
	state encoding.BinaryAppender // of hash; nil if its layout is not the known one
	block [sha256.BlockSize]byte
	buf   []byte
}

// stateDigest is where the digest lies in a state in binary: after a magic
// of four bytes.
const stateDigest = 4

func newHasher() *hasher {
	h := &hasher{hash: sha256.New(), buf: make([]byte, 0, 128)}
	h.state, _ = h.hash.(encoding.BinaryAppender)
	sum := Sum{1, 2, 3, 4}
	if h.state != nil && h.fingerprint(&sum, 300) != sum.Fingerprint(300) {
		h.state = nil
	}
	return h
}

func (h *hasher) fingerprint(sum *Sum, count int) Fingerprint {
	if h.state == nil {
		return sum.Fingerprint(count)
	}
	for i, w := range sum {
		binary.LittleEndian.PutUint64(h.block[8*i:], w)
	}
	clear(h.block[32:])
	n := len(appendVarint(h.block[:32], uint64(count)))
	h.block[n] = 0x80
	binary.BigEndian.PutUint64(h.block[sha256.BlockSize-8:], uint64(8*n))
	h.hash.Reset()
	h.hash.Write(h.block[:])
	state, err := h.state.AppendBinary(h.buf[:0])
	if err != nil || len(state) < stateDigest+len(Fingerprint{}) {
		return sum.Fingerprint(count)
	}
	return Fingerprint(state[stateDigest:])
}
