package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/crdt/text"
	"anabranch/record"
)

// textPeopleJSON is who else is in a text, each time that changes.
type textPeopleJSON struct {
	Schema string           `json:"schema"` // anabranch.text-people/1
	Path   string           `json:"path"`
	People []textPersonJSON `json:"people"`
}

type textPersonJSON struct {
	Device string `json:"device"`
	Name   string `json:"name"` // what they call themselves
	Pos    *int   `json:"pos,omitempty"`
	Mark   *int   `json:"mark,omitempty"` // the other end of what is selected
	Typing bool   `json:"typing"`
}

// textChangeJSON is a change of a text, seen as it is typed.
type textChangeJSON struct {
	Schema   string `json:"schema"` // anabranch.text-change/1
	Pos      int    `json:"pos"`
	Deleted  int    `json:"deleted"`
	Inserted string `json:"inserted"`
	Origin   string `json:"origin"`           // whole, local, remote, typing or rebuilt
	Author   string `json:"author,omitempty"` // if it is one
}

func newTextWatch(a *app) *cobra.Command {
	var name string
	var typing bool
	var listen []string
	cmd := &cobra.Command{
		Use:   "watch PATH [--as NAME] [--typing]",
		Short: "Show who is in a text, and what they type, as it happens",
		Long: `Prints a line each time somebody comes into a text, moves or goes, on devices
that are connected with this one, until Ctrl-C. With --as, others see this
device in the text under that name meanwhile. With --typing it prints each
change of the text, too, also what others type and have not signed yet.

Nothing of this is kept. Where no "anabranch up" runs on this home, this
command does its work too.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := checkedPath(args[0])
			if err != nil {
				return err
			}
			if err := checkedAddrs("listen", listen); err != nil {
				return err
			}
			ctx := cmd.Context()
			a.endless = true
			return a.with(ctx, false, anabranch.Options{Listen: listen}, func(r *anabranch.Replica) error {
				s, err := r.Space(a.space)
				if err != nil {
					return err
				}
				if a.shared == nil {
					stop, err := a.serve(ctx, r)
					if err != nil {
						return err
					}
					defer stop()
				}
				err = a.textWatch(ctx, s.Text(where), name, typing)
				if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
					if cause := context.Cause(ctx); cause == errUpStops {
						return cause
					}
					return nil // Ctrl-C is how it is meant to end
				}
				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "as", "", "the `name` under which others see this device in the text")
	flags.BoolVar(&typing, "typing", false, "print what changes in the text, too")
	listenFlag(cmd, &listen)
	return a.inSpace(cmd)
}

// textWatch prints what goes on in a text.
func (a *app) textWatch(ctx context.Context, t *anabranch.Text, name string, typing bool) error {
	if name != "" {
		if err := t.SetPresence(&anabranch.TextPresence{Name: name}); err != nil {
			return err
		}
		defer t.SetPresence(nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !typing {
		for people, err := range t.Presence(ctx) {
			if err == nil {
				err = a.textPeople(ctx, t, people)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	type heard struct {
		people []anabranch.TextPerson
		change *anabranch.TextChange
		err    error
	}
	news := make(chan heard)
	tell := func(h heard) bool {
		select {
		case news <- h:
			return h.err == nil
		case <-ctx.Done():
			return false
		}
	}
	ended := make(chan struct{}, 2)
	go func() {
		defer func() { ended <- struct{}{} }()
		for people, err := range t.Presence(ctx) {
			if !tell(heard{people: people, err: err}) {
				return
			}
		}
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		for c, err := range t.Preview(ctx) {
			if !tell(heard{change: &c, err: err}) {
				return
			}
		}
	}()
	defer func() { cancel(); <-ended; <-ended }()
	for {
		select {
		case h := <-news:
			err := h.err
			switch {
			case err != nil:
			case h.change != nil:
				err = a.textChange(*h.change)
			default:
				err = a.textPeople(ctx, t, h.people)
			}
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// textPeople prints who is there.
func (a *app) textPeople(ctx context.Context, t *anabranch.Text, people []anabranch.TextPerson) error {
	out := textPeopleJSON{Schema: "anabranch.text-people/1", Path: t.Path(), People: []textPersonJSON{}}
	var words []string
	for _, p := range people {
		one := textPersonJSON{Device: p.Device.String(), Name: p.Name, Typing: p.Typing}
		said := []string{short(p.Device)}
		if p.Placed {
			at := func(x text.Anchor) *int {
				if pos, ok, err := t.Resolve(ctx, x); ok && err == nil {
					return &pos
				}
				return nil
			}
			one.Pos, one.Mark = at(p.Caret), at(p.Mark)
			if one.Pos != nil {
				said = append(said, "at "+strconv.Itoa(*one.Pos))
			}
		}
		if p.Typing {
			said = append(said, "typing")
		}
		name := p.Name
		if name == "" {
			name = "somebody"
		}
		words = append(words, fmt.Sprintf("%s (%s)", escape(name), strings.Join(said, ", ")))
		out.People = append(out.People, one)
	}
	if a.json {
		if err := a.emit(out); err != nil {
			return err
		}
		return a.flush()
	}
	line := "nobody else is here"
	if len(words) > 0 {
		line = "here: " + strings.Join(words, ", ")
	}
	if err := a.print("%s  %s", clock(time.Now()), line); err != nil {
		return err
	}
	return a.flush()
}

// textChange prints a change of the text.
func (a *app) textChange(c anabranch.TextChange) error {
	for _, p := range c.Patches {
		if a.json {
			out := textChangeJSON{Schema: "anabranch.text-change/1", Pos: p.Pos, Deleted: p.Delete, Inserted: p.Text, Origin: string(c.Origin)}
			if c.Author != (record.Key{}) {
				out.Author = c.Author.String()
			}
			if err := a.emit(out); err != nil {
				return err
			}
			continue
		}
		line := fmt.Sprintf("%s  %d:", clock(time.Now()), p.Pos)
		if p.Delete > 0 {
			line += fmt.Sprintf(" -%d", p.Delete)
		}
		if p.Text != "" {
			line += " +" + strconv.Quote(p.Text)
		}
		if c.Origin == anabranch.TextTyping {
			line += "  (being typed)"
		}
		if err := a.print("%s", line); err != nil {
			return err
		}
	}
	return a.flush()
}

// inTextMeanwhile says to others that this device has a text open, until stop,
// and who else was there then. It needs a running up, whose connections it is.
func (a *app) inTextMeanwhile(ctx context.Context, where string) (stop func() []string) {
	home, _, err := directories(a.home)
	if err != nil {
		return func() []string { return nil }
	}
	conn, err := net.DialTimeout("unix", socketName(home), time.Second)
	if err != nil {
		return func() []string { return nil }
	}
	conn.Close()
	name := os.Getenv("ANABRANCH_DEVICE_NAME")
	if name == "" {
		name, _ = os.Hostname()
	}
	ctx, cancel := context.WithCancel(ctx)
	said := make(chan []byte, 1)
	go func() {
		b, _ := a.nested(ctx, strings.NewReader(""), "text", "watch", where, "--quiet", "--as="+name)
		said <- b
	}()
	return func() []string {
		cancel()
		names := map[string]string{} // by device; empty: it has said none
		for line := range bytes.Lines(<-said) {
			var seen textPeopleJSON
			if json.Unmarshal(line, &seen) != nil {
				continue
			}
			for _, p := range seen.People {
				if names[p.Device] == "" {
					names[p.Device] = p.Name
				}
			}
		}
		var out []string
		for device, name := range names {
			if name == "" {
				name = device[:min(12, len(device))]
			}
			out = append(out, name)
		}
		slices.Sort(out)
		return out
	}
}
