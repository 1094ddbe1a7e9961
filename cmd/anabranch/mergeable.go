package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"anabranch"
)

// valueJSON is a mergeable document, or a place in one.
type valueJSON struct {
	Schema string   `json:"schema"` // anabranch.value/1
	Path   string   `json:"path"`
	Keys   []string `json:"keys"` // that lead to the place, in a map
	Kind   string   `json:"kind"`
	Value  any      `json:"value"`
	Beside []any    `json:"beside"` // written at the same time as the value
}

// documentEventJSON is one record of a mergeable document's history.
type documentEventJSON struct {
	Schema  string   `json:"schema"` // anabranch.document-event/1
	ID      string   `json:"id"`
	Path    string   `json:"path"`
	Time    string   `json:"time"`
	Author  string   `json:"author"`
	Changes []string `json:"changes"`
}

const mergeableHelp = `

What several devices change, together or apart, merges: no change is lost that
somebody had not seen. A change is durable when the command ends.`

// family is a command whose subcommands do the work.
func family(use, short, long string, subs ...*cobra.Command) *cobra.Command {
	var names []string
	for _, s := range subs {
		names = append(names, s.Name())
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long + mergeableHelp,
		Args: func(*cobra.Command, []string) error {
			return usage("what about the %s? %s", use, strings.Join(names, ", "))
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(subs...)
	return cmd
}

// act is what a subcommand does to the document at its first argument; it
// prints the value afterwards if it is to be shown.
type act func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, args []string) error

// on makes a subcommand. keyed says that --key leads to a place in a map.
func (a *app) on(use, short string, least, most int, keyed, show bool, f act) *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: takes(least, most),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := checkedPath(args[0])
			if err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				if err := f(cmd.Context(), s, s.Map(path), path, keys, args[1:]); err != nil || !a.json && !show {
					return err
				}
				return a.valueShown(cmd.Context(), s, path, keys, false)
			})
		},
	}
	if keyed {
		cmd.Flags().StringArrayVar(&keys, "key", nil, "of a map at PATH, what lies below this `key`; again for each level")
	}
	return a.inSpace(cmd)
}

// valueShown prints what stands at a place of a mergeable document: text as it
// is, a set or log a line each, all else as JSON.
func (a *app) valueShown(ctx context.Context, s *anabranch.Space, path string, keys []string, raw bool) error {
	v, err := s.Value(ctx, path, keys...)
	if a.json && errors.Is(err, anabranch.ErrNotFound) {
		v, err = anabranch.Value{JSON: json.RawMessage("null")}, nil // emptied
	}
	if err != nil {
		return err
	}
	if a.json {
		out := valueJSON{Schema: "anabranch.value/1", Path: path, Keys: keys, Kind: "", Value: v.JSON, Beside: []any{}}
		if v.Kind != 0 {
			out.Kind = v.Kind.String()
		}
		if keys == nil {
			out.Keys = []string{}
		}
		for _, b := range v.Beside {
			out.Beside = append(out.Beside, b)
		}
		return a.emit(out)
	}
	lines := []json.RawMessage{v.JSON}
	if k := v.Kind.String(); k == "set" || k == "grow-set" || k == "log" {
		if err := json.Unmarshal(v.JSON, &lines); err != nil {
			return err
		}
	}
	for _, line := range lines {
		shown := string(line)
		var text string
		if json.Unmarshal(line, &text) == nil {
			shown = text
		}
		if raw {
			_, err = a.output().WriteString(shown + "\n")
		} else {
			err = a.print("%s", shown)
		}
		if err != nil {
			return err
		}
	}
	if n := len(v.Beside); n > 0 {
		a.say("note: %s written at the same time, elsewhere; --json shows it, and the next write settles it", count(n, "other value was", "other values were"))
	}
	return nil
}

// isValue prints the mergeable document at a path, if there is one.
func (a *app) isValue(ctx context.Context, s *anabranch.Space, path string, raw bool) (bool, error) {
	_, err := s.Value(ctx, path)
	if errors.Is(err, anabranch.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	return true, a.valueShown(ctx, s, path, nil, raw)
}

// jsonOr is an argument as JSON, or else as a string.
func jsonOr(text string, asString bool) json.RawMessage {
	if !asString && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always is
	}
	return b
}

