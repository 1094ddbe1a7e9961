package main

import (
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
	"anabranch/space"
)

// listFlags are the flags of list, as they were given.
type listFlags struct {
	first, end    string
	after, before moment
	authors       []string
	kinds         []string
	order         string
	limit         int
	versions      bool
	long          bool
}

func newList(a *app) *cobra.Command {
	var f listFlags
	var from string
	cmd := &cobra.Command{
		Use:     "list [PREFIX]",
		Aliases: []string{"ls"},
		Short:   "List the records at and below a path",
		Long: `Lists what reads as present at and below a path, one record a line: the
current version of each document, and every entry. --versions lists every
record that is held, old versions and deletions among them.

With --from, another device is asked. What it answers is checked before it is
shown: it signed that this is all it holds there.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := f.query(args)
			if err != nil {
				return err
			}
			if from != "" {
				return a.listFrom(cmd, from, q.Prefix, f.long)
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				if len(f.authors) > 0 {
					members, err := s.Members(cmd.Context())
					if err != nil {
						return err
					}
					for _, prefix := range f.authors {
						key, err := findAuthor(members, prefix)
						if err != nil {
							return err
						}
						q.Authors = append(q.Authors, key)
					}
				}
				n := 0
				for v, err := range s.List(cmd.Context(), q) {
					if err != nil {
						return err
					}
					n++
					if err := a.listed(v, f.long); err != nil {
						return err
					}
				}
				if n == 0 && a.terminal && !a.json {
					a.say("nothing to list")
				}
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.first, "first", "", "only `path`s from this one on, by bytes")
	flags.StringVar(&f.end, "end", "", "only `path`s before this one, by bytes")
	flags.StringVar(&from, "from", "", "ask this `device` what it holds, and check its answer; only a PREFIX goes with it")
	flags.StringSliceVar(&f.authors, "author", nil, "only records of this author `key`, or six characters of it (may be repeated)")
	flags.Var(&f.after, "after", "only records of this time or later: 2026-05-01, 2026-05-01T10:00:00Z, or 2h (ago)")
	flags.Var(&f.before, "before", "only records before this time")
	flags.StringVar(&f.order, "order", "path", "path, oldest or newest first")
	flags.IntVar(&f.limit, "limit", 0, "at most so many (0: all)")
	flags.StringSliceVar(&f.kinds, "kind", nil, "only entry, doc, delta or a number from 6 on (may be repeated)")
	flags.BoolVar(&f.versions, "versions", false, "every record: old versions, deleted and expired ones too")
	flags.BoolVarP(&f.long, "long", "l", false, "with time, kind, author, ID and the beginning of the payload")
	return a.inSpace(cmd)
}

func (f listFlags) query(args []string) (anabranch.Query, error) {
	q := anabranch.Query{
		From:     f.first,
		Until:    f.end,
		After:    time.Time(f.after),
		Before:   time.Time(f.before),
		Limit:    f.limit,
		Versions: f.versions,
	}
	if f.limit < 0 {
		return q, usage("--limit %d is negative", f.limit)
	}
	if len(args) == 1 {
		prefix, err := checkedPath(args[0])
		if err != nil {
			return q, err
		}
		q.Prefix = prefix
	}
	if q.Prefix != "" && (q.From != "" || q.Until != "") {
		return q, usage("either PREFIX, or --first and --end")
	}
	orders := map[string]anabranch.Order{"path": anabranch.ByPath, "oldest": anabranch.OldestFirst, "newest": anabranch.NewestFirst}
	var ok bool
	if q.Order, ok = orders[f.order]; !ok {
		return q, usage("--order %q is none of path, oldest, newest", f.order)
	}
	for _, k := range f.kinds {
		kind, err := parseKind(k)
		if err != nil {
			return q, err
		}
		q.Kinds = append(q.Kinds, kind)
	}
	slices.Sort(q.Kinds)
	return q, nil
}

func parseKind(text string) (record.Kind, error) {
	for _, k := range []record.Kind{record.Entry, record.Doc, record.Delta} {
		if k.String() == text {
			return k, nil
		}
	}
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && n > uint64(record.Control) {
		return record.Kind(n), nil
	}
	return 0, usage("--kind %q is none of entry, doc, delta, nor a number from 6 to 255", text)
}

// listed prints one record of a listing.
func (a *app) listed(v *anabranch.Record, long bool) error {
	switch {
	case a.json:
		return a.emit(viewRecord(v))
	case long:
		r := recordRow(v)
		return a.print("%s  %-6s %s  %s  %s  %s", r[0], r[1], r[2], r[3], r[4], r[5])
	}
	return a.print("%s", v.Path)
}

// listFrom lists what another device holds at and below a path.
func (a *app) listFrom(cmd *cobra.Command, device, prefix string, long bool) error {
	for _, name := range []string{"first", "end", "after", "before", "author", "kind", "order", "limit", "versions"} {
		if cmd.Flags().Changed(name) {
			return usage("--%s does not go with --from: another device lists every record it holds there", name)
		}
	}
	var q space.Query
	if prefix != "" {
		var err error
		if q, err = anabranch.PathQuery(prefix); err != nil {
			return err
		}
	}
	return a.askDevice(cmd.Context(), device, q, func(_ *anabranch.Space, answer anabranch.Answer) error {
		for _, r := range byPath(answer.Records) {
			if err := a.listed(r, long); err != nil {
				return err
			}
		}
		return nil
	})
}
