package blob

// Builder hashes content that comes in order and yields its parents in their
// order. Its memory is a group, and a value for each level of the tree. The
// zero value is ready; it never fails.
type Builder struct {
	size    uint64
	groups  uint64
	rest    []byte  // of a group that is not whole yet
	first   []byte  // the first group: alone it is hashed as a root
	stack   []Value // of complete subtrees, from the left; sizes are the bits of groups
	parents []byte  // not yet taken
	last    []byte  // the newest pair
}

// Write adds content. It returns len(p) and nil.
func (b *Builder) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(b.rest) == 0 && len(p) >= GroupBytes {
			b.group(p[:GroupBytes], groupValue(p[:GroupBytes], b.groups, false))
			p = p[GroupBytes:]
			continue
		}
		k := min(len(p), GroupBytes-len(b.rest))
		b.rest = append(b.rest, p[:k]...)
		p = p[k:]
		if len(b.rest) == GroupBytes {
			b.group(b.rest, groupValue(b.rest, b.groups, false))
			b.rest = b.rest[:0]
		}
	}
	return n, nil
}

// Add adds content whose groups were hashed elsewhere: values are what Values
// gave for data and the index Next. Only the last group of the whole content
// may be short, and after Write of part of a group Add may not be called.
func (b *Builder) Add(data []byte, values []Value) {
	for _, v := range values {
		n := min(len(data), GroupBytes)
		b.group(data[:n], v)
		data = data[n:]
	}
}

// Next is the index of the group that comes next.
func (b *Builder) Next() uint64 { return b.groups }

func (b *Builder) group(data []byte, v Value) {
	b.size += uint64(len(data))
	if b.groups == 0 {
		b.first = append([]byte(nil), data...)
	}
	b.groups++
	b.stack = append(b.stack, v)
	for n := b.groups; n&1 == 0; n >>= 1 {
		b.merge()
	}
}

// merge puts a parent over the last two subtrees.
func (b *Builder) merge() {
	n := len(b.stack)
	begin := len(b.parents)
	b.parents = append(append(b.parents, b.stack[n-2][:]...), b.stack[n-1][:]...)
	pair := b.parents[begin:]
	b.last = append(b.last[:0], pair...)
	b.stack = append(b.stack[:n-2], parentValue(pair, false))
}

// Take returns the parents that were completed since it was last called, to
// be written one after the other. It is valid until the next call of Write,
// Add or Sum.
func (b *Builder) Take() []byte {
	out := b.parents
	b.parents = b.parents[:0]
	return out
}

// Sum ends the content. It returns the name and the parents that Take has not
// returned yet. Nothing may be added afterwards.
func (b *Builder) Sum() (Name, []byte) {
	if len(b.rest) > 0 {
		b.group(b.rest, groupValue(b.rest, b.groups, false))
		b.rest = nil
	}
	if b.groups <= 1 {
		return Name{Hash(groupValue(b.first, 0, true)), b.size}, nil
	}
	for len(b.stack) > 1 {
		b.merge()
	}
	return Name{Hash(parentValue(b.last, true)), b.size}, b.Take()
}
