package space

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"anabranch/record"
)

// ErrQuery is wrapped by every error about a query that is not well formed or
// not in its one spelling.
var ErrQuery = errors.New("space: malformed query")

// MaxPathBound is the most bytes that a bound of a path range may have.
const MaxPathBound = 1024

// Query says which records of a space are meant. Its zero value means all.
// The root of a query covers what it Selects, all standing control, and the
// sweeps that Concern it: what somebody needs who holds that part and no
// more. See docs/root.md.
type Query struct {
	Authors []record.Key // strictly ascending; none: all
	Prefix  string       // this path and all below it; "": all. Never "/"
	// Gte <= path < Lte, compared by bytes, if either is set; not with Prefix.
	// At most MaxPathBound bytes each; an empty Lte has no path below it.
	Gte, Lte string
	Kinds    []record.Kind // strictly ascending; none: all
	From, To uint64        // From <= time < To in microseconds since 1970; To 0: no end
}

// Check reports the first field that breaks these rules, as an error that
// wraps ErrQuery.
func (q Query) Check() error {
	switch {
	case len(q.Authors) > 1<<16-1:
		return fmt.Errorf("%w: %d authors", ErrQuery, len(q.Authors))
	case !ascending(q.Authors, record.Key.Compare):
		return fmt.Errorf("%w: authors not strictly ascending", ErrQuery)
	case len(q.Kinds) > 1<<8-1:
		return fmt.Errorf("%w: %d kinds", ErrQuery, len(q.Kinds))
	case !ascending(q.Kinds, func(a, b record.Kind) int { return int(a) - int(b) }):
		return fmt.Errorf("%w: kinds not strictly ascending", ErrQuery)
	case q.Prefix == "/":
		return fmt.Errorf(`%w: the prefix "/" is written as none`, ErrQuery)
	case q.Prefix != "" && q.ranged():
		return fmt.Errorf("%w: both a path prefix and a path range", ErrQuery)
	case len(q.Gte) > MaxPathBound || len(q.Lte) > MaxPathBound:
		return fmt.Errorf("%w: a path bound of more than %d bytes", ErrQuery, MaxPathBound)
	case q.ranged() && q.Lte <= q.Gte:
		return fmt.Errorf("%w: the path range is empty", ErrQuery)
	case q.To != 0 && q.To <= q.From:
		return fmt.Errorf("%w: the range of time is empty", ErrQuery)
	}
	if q.Prefix != "" {
		if err := record.CheckPath(q.Prefix); err != nil {
			return fmt.Errorf("%w: %w", ErrQuery, err)
		}
	}
	return nil
}

func (q Query) ranged() bool { return q.Gte != "" || q.Lte != "" }

// All reports whether the query selects everything.
func (q Query) All() bool {
	return len(q.Authors) == 0 && q.Prefix == "" && !q.ranged() && len(q.Kinds) == 0 && q.From == 0 && q.To == 0
}

// Selects reports whether the query selects a record that is neither control
// nor sweep, going by its fields alone.
func (q Query) Selects(r *record.Record) bool {
	return q.author(r.Author) &&
		(q.Prefix == "" || record.Covers(q.Prefix, r.Path)) &&
		(!q.ranged() || q.Gte <= r.Path && r.Path < q.Lte) &&
		(len(q.Kinds) == 0 || slices.Contains(q.Kinds, r.Kind)) &&
		q.From <= r.Time && (q.To == 0 || r.Time < q.To)
}

// Concerns reports whether a sweep belongs to the root of the query: its
// author is admitted and its area has a path in common with the query's.
// Kinds and times select neither control nor sweeps.
func (q Query) Concerns(sweep *record.Record) bool {
	if !q.author(sweep.Author) {
		return false
	}
	area := sweep.Path
	switch {
	case area == "/":
		return true
	case q.Prefix != "":
		return record.Covers(q.Prefix, area) || record.Covers(area, q.Prefix)
	case q.ranged():
		// The area is its own path and everything in [area"/", area"0").
		return q.Gte <= area && area < q.Lte || q.Gte < area+"0" && area+"/" < q.Lte
	}
	return true
}

