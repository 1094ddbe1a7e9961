package anabranch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"anabranch/crdt"
	"anabranch/record"
)

// place is where a handle looks: a document, or a value in a map of it. With
// an Update, changes are part of it and readings see them.
type place struct {
	space *Space
	up    *Update
	path  string
	in    []string
}

// Path is the path of the document that the handle looks at.
func (p place) Path() string { return p.path }

func (p place) change(ctx context.Context, f func(*crdt.State, crdt.Writer) (*crdt.State, error)) error {
	if p.up != nil {
		return p.up.apply(p.path, f)
	}
	_, err := p.space.Update(ctx, func(u *Update) error { return u.apply(p.path, f) })
	return err
}

// read is the value of a kind; ErrNotFound if there is none.
func (p place) read(ctx context.Context, kind crdt.Kind) (v crdt.Value, err error) {
	err = p.look(ctx, func(d *document) error {
		found := false
		v, found = d.state.Read(kind, p.in...)
		if !found && (len(p.in) > 0 || len(d.state.Kinds()) > 0) {
			return fmt.Errorf("%w: no %v at %s", ErrNotFound, kind, p.where())
		}
		return nil
	})
	return v, err
}

func (p place) look(ctx context.Context, f func(*document) error) error {
	if p.up == nil {
		return p.space.view(ctx, p.path, f)
	}
	d, err := p.up.document(p.path)
	if err != nil {
		return err
	}
	return f(d)
}

func (p place) where() string {
	if len(p.in) == 0 {
		return fmt.Sprintf("%q", p.path)
	}
	return fmt.Sprintf("%q in %q", p.in, p.path)
}

func (p place) below(keys []string) place {
	p.in = append(slices.Clone(p.in), keys...)
	return p
}

// Handles of mergeable documents are cheap, need no closing and are safe for
// use by several goroutines. What changes something is durable when it
// returns, as Put is; many changes are cheaper in one Update. What people
// change at the same time merges: no change that somebody had not seen is lost.
// A document begins with its first change; reading one that is not there is
// ErrNotFound. A newer Put or Delete at the path ends it, a change after that
// begins it anew.

// Map is a handle of a map: keys with JSON values, or with documents below.
type Map struct{ place }

// Set is a handle of a set of strings.
type Set struct{ place }

// Counter is a handle of a counter.
type Counter struct{ place }

// Flag is a handle of something that is on or off.
type Flag struct{ place }

// Log is a handle of a list of entries in order of time.
type Log struct{ place }

// Register is a handle of one value that keeps all that were written at once.
type Register struct{ place }

// Map is the map at a path.
func (s *Space) Map(path string) Map { return Map{place{space: s, path: path}} }

// Set is the set at a path.
func (s *Space) Set(path string) Set { return Set{place{space: s, path: path}} }

// Counter is the counter at a path.
func (s *Space) Counter(path string) Counter { return Counter{place{space: s, path: path}} }

// Flag is the flag at a path.
func (s *Space) Flag(path string) Flag { return Flag{place{space: s, path: path}} }

// Log is the log at a path.
func (s *Space) Log(path string) Log { return Log{place{space: s, path: path}} }

// Register is the register at a path.
func (s *Space) Register(path string) Register { return Register{place{space: s, path: path}} }

func (u *Update) at(path string) place { return place{space: u.space, up: u, path: path} }

// Map is the map at a path, in this update.
func (u *Update) Map(path string) Map { return Map{u.at(path)} }

// Set is the set at a path, in this update.
func (u *Update) Set(path string) Set { return Set{u.at(path)} }

// Counter is the counter at a path, in this update.
func (u *Update) Counter(path string) Counter { return Counter{u.at(path)} }

// Flag is the flag at a path, in this update.
func (u *Update) Flag(path string) Flag { return Flag{u.at(path)} }

// Log is the log at a path, in this update.
func (u *Update) Log(path string) Log { return Log{u.at(path)} }

// Register is the register at a path, in this update.
func (u *Update) Register(path string) Register { return Register{u.at(path)} }

// Map is the map below keys; it and those on the way begin with their first value.
func (m Map) Map(keys ...string) Map { return Map{m.below(keys)} }

// Set is the set below keys.
func (m Map) Set(keys ...string) Set { return Set{m.below(keys)} }

// Counter is the counter below keys.
func (m Map) Counter(keys ...string) Counter { return Counter{m.below(keys)} }

// Flag is the flag below keys.
func (m Map) Flag(keys ...string) Flag { return Flag{m.below(keys)} }

// Log is the log below keys.
func (m Map) Log(keys ...string) Log { return Log{m.below(keys)} }

// Register is the register below keys.
func (m Map) Register(keys ...string) Register { return Register{m.below(keys)} }

// Put gives a key a value: JSON, or whatever encoding/json makes JSON of. An
// object becomes a map below the key, whose keys merge one by one; of an
// array, as of every other value, the latest stands whole. What was there goes.
func (m Map) Put(ctx context.Context, value any, keys ...string) error {
	if len(m.in)+len(keys) == 0 {
		return fmt.Errorf("%w: no key", crdt.ErrRange)
	}
	return m.put(ctx, value, keys, true)
}

// Merge puts every field of a JSON object, and leaves other keys as they are:
// in maps below, too.
func (m Map) Merge(ctx context.Context, object any, keys ...string) error {
	return m.put(ctx, object, keys, false)
}

