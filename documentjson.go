package anabranch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"anabranch/crdt"
)

// ErrNotJSON says that a value for a map is not JSON, or not one that it takes.
var ErrNotJSON = errors.New("anabranch: not JSON that a map takes")

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// Value is what a mergeable document, or a place in one, says.
type Value struct {
	Kind crdt.Kind
	// JSON is all of it: a map as an object, a set or log as an array, a
	// counter as a number, a flag as true or false, a text as a string, a
	// register's value as JSON if it is that, else as a string.
	JSON json.RawMessage
	// Beside are values that were written at the same time as the one in JSON:
	// of a cell or register, or of another kind at this place.
	Beside []json.RawMessage
}

// Value reads the mergeable document at a path, whatever its kind; keys lead
// to a place in a map. ErrNotFound if there is none.
func (s *Space) Value(ctx context.Context, path string, keys ...string) (Value, error) {
	var v Value
	err := s.view(ctx, path, func(d *document) (err error) {
		v, err = valueAt(d, keys, 0)
		return err
	})
	return v, err
}

// valueAt reads a place; empty is the kind that it has when nothing shows there
// and it is the whole document, 0 for the one that it had.
func valueAt(d *document, keys []string, empty crdt.Kind) (Value, error) {
	kinds := d.state.Kinds(keys...)
	if i := slices.Index(kinds, crdt.Map); i > 0 {
		kinds[0], kinds[i] = kinds[i], kinds[0] // a map comes before what stands beside it
	}
	if len(kinds) == 0 {
		switch {
		case len(keys) > 0:
			return Value{}, fmt.Errorf("%w: no key %q", ErrNotFound, keys)
		case empty == 0:
			return Value{}, fmt.Errorf("%w: all that was there was removed", ErrNotFound)
		}
		kinds = []crdt.Kind{empty}
	}
	var out Value
	for i, k := range kinds {
		v, _ := d.state.Read(k, keys...)
		all, err := valueJSON(v)
		if err != nil {
			return Value{}, err
		}
		if i == 0 {
			out = Value{Kind: k, JSON: all[0]}
			all = all[1:]
		}
		out.Beside = append(out.Beside, all...)
	}
	return out, nil
}

// valueJSON is a value as JSON, and the values beside it.
func valueJSON(v crdt.Value) ([]json.RawMessage, error) {
	var tree any
	switch v.Kind {
	case crdt.Cell, crdt.MultiValue, crdt.Register:
		var out []json.RawMessage
		for _, b := range v.Values {
			out = append(out, bytesJSON(b))
		}
		if len(out) == 0 {
			out = append(out, json.RawMessage("null"))
		}
		return out, nil
	case crdt.Flag, crdt.OffFlag:
		tree = v.On
	case crdt.Counter:
		tree = v.Count
	case crdt.Set, crdt.GrowSet:
		tree = asStrings(v.Values)
	case crdt.Log:
		list := []json.RawMessage{}
		for _, e := range v.Entries {
			list = append(list, bytesJSON(e.Value))
		}
		tree = list
	case crdt.Text:
		doc, err := textOf(0, v.Parts)
		if err != nil {
			return nil, err
		}
		tree = doc.String()
	case crdt.Map:
		object := map[string]json.RawMessage{}
		for _, f := range v.Fields {
			if _, beside := object[f.Key]; beside && f.Value.Kind != crdt.Map {
				continue
			}
			all, err := valueJSON(f.Value)
			if err != nil {
				return nil, err
			}
			object[f.Key] = all[0]
		}
		tree = object
	}
	b, err := encodeJSON(tree)
	return []json.RawMessage{b}, err
}

// bytesJSON is bytes that are JSON, or else a string of them.
func bytesJSON(b []byte) json.RawMessage {
	if json.Valid(b) && utf8.Valid(b) {
		return b
	}
	out, _ := encodeJSON(string(b)) // a string always is
	return out
}

func encodeJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// asJSON is a value as maps and, below them, whole values.
func asJSON(value any) (any, error) {
	b, ok := value.(json.RawMessage)
	if !ok {
		var err error
		if b, err = encodeJSON(value); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotJSON, err)
		}
	}
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrNotJSON)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotJSON, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: more than one value", ErrNotJSON)
	}
	return tree, nil
}

func isObject(tree any) bool {
	_, ok := tree.(map[string]any)
	return ok
}

// putting is JSON on its way into a map.
type putting struct {
	state, delta *crdt.State
	w            crdt.Writer
	merge        bool // leave keys that are not mentioned
}

func (b *putting) join(delta *crdt.State, err error) error {
	if err == nil {
		b.state.Join(delta)
		b.delta.Join(delta)
	}
	return err
}

func (b *putting) put(tree any, at []string) error {
	object, nested := tree.(map[string]any)
	// What stands there and will not be written over goes.
	for _, k := range b.state.Kinds(at...) {
		if len(at) > 0 && (!b.merge && k != crdt.Cell || b.merge && (k == crdt.Map) != nested || nested && k == crdt.Cell) {
			if err := b.join(b.state.Delete(b.w, wipe, at...)); err != nil {
				return err
			}
			break
		}
	}
	if !nested {
		value, err := encodeJSON(tree)
		if err != nil {
			return err
		}
		return b.join(b.state.Put(b.w, value, at...))
	}
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := b.put(object[k], append(at[:len(at):len(at)], k)); err != nil {
			return err
		}
	}
	return nil
}
