package blob

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The sizes of the tree. A group is 2^4 chunks: 64 bytes of parents for every
// 16 KiB, 0.39 %, and one call of the widest vector code.
const (
	ChunkBytes  = 1 << 10
	GroupBytes  = 16 * ChunkBytes
	ParentBytes = 64 // two chaining values
	HashBytes   = 32
	NameBytes   = HashBytes + 8

	// MaxSize bounds a blob: 256 TiB, at most 34 parents above a group.
	MaxSize = 1 << 48
)

// ErrName says that something names no blob.
var ErrName = errors.New("blob: no name of a blob")

// Hash is a BLAKE3 hash.
type Hash [HashBytes]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Name is what a blob is called: its hash and its length in bytes. The hash
// alone would do to check content; with the length the shape of the tree is
// known before the first byte arrives, and so are costs.
type Name struct {
	Hash Hash
	Size uint64 // at most MaxSize
}

// String is HASH-SIZE, 64 hexadecimal characters and a decimal number.
func (n Name) String() string { return n.Hash.String() + "-" + strconv.FormatUint(n.Size, 10) }

// ParseName reads what String writes, and nothing else.
func ParseName(text string) (Name, error) {
	var n Name
	hash, size, ok := strings.Cut(text, "-")
	if !ok || len(hash) != 2*HashBytes {
		return Name{}, fmt.Errorf("%w: %.100q is not of the form HASH-SIZE", ErrName, text)
	}
	if _, err := hex.Decode(n.Hash[:], []byte(hash)); err != nil {
		return Name{}, fmt.Errorf("%w: %.100q: the hash is not hexadecimal", ErrName, text)
	}
	var err error
	if n.Size, err = strconv.ParseUint(size, 10, 64); err != nil || n.Size > MaxSize || n.String() != text {
		return Name{}, fmt.Errorf("%w: %.100q: the size is not a plain number up to %d, or the hash is not in lower case", ErrName, text, uint64(MaxSize))
	}
	return n, nil
}

// Append appends hash and size, big-endian: NameBytes bytes.
func (n Name) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, n.Hash[:]...), n.Size)
}

// DecodeName reads exactly NameBytes bytes.
func DecodeName(b []byte) (Name, error) {
	if len(b) != NameBytes {
		return Name{}, fmt.Errorf("%w: %d bytes, want %d", ErrName, len(b), NameBytes)
	}
	n := Name{Hash(b[:HashBytes]), binary.BigEndian.Uint64(b[HashBytes:])}
	if n.Size > MaxSize {
		return Name{}, fmt.Errorf("%w: a size of %d, at most %d", ErrName, n.Size, uint64(MaxSize))
	}
	return n, nil
}

// Compare orders names by hash, then by size.
func (n Name) Compare(m Name) int {
	return cmp.Or(bytes.Compare(n.Hash[:], m.Hash[:]), cmp.Compare(n.Size, m.Size))
}

// Groups is the number of groups; one, an empty one, if there is no content.
func (n Name) Groups() uint64 { return max(1, (n.Size+GroupBytes-1)/GroupBytes) }

// Parents is the number of parents, one less than Groups.
func (n Name) Parents() uint64 { return n.Groups() - 1 }

// Whole is all groups.
func (n Name) Whole() Span { return Span{0, n.Groups()} }

// Span is the groups [Begin, End).
type Span struct{ Begin, End uint64 }

// Len is the number of groups.
func (s Span) Len() uint64 { return s.End - s.Begin }

// Within reports whether a span is of this blob: not empty, not beyond its
// end, not running backwards.
func (s Span) Within(n Name) bool { return s.Begin < s.End && s.End <= n.Groups() }

// Bytes is where the content of a span lies: [begin, end) of the blob.
func (s Span) Bytes(n Name) (begin, end uint64) {
	return min(s.Begin*GroupBytes, n.Size), min(s.End*GroupBytes, n.Size)
}

// Covering is the least span that holds the bytes [begin, end); end is cut to
// the size.
func (n Name) Covering(begin, end uint64) Span {
	end = min(end, n.Size)
	if begin >= end {
		at := min(begin/GroupBytes, n.Groups()-1)
		return Span{at, at + 1}
	}
	return Span{begin / GroupBytes, (end + GroupBytes - 1) / GroupBytes}
}
