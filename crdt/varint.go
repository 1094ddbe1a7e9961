package crdt

import "encoding/binary"

// AppendUvarint appends v as an unsigned LEB128 number: seven bits a byte, the
// low ones first, in as few bytes as it takes.
func AppendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// Uvarint reads the number that b starts with and its length in bytes. The
// length is 0 when b is no number: cut off, above 64 bits, or written in more
// bytes than it takes. So each number has one spelling.
func Uvarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return uvarint(b)
}

func uvarint(b []byte) (uint64, int) {
	v, n := binary.Uvarint(b)
	if n <= 0 || b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}
