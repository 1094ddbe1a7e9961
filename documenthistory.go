package anabranch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"anabranch/crdt"
	"anabranch/record"
)

// DocumentEvent is one record that a mergeable document is made of, and what
// it changed when it is joined after those before it: "ada/name = \"Ada\"",
// "+ milk", "- bread".
type DocumentEvent struct {
	*Record
	Changes []string
}

// DocumentHistory is who changed what in the mergeable document at a path,
// newest first. Changes that their author has folded are one event with the
// fold's time. It reads every record of the document, and its value after each.
// It is empty if there is none.
func (s *Space) DocumentHistory(ctx context.Context, path string) ([]DocumentEvent, error) {
	if err := record.CheckPath(path); err != nil {
		return nil, err
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	places, err := view.Places(path, record.Delta)
	if err != nil {
		return nil, named(err)
	}
	var records []*Record
	for _, p := range places {
		v, err := view.Arrived(p.Number)
		if err != nil {
			return nil, named(err)
		}
		if crdt.IsState(v.Payload) {
			records = append(records, v)
		}
	}
	slices.SortFunc(records, func(a, b *Record) int { return cmp.Or(cmp.Compare(a.Time, b.Time), a.ID.Compare(b.ID)) })
	state := new(crdt.State)
	before := map[string]string{}
	var out []DocumentEvent
	for _, v := range records {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part, err := crdt.DecodeState(v.Payload)
		if err != nil {
			out = append(out, DocumentEvent{v, []string{"refused: " + err.Error()}})
			continue
		}
		state.Join(part)
		after := map[string]string{}
		for _, k := range state.Kinds() {
			value, _ := state.Read(k)
			leaves(after, value, "")
		}
		out = append(out, DocumentEvent{v, changesOf(before, after)})
		before = after
	}
	slices.Reverse(out)
	return out, nil
}

// leaves writes every value below one as a line of its own: what it is called,
// and what it says.
func leaves(into map[string]string, v crdt.Value, at string) {
	name := cmp.Or(at, v.Kind.String())
	switch v.Kind {
	case crdt.Map:
		for _, f := range v.Fields {
			leaves(into, f.Value, strings.TrimPrefix(at+"/"+f.Key, "/"))
		}
	case crdt.Set, crdt.GrowSet:
		for _, b := range v.Values {
			into[strings.TrimPrefix(at+" ", " ")+string(b)] = ""
		}
	case crdt.Log:
		for _, e := range v.Entries {
			into[fmt.Sprintf("%s%s\x00%v", strings.TrimPrefix(at+" ", " "), e.Value, e.Dot)] = ""
		}
	default:
		if all, err := valueJSON(v); err == nil {
			for i, b := range all {
				into[name+strings.Repeat(" ", i)] = string(b)
			}
		}
	}
}

func changesOf(before, after map[string]string) []string {
	shown := func(key string) string {
		key, _, _ = strings.Cut(key, "\x00")
		return strings.TrimSpace(key)
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, still := after[key]; !still {
			out = append(out, "- "+shown(key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		old, had := before[key]
		switch {
		case after[key] == "" && !had:
			out = append(out, "+ "+shown(key))
		case after[key] != old:
			out = append(out, shown(key)+" = "+after[key])
		}
	}
	return out
}
