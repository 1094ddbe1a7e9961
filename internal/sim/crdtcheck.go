package sim

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/record"
)

// book is C14. It knows of each change of a document what it added, and what
// its writer saw and removed, and of each record which changes it speaks of; so
// it knows what a set of records must read as, by the plainest rule: all that
// was added, but for what somebody removed who had seen it.
type book struct {
	w      *world
	events []happened
	pages  map[record.ID]page
	parsed map[record.ID]*crdt.State
	values map[[32]byte][32]byte // by a set of records of a path: what they make
}

// happened is one thing that was added to a document.
type happened struct {
	path, what string
	by         int64  // counters: how much
	lane       uint64 // and in which lane
}

// page is what records speak of, by the numbers of what happened.
type page struct{ has, gone set }

// set is a set of small numbers.
type set []uint64

func (s *set) add(i int) {
	for len(*s) <= i/64 {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s *set) join(o set) {
	for len(*s) < len(o) {
		*s = append(*s, 0)
	}
	for i, v := range o {
		(*s)[i] |= v
	}
}

// keep leaves what is in o, too.
func (s set) keep(o set) {
	for i := range s {
		if i >= len(o) {
			s[i] = 0
		} else {
			s[i] &= o[i]
		}
	}
}

// cut takes out what is in o.
func (s set) cut(o set) {
	for i := range min(len(s), len(o)) {
		s[i] &^= o[i]
	}
}

func (s set) all(yield func(int) bool) {
	for i, v := range s {
		for ; v != 0; v &= v - 1 {
			if !yield(i*64 + bits.TrailingZeros64(v)) {
				return
			}
		}
	}
}

// present is what was added and nobody removed.
func (p page) present() set {
	out := slices.Clone(p.has)
	out.cut(p.gone)
	return out
}

func (b *book) begin(w *world) {
	*b = book{w: w, pages: map[record.ID]page{}, parsed: map[record.ID]*crdt.State{}, values: map[[32]byte][32]byte{}}
}

// adds says that a change adds something, removes that it removes what its
// writer saw: all that is called so, or whose name begins with prefix.
func (e *editing) adds(what string, by int64) {
	e.says.has.add(len(e.book.events))
	e.book.events = append(e.book.events, happened{e.path, what, by, e.w.Lane})
}

func (e *editing) removes(prefix, what string) {
	for i := range e.seen.present().all {
		h := e.book.events[i]
		if h.path == e.path && (h.what == what || prefix != "" && strings.HasPrefix(h.what, prefix)) {
			e.says.gone.add(i)
		}
	}
}

// resets says that a change takes a counter back to nothing: all that its
// writer saw is gone, and it says so again of what others had reset before.
func (e *editing) resets() {
	for i := range e.seen.has.all {
		if e.book.events[i].path == e.path {
			e.says.gone.add(i)
		}
	}
}

// totals is what a lane has added to a counter, as far as somebody saw.
func (b *book) totals(seen page, path string, lane uint64) (out set) {
	for i := range seen.has.all {
		if h := b.events[i]; h.path == path && h.lane == lane {
			out.add(i)
		}
	}
	return out
}

// seen is all that records speak of.
func (b *book) seen(parts []*record.Verified) (p page) {
	for _, v := range parts {
		said := b.pages[v.ID]
		p.has.join(said.has)
		p.gone.join(said.gone)
	}
	return p
}

func (b *book) states(parts []*record.Verified) []*crdt.State {
	out := make([]*crdt.State, len(parts))
	for i, v := range parts {
		s := b.parsed[v.ID]
		if s == nil {
			var err error
			if s, err = crdt.DecodeState(v.Payload); err != nil {
				b.w.violate("C14", "a delta at %s is refused: %v", v.Path, err)
				s = new(crdt.State)
			}
			b.parsed[v.ID] = s
		}
		out[i] = s
	}
	return out
}

func (b *book) join(parts []*record.Verified) *crdt.State { return crdt.JoinAll(b.states(parts)...) }

// type_ joins deltas into a text.
func (b *book) type_(doc *text.Doc, parts []*record.Verified) error {
	for _, v := range parts {
		for lane, body := range saidBy(v) {
			if _, err := doc.Apply(laneIn(v.Author, lane), body); err != nil {
				return err
			}
		}
	}
	return nil
}

// look reads a document at a replica in both ways, and compares.
func (b *book) look(r *replica, path string, parts []*record.Verified) {
	w := b.w
	ids := make([]record.ID, len(parts))
	for i, v := range parts {
		ids[i] = v.ID
	}
	slices.SortFunc(ids, record.ID.Compare)
	h := sha256.New()
	h.Write([]byte(path))
	for _, id := range ids {
		h.Write(id[:])
	}
	key := [32]byte(h.Sum(nil))
	var bytes []byte
	var got []string
	whole := true
	if path == "/docs/text" {
		doc := text.New(0)
		if err := b.type_(doc, parts); err != nil {
			w.violate("C14", "replica %d: a delta of the text is refused: %v", r.i, err)
			return
		}
		whole = doc.Parked() == 0
		bytes = []byte(doc.String())
		for _, c := range doc.String() {
			got = append(got, string(c))
		}
	} else {
		s := b.join(parts)
		bytes, got = s.AppendTo(nil), reads(s)
	}
	value := sha256.Sum256(bytes)
	if old, ok := b.values[key]; ok && old != value {
		w.violate("C14", "replica %d: %d records at %s have a second value, %q", r.i, len(parts), path, got)
	}
	b.values[key] = value
	if w.plan.Sealed {
		return // who sealed a record has its removals undone
	}
	seen := b.seen(parts)
	present := seen.present()
	for i := range present.all {
		if r.know.gone.has(i) {
			w.violate("C14", "replica %d: %q at %s is back, though it was removed", r.i, b.events[i].what, path)
			return
		}
	}
	r.know.gone.join(seen.gone)
	want := b.says(present, path)
	slices.Sort(got)
	got = slices.Compact(got)
	switch {
	case slices.Equal(got, want):
	case !whole && within(got, b.says(seen.has, path)):
		w.sometimes("a text that waits for characters") // to type beside them, or to delete them with others
	default:
		w.violate("C14", "replica %d reads %q at %s, and what happened is %q", r.i, got, path, want)
	}
}

// within reports whether everything of one list is in the other.
func within(got, all []string) bool {
	return !slices.ContainsFunc(got, func(s string) bool { return !slices.Contains(all, s) })
}

func (s set) has(i int) bool { return i/64 < len(s) && s[i/64]>>(i%64)&1 == 1 }

// says is what is present at a path, ascending.
func (b *book) says(present set, path string) []string {
	var out []string
	sum := int64(0)
	for i := range present.all {
		if h := b.events[i]; h.path == path {
			out = append(out, h.what)
			sum += h.by
		}
	}
	if path == "/docs/count" {
		if out = nil; sum != 0 {
			out = []string{fmt.Sprint(sum)}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reads is what a document shows, one line for each thing.
func reads(s *crdt.State) (out []string) {
	var below func(v crdt.Value, at string)
	below = func(v crdt.Value, at string) {
		switch v.Kind {
		case crdt.Map:
			for _, f := range v.Fields {
				next := at + f.Key
				if f.Value.Kind == crdt.Map {
					next += "/"
				}
				below(f.Value, next)
			}
		case crdt.Cell:
			for _, x := range v.Values {
				out = append(out, at+"="+string(x))
			}
		case crdt.Set:
			for _, x := range v.Values {
				out = append(out, strings.TrimPrefix(at+":"+string(x), ":"))
			}
		case crdt.Log:
			for _, e := range v.Entries {
				out = append(out, string(e.Value))
			}
		case crdt.Flag:
			if v.On {
				out = append(out, "on")
			}
		case crdt.Counter:
			if v.Count != 0 {
				out = append(out, fmt.Sprint(v.Count))
			}
		}
	}
	for _, k := range s.Kinds() {
		v, _ := s.Read(k)
		below(v, "")
	}
	return out
}

// finish reads every document at everybody.
func (b *book) finish(rs []*replica) {
	for _, r := range rs {
		for _, path := range documents {
			parts, err := r.parts(path)
			if err != nil {
				b.w.violate("C9", "replica %d: %s: %v", r.i, path, err)
				return
			}
			b.look(r, path, parts)
			if b.w.broken != nil {
				return
			}
		}
	}
}
