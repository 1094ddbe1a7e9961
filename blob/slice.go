package blob

import (
	"errors"
	"fmt"
)

// A slice is how a span travels: from the root down, left before right, each
// parent above a group of the span, and each group of it. Nothing says what
// comes next: name and span tell both sides.

// Part is one piece of a slice.
type Part struct {
	Group  bool
	Index  uint64 // of the group, or of the parent in the order of Builder
	Offset uint64 // of the group in the content, or of the parent in their file
	Bytes  int    // ParentBytes, or what the group has; 0 for an empty blob
}

var (
	// ErrSpan says that a span is empty, runs backwards or leaves the blob.
	ErrSpan = errors.New("blob: no such range")
	// ErrFalse says that bytes are not those of the blob: whoever sent them lies
	// or is broken.
	ErrFalse = errors.New("blob: content does not match its name")
	// ErrExcess says that more bytes came than the slice has.
	ErrExcess = errors.New("blob: more bytes than the range has")
)

// Walk yields the parts of a slice in their order until yield returns false.
// Its cost is that of the parts and of the depth of the tree.
func Walk(name Name, span Span, yield func(Part) bool) error {
	if !span.Within(name) {
		return fmt.Errorf("%w: groups %d to %d of %d", ErrSpan, span.Begin, span.End, name.Groups())
	}
	stack := []node{top(name)}
	for len(stack) > 0 {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !yield(x.part(name)) {
			return nil
		}
		stack = x.push(stack, span)
	}
	return nil
}

func (x node) part(name Name) Part {
	if x.leaf() {
		begin, end := Span{x.begin, x.end}.Bytes(name)
		return Part{Group: true, Index: x.begin, Offset: begin, Bytes: int(end - begin)}
	}
	return Part{Index: x.parent(), Offset: x.parent() * ParentBytes, Bytes: ParentBytes}
}

// push puts the children that a span needs on a stack, the left one on top.
func (x node) push(stack []node, span Span) []node {
	if x.leaf() {
		return stack
	}
	left, right := x.children()
	if right.meets(span) {
		stack = append(stack, right)
	}
	if left.meets(span) {
		stack = append(stack, left)
	}
	return stack
}

// SliceBytes is the length of a slice, and of the parents in it; 0 for a span
// that is not within the blob.
func SliceBytes(name Name, span Span) (total, parents uint64) {
	if !span.Within(name) {
		return 0, 0
	}
	// A parent is in it unless all of its groups are outside. Count by levels.
	var count func(x node) uint64
	count = func(x node) uint64 {
		switch {
		case x.leaf() || !x.meets(span):
			return 0
		case span.Begin <= x.begin && x.end <= span.End:
			return x.end - x.begin - 1
		}
		left, right := x.children()
		return 1 + count(left) + count(right)
	}
	parents = count(top(name)) * ParentBytes
	begin, end := span.Bytes(name)
	return parents + end - begin, parents
}

// Parent is a checked pair of values and where it belongs in the file of
// parents.
type Parent struct {
	Index uint64
	Pair  [ParentBytes]byte
}

// Decoder checks a slice as it arrives, in pieces of any size. A group counts
// only when it is whole and matches the name.
type Decoder struct {
	name    Name
	span    Span
	out     []byte
	good    int // bytes of out that are checked
	got     int // bytes of the present part
	stack   []expected
	pair    [ParentBytes]byte
	parents []Parent
	err     error
}

type expected struct {
	node
	value Value
}

// NewDecoder expects a slice of a span. out gets the content; it must be as
// long as the span's, and is the caller's again when the decoder is done
// with. parents is appended to.
func NewDecoder(name Name, span Span, out []byte, parents []Parent) (*Decoder, error) {
	if !span.Within(name) {
		return nil, fmt.Errorf("%w: groups %d to %d of %d", ErrSpan, span.Begin, span.End, name.Groups())
	}
	if begin, end := span.Bytes(name); uint64(len(out)) != end-begin {
		return nil, fmt.Errorf("%w: room for %d bytes, the range has %d", ErrSpan, len(out), end-begin)
	}
	d := &Decoder{name: name, span: span, out: out, parents: parents}
	d.stack = append(d.stack, expected{top(name), Value(name.Hash)})
	d.settle()
	return d, d.err
}

// Feed takes the next bytes. The error is ErrFalse or ErrExcess, and stays.
func (d *Decoder) Feed(p []byte) error {
	for len(p) > 0 && d.err == nil {
		if len(d.stack) == 0 {
			d.err = fmt.Errorf("%w: %d bytes", ErrExcess, len(p))
			break
		}
		x := &d.stack[len(d.stack)-1]
		room := d.pair[:]
		if x.leaf() {
			room = d.out[d.good : d.good+x.part(d.name).Bytes]
		}
		k := copy(room[d.got:], p)
		d.got += k
		p = p[k:]
		if d.got == len(room) {
			d.check(room)
		}
	}
	return d.err
}

// settle takes the empty group of an empty blob, for which nothing arrives.
func (d *Decoder) settle() {
	if d.name.Size == 0 {
		d.check(nil)
	}
}

func (d *Decoder) check(part []byte) {
	x := d.stack[len(d.stack)-1]
	d.stack, d.got = d.stack[:len(d.stack)-1], 0
	root := x.end-x.begin == d.name.Groups()
	if x.leaf() {
		if groupValue(part, x.begin, root) != x.value {
			d.err = fmt.Errorf("%w: group %d of %s", ErrFalse, x.begin, d.name)
			return
		}
		d.good += len(part)
		return
	}
	if parentValue(part, root) != x.value {
		d.err = fmt.Errorf("%w: parent over groups %d to %d of %s", ErrFalse, x.begin, x.end, d.name)
		return
	}
	d.parents = append(d.parents, Parent{x.parent(), d.pair})
	left, right := x.children()
	if right.meets(d.span) {
		d.stack = append(d.stack, expected{right, Value(part[32:])})
	}
	if left.meets(d.span) {
		d.stack = append(d.stack, expected{left, Value(part[:32])})
	}
}

// Done reports whether the whole span is checked.
func (d *Decoder) Done() bool { return d.err == nil && len(d.stack) == 0 }

// Checked is the span of the groups that are whole and right, from the
// beginning of the one that was asked for; also after an error.
func (d *Decoder) Checked() Span {
	if len(d.stack) == 0 && d.err == nil {
		return d.span
	}
	return Span{d.span.Begin, d.span.Begin + uint64(d.good)/GroupBytes}
}

// Parents are those that were checked so far, each right whatever came after.
func (d *Decoder) Parents() []Parent { return d.parents }
