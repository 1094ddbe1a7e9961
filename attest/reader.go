package attest

import (
	"encoding/binary"
	"fmt"
)

// reader takes fields from the front of bytes that anybody may have made.
// Once too little is left everything reads as zero; end tells. It returns
// parts of what it was given and never allocates.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || n < 0 || n > len(r.rest) {
		r.short = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) hash() (h [32]byte) {
	copy(h[:], r.take(len(h)))
	return h
}

// block reads a length in four bytes and that many bytes, at most most.
func (r *reader) block(most int) []byte {
	n := r.uint32()
	if uint64(n) > uint64(most) {
		r.short = true
		return nil
	}
	return r.take(int(n))
}

// blocks reads a count in four bytes and that many blocks.
func (r *reader) blocks(mostBytes int) [][]byte {
	n := r.uint32()
	if uint64(n)*4 > uint64(len(r.rest)) {
		r.short = true
		return nil
	}
	list := make([][]byte, 0, min(n, 1024))
	for ; n > 0 && !r.short; n-- {
		list = append(list, r.block(mostBytes))
	}
	return list
}

func (r *reader) end(what string) error {
	switch {
	case r.short:
		return fmt.Errorf("%w %s: cut short, or a length beyond its bound", ErrEncoding, what)
	case len(r.rest) > 0:
		return fmt.Errorf("%w %s: %d bytes after the end", ErrEncoding, what, len(r.rest))
	}
	return nil
}

func appendBlock(b, block []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(block))), block...)
}

func appendBlocks(b []byte, blocks [][]byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(blocks)))
	for _, block := range blocks {
		b = appendBlock(b, block)
	}
	return b
}