func newMap(a *app) *cobra.Command {
	var asString bool
	get := a.on("get PATH [KEY ...]", "Print a map, or what lies below keys, as JSON", 1, 40, false, false,
		func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, _, args []string) error {
			return nil
		})
	get.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := checkedPath(args[0])
		if err != nil {
			return err
		}
		return a.offline(cmd.Context(), func(s *anabranch.Space) error {
			return a.valueShown(cmd.Context(), s, path, args[1:], false)
		})
	}
	set := a.on("set PATH KEY [KEY ...] VALUE", "Give a key a value", 3, 40, false, false,
		func(ctx context.Context, _ *anabranch.Space, m anabranch.Map, _ string, _, args []string) error {
			value := args[len(args)-1]
			if value == "-" {
				b, err := a.value(ctx, nil)
				if err != nil {
					return err
				}
				value = string(b)
			}
			return m.Put(ctx, jsonOr(value, asString), args[:len(args)-1]...)
		})
	set.Long = `Gives a key of the map at PATH, or one below several keys, a value: JSON, or
else the words as they are; - reads standard input. Of an object, every key
merges with what others write below it.`
	set.Flags().BoolVar(&asString, "string", false, "the value is a string, also if it could be read as JSON")
	merge := a.on("merge PATH [JSON | -]", "Put every field of a JSON object, and leave other keys", 1, 2, true, false,
		func(ctx context.Context, _ *anabranch.Space, m anabranch.Map, _ string, keys, args []string) error {
			b, err := a.value(ctx, args)
			if err != nil {
				return err
			}
			return m.Merge(ctx, json.RawMessage(b), keys...)
		})
	rm := a.on("rm PATH KEY [KEY ...]", "Remove a key with all below it", 2, 40, false, false,
		func(ctx context.Context, _ *anabranch.Space, m anabranch.Map, _ string, _, args []string) error {
			return m.Delete(ctx, args...)
		})
	var content string
	var at int
	text := a.on("text PATH KEY [KEY ...]", "Print or edit a text that lies in a map", 2, 40, false, false,
		func(ctx context.Context, _ *anabranch.Space, _ anabranch.Map, _ string, _, _ []string) error {
			return nil
		})
	text.Long = `Prints the text below a key of the map at PATH. With --set it reads CONTENT
afterwards, by the smallest edit; with --insert, CONTENT is typed into it, at its
end or with --at in front of a character.`
	text.Flags().StringVar(&content, "set", "", "make it read `CONTENT`")
	text.Flags().StringVar(&content, "insert", "", "type `CONTENT`")
	text.Flags().IntVar(&at, "at", -1, "the `position` of --insert, from 0")
	text.MarkFlagsMutuallyExclusive("set", "insert")
	text.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := checkedPath(args[0])
		if err != nil {
			return err
		}
		ctx, flags := cmd.Context(), cmd.Flags()
		if flags.Changed("at") && !flags.Changed("insert") {
			return usage("--at belongs to --insert")
		}
		return a.offline(ctx, func(s *anabranch.Space) error {
			t := s.Map(path).Text(args[1:]...)
			switch {
			case flags.Changed("set"):
				err = t.Set(ctx, content)
			case flags.Changed("insert"):
				if at < 0 {
					was, err := t.Get(ctx)
					if err != nil && !errors.Is(err, anabranch.ErrNotFound) {
						return err
					}
					at = utf8.RuneCountInString(was)
				}
				err = t.Insert(ctx, at, content)
			default:
				_, err = t.Get(ctx)
				if err == nil && !a.json {
					return a.valueShown(ctx, s, path, args[1:], false)
				}
			}
			if err != nil || !a.json {
				return err
			}
			return a.valueShown(ctx, s, path, args[1:], false)
		})
	}
	return family("map", "Read and change maps that merge", "A map has keys with JSON values, or with texts, sets, counters and the like below (text, --key).", get, set, merge, rm, text)
}

func newSet(a *app) *cobra.Command {
	at := func(m anabranch.Map, s *anabranch.Space, path string, keys []string) anabranch.Set {
		if len(keys) == 0 {
			return s.Set(path)
		}
		return m.Set(keys...)
	}
	return family("set", "Read and change sets that merge", "A set has values. One that is added while somebody removes it stays.",
		a.on("add PATH VALUE ...", "Add values", 2, 1000, true, false, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, args []string) error {
			return at(m, s, path, keys).Add(ctx, args...)
		}),
		a.on("rm PATH VALUE ...", "Remove values", 2, 1000, true, false, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, args []string) error {
			return at(m, s, path, keys).Remove(ctx, args...)
		}),
		a.on("list PATH", "Print the values, a line each", 1, 1, true, true, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, _ []string) error {
			_, err := at(m, s, path, keys).List(ctx)
			return err
		}))
}

