package crdt

import "encoding/binary"

// AppendUvarint appends v as an unsigned LEB128 number: seven bits a byte, the
// low ones first, in as few bytes as it takes.
func AppendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// Uvarint reads the number that b starts with and its length in bytes. The
// length is 0 when b is no number: cut off, above 64 bits, or written in more
// bytes than it takes. So each number has one spelling.
func Uvarint(b []byte) (v uint64, n int) {
	// Most numbers have up to three bytes.
	if len(b) >= 3 {
		switch {
		case b[0] < 0x80:
			return uint64(b[0]), 1
		case b[1] < 0x80 && b[1] > 0:
			return uint64(b[0]&0x7f) | uint64(b[1])<<7, 2
		case b[1] >= 0x80 && b[2] < 0x80 && b[2] > 0:
			return uint64(b[0]&0x7f) | uint64(b[1]&0x7f)<<7 | uint64(b[2])<<14, 3
		}
	}
	v, n = binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}
