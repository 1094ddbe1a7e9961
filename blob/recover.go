package blob

import (
	"errors"
	"io"
)

// Recover finds out which groups are sound in the files of a blob that was
// not fetched to its end: nothing that stands there is believed, each group
// is checked with the parents above it. What was never written reads as
// something that does not match, and costs nothing below the first parent
// that is missing.
//
// content and parents are the two files, which may end early; a read error
// other than io.EOF ends it. trusted, which may be nil, are groups that need
// not be read again, if the parents above them are sound. Cost: a read and a
// hash of what is there and not trusted.
func Recover(name Name, content, parents io.ReaderAt, trusted *Set) (*Set, error) {
	found := NewSet(name)
	buf := make([]byte, GroupBytes)
	stack := []expected{{top(name), Value(name.Hash)}}
	for len(stack) > 0 {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		root := x.end-x.begin == name.Groups()
		part := x.part(name)
		if x.leaf() && trusted != nil && trusted.Has(x.begin) {
			found.Add(Span{x.begin, x.end})
			continue
		}
		from := parents
		if x.leaf() {
			from = content
		}
		n, err := from.ReadAt(buf[:part.Bytes], int64(part.Offset))
		if n < part.Bytes {
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			continue // not there
		}
		switch {
		case !x.leaf():
			if parentValue(buf, root) != x.value {
				continue
			}
			left, right := x.children()
			stack = append(stack, expected{right, Value(buf[32:64])}, expected{left, Value(buf[:32])})
		case groupValue(buf[:part.Bytes], x.begin, root) == x.value:
			found.Add(Span{x.begin, x.end})
		}
	}
	return found, nil
}
