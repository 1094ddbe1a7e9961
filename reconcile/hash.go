package reconcile

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

// span is the positions [begin, end) of an index.
type span struct{ begin, end int }

// batch is how many ranges are looked at together, so that the memory of one
// is fetched while another is summed up, and two are digested in the time of
// little more than one.
const batch = 16

// block is what a fingerprint digests, always one block of SHA-256: a sum,
// how many items it is of, and the padding.
type block [sha256.BlockSize]byte

// fill writes all of b. It is false if count is too large to be written in
// eight bytes, which no index is.
func (b *block) fill(sum *Sum, count int) bool {
	for i, w := range sum {
		binary.LittleEndian.PutUint64(b[8*i:], w)
	}
	n := uint64(count)
	digits, tail := 1, n&0x7f
	for n >>= 7; n > 0; n >>= 7 {
		tail = tail<<8 | n&0x7f | 0x80
		digits++
	}
	if digits > 7 {
		return false
	}
	binary.LittleEndian.PutUint64(b[32:], tail|0x80<<(8*digits))
	binary.LittleEndian.PutUint64(b[40:], 0)
	binary.LittleEndian.PutUint64(b[48:], 0)
	binary.BigEndian.PutUint64(b[56:], uint64(8*(32+digits)))
	return true
}

// hasher digests sums as Sum.Fingerprint does, and quicker: it pads the block
// itself, and takes the digest out of the state after it. Where the processor
// can, it digests two blocks at once.
type hasher struct {
	hash    hash.Hash
	state   encoding.BinaryAppender // of hash; nil if its layout is not the known one
	blocks  [batch]block
	digests [batch]Fingerprint
	buf     []byte
}

// stateDigest is where the digest lies in a state in binary: after a magic
// of four bytes.
const stateDigest = 4

func newHasher() *hasher {
	h := &hasher{hash: sha256.New(), buf: make([]byte, 0, 128)}
	h.state, _ = h.hash.(encoding.BinaryAppender)
	sum := Sum{1, 2, 3, 4}
	h.blocks[0].fill(&sum, 300)
	if !h.single(&h.digests[0], &h.blocks[0]) || h.digests[0] != sum.Fingerprint(300) {
		h.state = nil
	}
	return h
}

// single digests one block.
func (h *hasher) single(out *Fingerprint, b *block) bool {
	if h.state == nil {
		return false
	}
	h.hash.Reset()
	h.hash.Write(b[:])
	state, err := h.state.AppendBinary(h.buf[:0])
	if err != nil || len(state) < stateDigest+len(out) {
		return false
	}
	*out = Fingerprint(state[stateDigest:])
	return true
}

// fingerprints digests the sums of some spans, a batch at most.
func (h *hasher) fingerprints(sums []Sum, spans []span, out []Fingerprint) {
	ok := true
	for i := range sums {
		ok = h.blocks[i].fill(&sums[i], spans[i].end-spans[i].begin) && ok
	}
	switch {
	case ok && paired:
		digestPairs(&h.digests[0], &h.blocks[0], (len(sums)+1)/2)
		copy(out, h.digests[:len(sums)])
	default:
		for i := range sums {
			if !ok || !h.single(&out[i], &h.blocks[i]) {
				out[i] = sums[i].Fingerprint(spans[i].end - spans[i].begin)
			}
		}
	}
}