func (q Query) author(k record.Key) bool {
	if len(q.Authors) == 0 {
		return true
	}
	_, found := slices.BinarySearchFunc(q.Authors, k, record.Key.Compare)
	return found
}

const (
	queryVersion = 1

	pathAll    = 0
	pathPrefix = 1
	pathRange  = 2
)

// Encode returns the query's one spelling: no bytes if it selects everything,
// otherwise, integers big-endian,
//
//	version 1 ‖ n 2 ‖ n authors of 32 ‖ path ‖ m 1 ‖ m kinds ‖ from 8 ‖ to 8
//	path: 0 | 1 ‖ length 2 ‖ prefix | 2 ‖ length 2 ‖ gte ‖ length 2 ‖ lte
//
// It is what DecodeQuery accepts, for a query that passes Check.
func (q Query) Encode() []byte {
	if q.All() {
		return nil
	}
	b := binary.BigEndian.AppendUint16([]byte{queryVersion}, uint16(len(q.Authors)))
	for _, k := range q.Authors {
		b = append(b, k[:]...)
	}
	text := func(s string) { b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	switch {
	case q.Prefix != "":
		b = append(b, pathPrefix)
		text(q.Prefix)
	case q.ranged():
		b = append(b, pathRange)
		text(q.Gte)
		text(q.Lte)
	default:
		b = append(b, pathAll)
	}
	b = append(b, byte(len(q.Kinds)))
	for _, k := range q.Kinds {
		b = append(b, byte(k))
	}
	b = binary.BigEndian.AppendUint64(b, q.From)
	return binary.BigEndian.AppendUint64(b, q.To)
}

// DecodeQuery is the reverse of Encode. It accepts no other spelling; errors
// wrap ErrQuery. It allocates no more than the length of b warrants.
func DecodeQuery(b []byte) (Query, error) {
	var q Query
	if len(b) == 0 {
		return q, nil
	}
	r := queryReader{rest: b}
	if v := r.byte(); !r.short && v != queryVersion {
		return q, fmt.Errorf("%w: version %d", ErrQuery, v)
	}
	for n := r.uint16(); n > 0 && !r.short; n-- {
		if k := r.take(len(record.Key{})); !r.short {
			q.Authors = append(q.Authors, record.Key(k))
		}
	}
	switch kind := r.byte(); kind {
	case pathAll:
	case pathPrefix:
		if q.Prefix = r.text(); q.Prefix == "" && !r.short {
			return q, fmt.Errorf("%w: an empty prefix is written as none", ErrQuery)
		}
	case pathRange:
		q.Gte, q.Lte = r.text(), r.text()
		if !q.ranged() && !r.short {
			return q, fmt.Errorf("%w: a path range without bounds", ErrQuery)
		}
	default:
		return q, fmt.Errorf("%w: path of kind %d", ErrQuery, kind)
	}
	for _, k := range r.take(int(r.byte())) {
		q.Kinds = append(q.Kinds, record.Kind(k))
	}
	q.From, q.To = r.uint64(), r.uint64()
	switch {
	case r.short:
		return q, fmt.Errorf("%w: %d bytes are too few", ErrQuery, len(b))
	case len(r.rest) > 0:
		return q, fmt.Errorf("%w: %d bytes after the end", ErrQuery, len(r.rest))
	case q.All():
		return q, fmt.Errorf("%w: a query for everything is written as none", ErrQuery)
	}
	return q, q.Check()
}

// queryReader reads from the front; short is set once too little is left, and
// then everything reads as zero.
type queryReader struct {
	rest  []byte
	short bool
}

func (r *queryReader) take(n int) []byte {
	if r.short || n > len(r.rest) {
		r.short = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *queryReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *queryReader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *queryReader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *queryReader) text() string { return string(r.take(int(r.uint16()))) }

// ascending reports whether a list has neither duplicates nor disorder.
func ascending[T any](list []T, compare func(a, b T) int) bool {
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}