func (m Map) put(ctx context.Context, value any, keys []string, replace bool) error {
	tree, err := asJSON(value)
	if err != nil {
		return err
	}
	if !isObject(tree) && !replace {
		return fmt.Errorf("%w: what is merged is a JSON object", ErrNotJSON)
	}
	at := m.below(keys).in
	return m.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) {
		if kinds := s.Kinds(at...); !isObject(tree) && (len(kinds) == 0 || len(kinds) == 1 && kinds[0] == crdt.Cell) {
			b, err := encodeJSON(tree)
			if err != nil {
				return nil, err
			}
			return s.Put(w, b, at...)
		}
		b := &putting{state: s.Clone(), w: w, delta: new(crdt.State), merge: !replace}
		err := b.put(tree, at)
		return b.delta, err
	})
}

// Get is the JSON of what stands at keys, or of the whole map. Of values that
// were put at once it has the one that stands; see Value.
func (m Map) Get(ctx context.Context, keys ...string) (json.RawMessage, error) {
	var out json.RawMessage
	p := m.below(keys)
	err := p.look(ctx, func(d *document) error {
		v, err := valueAt(d, p.in, crdt.Map)
		if err == nil {
			out = v.JSON
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Keys are the keys of the map, ascending.
func (m Map) Keys(ctx context.Context) ([]string, error) {
	v, err := m.read(ctx, crdt.Map)
	var out []string
	for _, f := range v.Fields {
		out = append(out, f.Key)
	}
	return slices.Compact(out), err
}

// Delete removes a key with all below it, as far as it is seen here.
// ErrNotFound if there is nothing.
func (m Map) Delete(ctx context.Context, keys ...string) error {
	at := m.below(keys).in
	return m.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) {
		if len(at) > 0 && len(s.Kinds(at...)) == 0 {
			return nil, fmt.Errorf("%w: no key %q in %q", ErrNotFound, at, m.path)
		}
		return s.Delete(w, wipe, at...)
	})
}

// Add adds values.
func (x Set) Add(ctx context.Context, values ...string) error {
	return x.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) { return s.Add(w, asBytes(values), x.in...) })
}

// Remove removes values, as far as they are seen here: one that somebody adds
// at the same time stays. ErrNotFound if none of them is there.
func (x Set) Remove(ctx context.Context, values ...string) error {
	return x.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) {
		delta, err := s.Discard(w, asBytes(values), x.in...)
		if err == nil && len(values) > 0 && delta.IsEmpty() {
			err = fmt.Errorf("%w: %q in the set at %q", ErrNotFound, values, x.path)
		}
		return delta, err
	})
}

// List is the values, ascending.
func (x Set) List(ctx context.Context) ([]string, error) {
	v, err := x.read(ctx, crdt.Set)
	return asStrings(v.Values), err
}

// Has reports whether a value is in the set.
func (x Set) Has(ctx context.Context, value string) (bool, error) {
	values, err := x.List(ctx)
	_, found := slices.BinarySearch(values, value)
	return found, err
}

// Add adds n, which may be negative.
func (c Counter) Add(ctx context.Context, n int64) error {
	return c.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) { return s.Increment(w, n, c.in...) })
}

// Reset makes the counter 0, as far as it is seen here: what others add at the
// same time counts.
func (c Counter) Reset(ctx context.Context) error {
	return c.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) { return s.Reset(w, c.in...) })
}

// Get is what was counted.
func (c Counter) Get(ctx context.Context) (int64, error) {
	v, err := c.read(ctx, crdt.Counter)
	return v.Count, err
}

// Switch turns the flag on or off. On wins over an off at the same time.
func (f Flag) Switch(ctx context.Context, on bool) error {
	return f.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) { return s.Switch(w, crdt.Flag, on, f.in...) })
}

// Get reports whether it is on; a flag that nobody has switched on is off.
func (f Flag) Get(ctx context.Context) (bool, error) {
	v, err := f.read(ctx, crdt.Flag)
	if isNotFound(err) {
		err = nil
	}
	return v.On, err
}

// Append adds an entry.
func (l Log) Append(ctx context.Context, entry []byte) error {
	return l.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) { return s.Append(w, entry, l.in...) })
}

// LogEntry is one entry of a log.
type LogEntry struct {
	Time   uint64     // microseconds since 1970, by the writer's clock
	Author record.Key // zero if none of its records is here
	Value  []byte
}

// List is the entries, oldest first.
func (l Log) List(ctx context.Context) ([]LogEntry, error) {
	var out []LogEntry
	err := l.look(ctx, func(d *document) error {
		v, ok := d.state.Read(crdt.Log, l.in...)
		if !ok && (len(l.in) > 0 || len(d.state.Kinds()) > 0) {
			return fmt.Errorf("%w: no log at %s", ErrNotFound, l.where())
		}
		for _, e := range v.Entries {
			out = append(out, LogEntry{e.Time, d.authors[e.Dot.Lane], e.Value})
		}
		return nil
	})
	return out, err
}

// Set writes the register's value.
func (r Register) Set(ctx context.Context, value []byte) error {
	return r.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) { return s.Assign(w, value, r.in...) })
}

// Get is the register's value: several, ascending, if they were written
// without knowledge of each other. The next Set settles it.
func (r Register) Get(ctx context.Context) ([][]byte, error) {
	v, err := r.read(ctx, crdt.MultiValue)
	return v.Values, err
}

func asBytes(values []string) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = []byte(v)
	}
	return out
}

func asStrings(values [][]byte) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