func newCounter(a *app) *cobra.Command {
	at := func(m anabranch.Map, s *anabranch.Space, path string, keys []string) anabranch.Counter {
		if len(keys) == 0 {
			return s.Counter(path)
		}
		return m.Counter(keys...)
	}
	return family("counter", "Count, on every device at once", "A counter adds up what all devices add.",
		a.on("add PATH [N]", "Add N, by default 1, and print the count", 1, 2, true, true, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, args []string) error {
			n := int64(1)
			if len(args) == 1 {
				var err error
				if n, err = strconv.ParseInt(args[0], 10, 64); err != nil {
					return usage("%q is no whole number of 64 bits", args[0])
				}
			}
			return at(m, s, path, keys).Add(ctx, n)
		}),
		a.on("get PATH", "Print the count", 1, 1, true, true, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, _ []string) error {
			_, err := at(m, s, path, keys).Get(ctx)
			return err
		}),
		a.on("reset PATH", "Begin at 0 again: what others add meanwhile counts", 1, 1, true, false, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, _ []string) error {
			return at(m, s, path, keys).Reset(ctx)
		}))
}

func newFlag(a *app) *cobra.Command {
	at := func(m anabranch.Map, s *anabranch.Space, path string, keys []string) anabranch.Flag {
		if len(keys) == 0 {
			return s.Flag(path)
		}
		return m.Flag(keys...)
	}
	turn := func(on bool) act {
		return func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, _ []string) error {
			return at(m, s, path, keys).Switch(ctx, on)
		}
	}
	get := a.on("get PATH", "Print true or false", 1, 1, true, false, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, _ []string) error {
		on, err := at(m, s, path, keys).Get(ctx)
		if err != nil || a.json {
			return err
		}
		return a.print("%v", on)
	})
	return family("flag", "Switch something on or off", "A flag is on or off. On wins over an off at the same time.",
		a.on("on PATH", "Switch it on", 1, 1, true, false, turn(true)), a.on("off PATH", "Switch it off", 1, 1, true, false, turn(false)), get)
}

func newLog(a *app) *cobra.Command {
	at := func(m anabranch.Map, s *anabranch.Space, path string, keys []string) anabranch.Log {
		if len(keys) == 0 {
			return s.Log(path)
		}
		return m.Log(keys...)
	}
	return family("log", "Read and add to lists in order of time", "A log has entries of all devices in order of time.",
		a.on("add PATH [ENTRY | -]", "Add an entry", 1, 2, true, false, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, args []string) error {
			b, err := a.value(ctx, args)
			if err != nil {
				return err
			}
			return at(m, s, path, keys).Append(ctx, b)
		}),
		a.on("list PATH", "Print the entries, a line each", 1, 1, true, true, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, _ []string) error {
			_, err := at(m, s, path, keys).List(ctx)
			return err
		}))
}

func newRegister(a *app) *cobra.Command {
	at := func(m anabranch.Map, s *anabranch.Space, path string, keys []string) anabranch.Register {
		if len(keys) == 0 {
			return s.Register(path)
		}
		return m.Register(keys...)
	}
	return family("register", "Read and write one value that shows conflicts", "A register has one value, or all that were written without knowledge of each other.",
		a.on("set PATH [VALUE | -]", "Write the value", 1, 2, true, false, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, args []string) error {
			b, err := a.value(ctx, args)
			if err != nil {
				return err
			}
			return at(m, s, path, keys).Set(ctx, b)
		}),
		a.on("get PATH", "Print the values, a line each", 1, 1, true, false, func(ctx context.Context, s *anabranch.Space, m anabranch.Map, path string, keys, _ []string) error {
			values, err := at(m, s, path, keys).Get(ctx)
			if err != nil || a.json {
				return err
			}
			for _, v := range values {
				if err := a.print("%s", v); err != nil {
					return err
				}
			}
			return nil
		}))
}

// documentPast prints one record of a mergeable document's history.
func (a *app) documentPast(e anabranch.DocumentEvent) error {
	v := viewRecord(e.Record)
	if a.json {
		changes := e.Changes
		if changes == nil {
			changes = []string{}
		}
		return a.emit(documentEventJSON{Schema: "anabranch.document-event/1", ID: v.ID, Path: v.Path, Time: v.Time, Author: v.Author, Changes: changes})
	}
	r := recordRow(e.Record)
	changes := e.Changes
	const most = 6
	if len(changes) > most {
		changes = append(changes[:most:most], fmt.Sprintf("and %d more", len(changes)-most))
	}
	return a.print("  %s  %s  %s  %s", r[0], r[2], r[3], strings.Join(changes, ", "))
}
