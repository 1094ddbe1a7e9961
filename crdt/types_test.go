package crdt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func must(t testing.TB) func(*State, error) *State {
	return func(s *State, err error) *State {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// apart lets two replicas, which hold the same, each make a change without the
// other's, and returns what both hold afterwards.
func apart(t testing.TB, s *State, a, b func(*State, Writer) (*State, error)) *State {
	t.Helper()
	x := must(t)(a(s, Writer{1, 10}))
	y := must(t)(b(s, Writer{2, 10}))
	return JoinAll(s, y, x)
}

func vs(values ...string) (out [][]byte) {
	for _, v := range values {
		out = append(out, []byte(v))
	}
	return out
}

func shown(s *State, kind Kind, path ...string) string {
	v, _ := s.Read(kind, path...)
	switch kind {
	case Flag, OffFlag:
		return fmt.Sprint(v.On)
	case Counter:
		return fmt.Sprint(v.Count)
	case Log:
		var out []string
		for _, e := range v.Entries {
			out = append(out, string(e.Value))
		}
		return strings.Join(out, " ")
	}
	return strings.Trim(fmt.Sprintf("%s", v.Values), "[]")
}

func TestWhatPeopleDoAtTheSameTimeReadsAsTheyExpect(t *testing.T) {
	type do = func(*State, Writer) (*State, error)
	put := func(v string, path ...string) do {
		return func(s *State, w Writer) (*State, error) { return s.Put(w, []byte(v), path...) }
	}
	add := func(v ...string) do {
		return func(s *State, w Writer) (*State, error) { return s.Add(w, vs(v...)) }
	}
	discard := func(v ...string) do {
		return func(s *State, w Writer) (*State, error) { return s.Discard(w, vs(v...)) }
	}
	flip := func(kind Kind, on bool) do {
		return func(s *State, w Writer) (*State, error) { return s.Switch(w, kind, on) }
	}
	inc := func(by int64, path ...string) do {
		return func(s *State, w Writer) (*State, error) { return s.Increment(w, by, path...) }
	}
	reset := func(s *State, w Writer) (*State, error) { return s.Reset(w) }
	del := func(path ...string) do {
		return func(s *State, w Writer) (*State, error) { return s.Delete(w, nil, path...) }
	}
	entry := func(v string, at uint64) do {
		return func(s *State, w Writer) (*State, error) { return s.Append(Writer{w.Lane, at}, []byte(v)) }
	}
	assign := func(v string) do {
		return func(s *State, w Writer) (*State, error) { return s.Assign(w, []byte(v)) }
	}
	write := func(v string) do {
		return func(s *State, w Writer) (*State, error) { return s.Write(w, []byte(v)) }
	}
	for _, c := range []struct {
		name   string
		before []do // by lane 1, one after the other
		a, b   do
		kind   Kind
		path   []string
		want   string
	}{
		{"two write a register: the higher lane, at one time", nil, write("a"), write("b"), Register, nil, "b"},
		{"two assign: both stand", nil, assign("a"), assign("b"), MultiValue, nil, "a b"},
		{"an assignment replaces what it saw", []do{assign("old")}, assign("a"), assign("a"), MultiValue, nil, "a"},
		{"on beside off", []do{flip(Flag, true)}, flip(Flag, true), flip(Flag, false), Flag, nil, "true"},
		{"on beside off, where off wins", nil, flip(OffFlag, true), flip(OffFlag, false), OffFlag, nil, "false"},
		{"on again, where off wins", []do{flip(OffFlag, false)}, flip(OffFlag, true), flip(OffFlag, true), OffFlag, nil, "true"},
		{"add beside remove of one value", []do{add("x", "y")}, add("x"), discard("x", "y"), Set, nil, "x"},
		{"removed by both", []do{add("x", "y")}, discard("x"), discard("x"), Set, nil, "y"},
		{"counted on both sides", []do{inc(5)}, inc(2), inc(-3), Counter, nil, "4"},
		{"counted beside a reset", []do{inc(5)}, inc(2), reset, Counter, nil, "2"},
		{"reset by both", []do{inc(5), inc(-9)}, reset, reset, Counter, nil, "0"},
		{"log in order of time", []do{entry("first", 3)}, entry("third", 9), entry("second", 5), Log, nil, "first second third"},
		{"two put one key", nil, put("a", "k"), put("b", "k"), Cell, []string{"k"}, "b a"},
		{"a put survives a delete that had not seen it", []do{put("old", "k")}, put("new", "k"), del("k"), Cell, []string{"k"}, "new"},
		{"a deep put survives the delete of what is above", []do{put("1", "m", "a"), put("2", "m", "b")}, put("new", "m", "a"), del("m"), Cell, []string{"m", "a"}, "new"},
		{"and only that", []do{put("1", "m", "a"), put("2", "m", "b")}, put("new", "m", "a"), del("m"), Cell, []string{"m", "b"}, ""},
		{"counted in a map that was deleted", []do{inc(5, "n")}, inc(2, "n"), del("n"), Counter, []string{"n"}, "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := new(State)
			for i, d := range c.before {
				s.Join(must(t)(d(s, Writer{1, uint64(i + 1)})))
			}
			if got := shown(apart(t, s, c.a, c.b), c.kind, c.path...); got != c.want {
				t.Fatalf("shows %q, want %q", got, c.want)
			}
		})
	}
}

func TestADeletedKeyShowsNothing(t *testing.T) {
	s := new(State)
	w := Writer{1, 1}
	do := func(d *State, err error) { t.Helper(); s.Join(must(t)(d, err)) }
	do(s.Put(w, []byte("v"), "m", "cell"))
	do(s.Increment(w, 3, "m", "count"))
	do(s.Add(w, vs("x"), "m", "set"))
	do(s.Type(w, []byte("delta"), "m", "text"))
	if v, ok := s.Read(Map, "m"); !ok || len(v.Fields) != 4 {
		t.Fatalf("the map has %v", v)
	}
	var wiped []Part
	do(s.Delete(w, func(lane uint64, parts []Part) ([]byte, error) {
		wiped = parts
		return []byte("gone"), nil
	}, "m"))
	if _, ok := s.Read(Map, "m"); ok || len(s.Kinds()) != 1 || len(s.Kinds("m")) != 0 {
		t.Fatalf("after the delete, %v stands at m", s.Kinds("m"))
	}
	if len(wiped) != 1 || string(wiped[0].Delta) != "delta" {
		t.Fatalf("wiped %v", wiped)
	}
	if v, _ := s.Read(Text, "m", "text"); len(v.Parts) != 2 {
		t.Fatalf("the text has parts %v", v.Parts)
	}
	do(s.Increment(w, 4, "m", "count"))
	if v, ok := s.Read(Counter, "m", "count"); !ok || v.Count != 4 {
		t.Fatalf("counted to %d after the delete, want 4", v.Count)
	}
}

func TestMutatorsRefuseWhatNoDocumentHolds(t *testing.T) {
	s := new(State)
	deep := strings.Split(strings.Repeat("k ", MaxDepth)+"k", " ")
	for name, do := range map[string]func() (*State, error){
		"a long value":      func() (*State, error) { return s.Write(Writer{1, 1}, make([]byte, MaxValue+1)) },
		"a long key":        func() (*State, error) { return s.Put(Writer{1, 1}, nil, strings.Repeat("k", MaxKey+1)) },
		"an empty key":      func() (*State, error) { return s.Put(Writer{1, 1}, nil, "") },
		"no UTF-8":          func() (*State, error) { return s.Put(Writer{1, 1}, nil, "\xff") },
		"too deep":          func() (*State, error) { return s.Put(Writer{1, 1}, nil, deep...) },
		"nobody":            func() (*State, error) { return s.Assign(Writer{0, 1}, nil) },
		"no time":           func() (*State, error) { return s.Assign(Writer{1, 0}, nil) },
		"a cell without":    func() (*State, error) { return s.Put(Writer{1, 1}, nil) },
		"a flag that isn't": func() (*State, error) { return s.Switch(Writer{1, 1}, Set, true) },
		"deleting all":      func() (*State, error) { return s.Delete(Writer{1, 1}, nil) },
	} {
		if d, err := do(); !errors.Is(err, ErrRange) || d != nil && name == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	s.seen.Add(1, 1, MaxNumber)
	if _, err := s.Assign(Writer{1, 1}, nil); !errors.Is(err, ErrExhausted) {
		t.Errorf("a used-up lane: %v", err)
	}
}

func TestAStateThatClaimsMuchCostsLittle(t *testing.T) {
	lane := "\x01\x00\x00\x00\x00\x00\x00\x00\x07"
	for name, b := range map[string]string{
		"2^60 lanes":        "\x40\xff\xff\xff\xff\xff\xff\xff\xff\x0f",
		"2^60 events":       "\x40" + lane + "\x01\x00\x00\x01\x03\xff\xff\xff\xff\xff\xff\xff\xff\x0f",
		"a deep map":        "\x40\x00\x01\x09" + strings.Repeat("\x01\x01k\x09", 5000),
		"an unseen event":   "\x40" + lane + "\x01\x00\x00\x01\x03\x01\x00\x02",
		"an unused lane":    "\x40" + lane + "\x00\x00",
		"an empty set":      "\x40\x00\x01\x07\x00",
		"a cell at the top": "\x40" + lane + "\x01\x00\x00\x01\x0a\x01\x00\x01\x01\x00",
	} {
		if n := testing.AllocsPerRun(1, func() {
			if _, err := DecodeState([]byte(b)); !errors.Is(err, ErrState) {
				t.Errorf("%s: %v", name, err)
			}
		}); n > 300 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
