package model

import (
	"crypto/sha256"
	"fmt"

	"anabranch/record"
)

// MaxRecords is how many records a universe can hold.
const MaxRecords = 1024

// Record is a record of a universe with its payload read.
type Record struct {
	*record.Verified
	Control record.ControlBody // control only
	index   int                // place in the universe
	dots    numbers            // sweep only
}

// Set is a set of records of one universe. Sets compare with ==.
type Set [MaxRecords / 64]uint64

// Has reports whether a record is in the set.
func (s Set) Has(r *Record) bool { return s[r.index/64]&(1<<(r.index%64)) != 0 }

// With is the set with a record added.
func (s Set) With(r *Record) Set {
	s[r.index/64] |= 1 << (r.index % 64)
	return s
}

// Or is the union of two sets.
func (s Set) Or(t Set) Set {
	for i := range s {
		s[i] |= t[i]
	}
	return s
}

// Minus is what is in s and not in t.
func (s Set) Minus(t Set) Set {
	for i := range s {
		s[i] &^= t[i]
	}
	return s
}

// And is what is in both sets.
func (s Set) And(t Set) Set {
	for i := range s {
		s[i] &= t[i]
	}
	return s
}

// Universe holds every record of one world. Its Width may be small, so that
// a few records fill blocks; with the Width of the format, 4096, the same
// records mean the same to package space.
type Universe struct {
	Roots []record.Key
	Width uint32 // numbers in one block of a lane
	Break Break  // the rule that is broken on purpose

	Records []*Record
	byID    map[record.ID]*Record
}

// NewUniverse returns a universe without records.
func NewUniverse(roots []record.Key, width uint32) *Universe {
	return &Universe{Roots: roots, Width: width, byID: make(map[record.ID]*Record)}
}

// Add makes a verified record part of the universe, once.
func (u *Universe) Add(v *record.Verified) *Record {
	if r := u.byID[v.ID]; r != nil {
		return r
	}
	if len(u.Records) == MaxRecords {
		panic("model: a universe holds 1024 records")
	}
	r := &Record{Verified: v, index: len(u.Records)}
	switch v.Kind {
	case record.Control:
		body, err := record.ParseControl(v.Payload)
		if err != nil {
			panic(err)
		}
		r.Control = body
	case record.Sweep:
		r.dots = u.numbers(v)
	}
	u.Records = append(u.Records, r)
	u.byID[v.ID] = r
	return r
}

// Make adds a record that nobody signed. It must be well formed; its ID is a
// hash of its fields, which is all that the law asks of an ID.
func (u *Universe) Make(author record.Key, r record.Record) *Record {
	r.Author = author
	if err := r.Check(); err != nil {
		panic(fmt.Sprintf("model: %v", err))
	}
	b := r.Append(nil)
	return u.Add(&record.Verified{Record: r, ID: sha256.Sum256(b), Bytes: b})
}

// In returns the records of a set in the universe's order.
func (u *Universe) In(s Set) []*Record {
	var out []*Record
	for _, r := range u.Records {
		if s.Has(r) {
			out = append(out, r)
		}
	}
	return out
}

// Where returns the records of a set that pass.
func (u *Universe) Where(s Set, ok func(*Record) bool) Set {
	var out Set
	for _, r := range u.In(s) {
		if ok(r) {
			out = out.With(r)
		}
	}
	return out
}

// numbers is a set of numbers of one lane, a bit each.
type numbers []uint64

func (u *Universe) numbers(v *record.Verified) numbers {
	n := make(numbers, (u.Width*(v.Seq+1)+64)/64)
	if len(v.Payload) == 0 { // every number of blocks 0..b
		for seq := uint32(1); seq <= u.Width*(v.Seq+1); seq++ {
			n[seq/64] |= 1 << (seq % 64)
		}
		return n
	}
	for i := range u.Width {
		if int(i/8) < len(v.Payload) && v.Payload[i/8]&(1<<(i%8)) != 0 {
			seq := u.Width*v.Seq + i + 1
			n[seq/64] |= 1 << (seq % 64)
		}
	}
	return n
}

func (n numbers) has(seq uint32) bool {
	return int(seq/64) < len(n) && n[seq/64]&(1<<(seq%64)) != 0
}

// contains reports n ⊇ other.
func (n numbers) contains(other numbers) bool {
	for i, bits := range other {
		if i < len(n) {
			bits &^= n[i]
		}
		if bits != 0 {
			return false
		}
	}
	return true
}
