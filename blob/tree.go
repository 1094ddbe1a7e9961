package blob

import (
	"encoding/binary"
	"math/bits"

	"lukechampine.com/blake3/guts"
)

// Value is the chaining value of a subtree: what stands for it in its parent.
type Value [32]byte

func fromWords(w [8]uint32) (v Value) {
	for i, x := range w {
		binary.LittleEndian.PutUint32(v[4*i:], x)
	}
	return v
}

func (v *Value) words() (w [8]uint32) {
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(v[4*i:])
	}
	return w
}

// groupNode hashes one group up to its own node. index is the group's.
func groupNode(group []byte, index uint64) guts.Node {
	if len(group) == GroupBytes {
		return guts.CompressBuffer((*[GroupBytes]byte)(group), GroupBytes, &guts.IV, index*(GroupBytes/ChunkBytes), 0)
	}
	var whole [GroupBytes]byte
	copy(whole[:], group)
	return guts.CompressBuffer(&whole, len(group), &guts.IV, index*(GroupBytes/ChunkBytes), 0)
}

// groupValue is what a group is called in its parent; of a blob that has only
// one, it is the hash.
func groupValue(group []byte, index uint64, root bool) Value {
	node := groupNode(group, index)
	if root {
		node.Flags |= guts.FlagRoot
	}
	return fromWords(guts.ChainingValue(node))
}

// parentValue is likewise for a pair of values.
func parentValue(pair []byte, root bool) Value {
	left, right := Value(pair[:32]), Value(pair[32:64])
	var flags uint32
	if root {
		flags = guts.FlagRoot
	}
	return fromWords(guts.ChainingValue(guts.ParentNode(left.words(), right.words(), &guts.IV, flags)))
}

// Values hashes the groups of data, of which only the last may be short.
// first is the index of the first of them. They are independent of each
// other: several callers may share the work.
func Values(dst []Value, data []byte, first uint64) []Value {
	for len(data) > 0 {
		n := min(len(data), GroupBytes)
		dst = append(dst, groupValue(data[:n], first, false))
		data, first = data[n:], first+1
	}
	return dst
}

// Sum is the name of content that is in memory.
func Sum(content []byte) Name {
	var b Builder
	b.Write(content)
	name, _ := b.Sum()
	return name
}

// split is how many of n groups, two or more, lie left of their parent: the
// greatest power of two below n.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// Parents are numbered in post-order: the left subtree, the right one, then
// the parent of both. So those of whole subtrees never move while content is
// appended, and a file of them is written from front to back.

// node is a subtree: the groups [begin, end), and below how many parents
// come before it.
type node struct{ begin, end, below uint64 }

func top(n Name) node { return node{0, n.Groups(), 0} }

func (x node) leaf() bool     { return x.end-x.begin == 1 }
func (x node) parent() uint64 { return x.below + (x.end - x.begin) - 2 }
func (x node) children() (left, right node) {
	l := split(x.end - x.begin)
	return node{x.begin, x.begin + l, x.below}, node{x.begin + l, x.end, x.below + l - 1}
}
func (x node) meets(s Span) bool { return x.begin < s.End && s.Begin < x.end }
