package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

func newDemo(*app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Three replicas drift apart, rejoin, and prove that they hold the same thing",
		Long: `Starts three replicas in a temporary folder, joins them over real encrypted
links on loopback, cuts one off, lets everybody go on writing, heals the
link, and compares roots. Then five that sync by themselves show how fast
a write comes to all of them. It exits 0 only if all three roots are equal, and
leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := cmd.Flags().GetBool("json")
			if err != nil {
				return err
			}
			story := cmd.OutOrStdout()
			if asJSON {
				story = io.Discard
			}
			result, err := runDemo(cmd.Context(), story)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(result)
			}
			return nil
		},
	}
}

// demoResult is what `demo --json` prints.
type demoResult struct {
	Schema        string `json:"schema"`
	Converged     bool   `json:"converged"`
	Root          string `json:"root"`
	Records       uint64 `json:"records"`
	Conflicts     int    `json:"conflicts"`
	BytesToHeal   int64  `json:"bytes_to_heal"`
	BytesFullCopy int64  `json:"bytes_full_copy"`
	RoundTrips    int    `json:"round_trips"`
	Milliseconds  int64  `json:"milliseconds"`

	Gossip demoGossip `json:"gossip"`
}

const (
	demoNotes   = 400 // written before the link is cut
	demoOffline = 25  // written on each side of the cut
)

// demo is three replicas and the space they share.
type demo struct {
	out                io.Writer
	attic, boat, cabin demoSite
}

type demoSite struct {
	name    string
	replica *anabranch.Replica
	space   *anabranch.Space
}

func runDemo(ctx context.Context, out io.Writer) (_ demoResult, err error) {
	begun := time.Now()
	dir, err := os.MkdirTemp("", "anabranch-demo-")
	if err != nil {
		return demoResult{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{out: out}
	defer func() { err = errors.Join(err, d.close()) }()

	d.say("Three replicas on this machine, joined by encrypted links over loopback.\n")
	if err := d.gather(ctx, dir); err != nil {
		return demoResult{}, err
	}
	if err := d.drift(ctx); err != nil {
		return demoResult{}, err
	}
	result, err := d.rejoin(ctx)
	if err != nil {
		return demoResult{}, err
	}
	if result.Gossip, err = d.gossip(ctx, dir); err != nil {
		return demoResult{}, err
	}
	took := time.Since(begun)
	result.Milliseconds = took.Milliseconds()
	d.say("\nDone in %.1f s. Nothing is left behind.\n", took.Seconds())
	return result, nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

func (d *demo) close() error {
	var errs []error
	for _, s := range []demoSite{d.attic, d.boat, d.cabin} {
		if s.replica != nil {
			errs = append(errs, s.replica.Close())
		}
	}
	return errors.Join(errs...)
}

// gather opens the replicas, makes the space, fills it, and joins the others
// with a ticket each.
func (d *demo) gather(ctx context.Context, dir string) error {
	open := func(site *demoSite, name string) error {
		replica, err := anabranch.Open(ctx, filepath.Join(dir, name), anabranch.Options{
			LeaseDir: filepath.Join(dir, "lease"),
			Listen:   []string{"127.0.0.1:0"},
			Manual:   true, // so that each session below can be told
		})
		*site = demoSite{name: name, replica: replica}
		return err
	}
	for name, site := range map[string]*demoSite{"attic": &d.attic, "boat": &d.boat, "cabin": &d.cabin} {
		if err := open(site, name); err != nil {
			return err
		}
	}
	d.say("\n1. One space, three devices\n\n")
	space, _, err := d.attic.replica.CreateSpace(ctx, "field-notes")
	if err != nil {
		return err
	}
	d.attic.space = space
	writes := []anabranch.Write{
		{Path: "/plan", Payload: []byte("Walk the east bank in May.")},
		{Path: "/draft", Payload: []byte("A first draft, never sent.")},
	}
	for i := range demoNotes {
		writes = append(writes, anabranch.Write{Op: anabranch.OpAppend, Path: fmt.Sprintf("/notes/%03d", i), Payload: demoText(i)})
	}
	if _, err := space.Batch(ctx, writes...); err != nil {
		return err
	}
	d.say("   attic makes the space and writes %d records.\n", len(writes))
	for _, site := range []*demoSite{&d.boat, &d.cabin} {
		ticket, err := space.Invite(ctx, anabranch.InviteOptions{})
		if err != nil {
			return err
		}
		if site.space, err = site.replica.Join(ctx, ticket, "field-notes"); err != nil {
			return err
		}
		report, err := site.space.Sync(ctx, d.attic.replica.Device())
		if err != nil {
			return err
		}
		d.say("   %-5s joins with a single-use ticket and fetches %d records, %s.\n", site.name, report.RecordsIn, size(report.BytesIn))
	}
	if err := d.pass(ctx, d.attic, d.boat); err != nil { // boat learns of cabin
		return err
	}
	return d.show(ctx, "attic ───── boat\n      │\n    cabin")
}

// drift cuts cabin off; both sides go on writing.
func (d *demo) drift(ctx context.Context) error {
	d.cabin.replica.SetOnline(false)
	d.say("\n2. The link to cabin breaks, and everybody goes on writing\n\n")
	for _, site := range []demoSite{d.attic, d.boat, d.cabin} {
		var writes []anabranch.Write
		for i := range demoOffline {
			writes = append(writes, anabranch.Write{Op: anabranch.OpAppend, Path: "/notes/" + site.name, Payload: demoText(i)})
		}
		if _, err := site.space.Batch(ctx, writes...); err != nil {
			return err
		}
	}
	d.say("   attic, boat and cabin append %d notes each.\n", demoOffline)
	if _, err := d.boat.space.Put(ctx, "/plan", []byte("Walk the west bank in June.")); err != nil {
		return err
	}
	if _, err := d.cabin.space.Put(ctx, "/plan", []byte("Stay at home and read.")); err != nil {
		return err
	}
	d.say("   boat and cabin both rewrite /plan, neither knowing of the other.\n")
	if _, err := d.attic.space.Delete(ctx, "/draft"); err != nil {
		return err
	}
	d.say("   attic deletes /draft.\n")
	if err := d.pass(ctx, d.boat, d.attic); err != nil {
		return err
	}
	return d.show(ctx, "attic ───── boat\n      ╳\n    cabin")
}

// rejoin heals the link and proves the result.
func (d *demo) rejoin(ctx context.Context) (demoResult, error) {
	d.cabin.replica.SetOnline(true)
	d.say("\n3. The link heals\n\n")
	result := demoResult{Schema: "anabranch.demo/1"}
	report, err := d.cabin.space.Sync(ctx, d.attic.replica.Device())
	if err != nil {
		return demoResult{}, err
	}
	result.BytesToHeal = report.BytesIn + report.BytesOut
	result.RoundTrips = report.Rounds
	d.say("   cabin and attic compare summaries and exchange what each is missing:\n")
	d.say("   %d records to cabin, %d to attic, in %d round trips.\n", report.RecordsIn, report.RecordsOut, report.Rounds)
	if err := d.pass(ctx, d.attic, d.boat); err != nil {
		return demoResult{}, err
	}
	full, err := d.cabin.bytes(ctx)
	if err != nil {
		return demoResult{}, err
	}
	result.BytesFullCopy = full
	d.say("   %s crossed the link; a full copy would have been %s.\n", size(result.BytesToHeal), size(full))
	if err := d.show(ctx, "attic ───── boat\n      │\n    cabin"); err != nil {
		return demoResult{}, err
	}
	if err := d.prove(ctx, &result); err != nil {
		return demoResult{}, err
	}
	return result, nil
}

// prove checks what the story claims: the deleted document is gone
// everywhere, the conflict is shown, and all roots are equal.
func (d *demo) prove(ctx context.Context, result *demoResult) error {
	d.say("\n")
	sites := []demoSite{d.attic, d.boat, d.cabin}
	for _, site := range sites {
		if _, err := site.space.Get(ctx, "/draft"); !errors.Is(err, anabranch.ErrNotFound) {
			return fmt.Errorf("%s still reads /draft (%v)", site.name, err)
		}
	}
	d.say("   /draft is gone everywhere.\n")
	for conflict, err := range d.attic.space.Conflicts(ctx, "") {
		if err != nil {
			return err
		}
		result.Conflicts++
		d.say("   %s reads %q;\n   beside it stands %q: a conflict is shown, not hidden.\n",
			conflict.Path, conflict.Current.Payload, conflict.Others[0].Payload)
	}
	if result.Conflicts != 1 {
		return fmt.Errorf("%d conflicts are shown where there is one", result.Conflicts)
	}
	first, count, err := sites[0].space.Root(ctx)
	if err != nil {
		return err
	}
	for _, site := range sites[1:] {
		root, _, err := site.space.Root(ctx)
		if err != nil {
			return err
		}
		if root != first {
			return fmt.Errorf("roots differ: attic holds %v, %s holds %v", first, site.name, root)
		}
	}
	result.Converged, result.Root, result.Records = true, first.String(), count
	d.say("\n   All three roots are equal, so all three hold the same %d records, byte for byte:\n   %v\n", count, first)
	return nil
}

// pass runs one session between two sites.
func (d *demo) pass(ctx context.Context, from, to demoSite) error {
	_, err := from.space.Sync(ctx, to.replica.Device())
	return err
}

// show draws the links and each replica's root.
func (d *demo) show(ctx context.Context, picture string) error {
	lines := strings.Split(picture, "\n")
	d.say("\n")
	for i, site := range []demoSite{d.attic, d.boat, d.cabin} {
		root, count, err := site.space.Root(ctx)
		if err != nil {
			return err
		}
		d.say("      %-20s %-5s  %4d records   root %s…\n", lines[i], site.name, count, root.String()[:16])
	}
	return nil
}

// bytes is the size of every record a site holds: what a full copy costs.
func (s demoSite) bytes(ctx context.Context) (int64, error) {
	var n int64
	for v, err := range s.space.List(ctx, anabranch.Query{Versions: true}) {
		if err != nil {
			return 0, err
		}
		n += int64(len(v.Bytes))
	}
	return n, nil
}

// demoText is a note of a length that people write.
func demoText(i int) []byte {
	words := []string{"heron", "water", "low", "bank", "willow", "early", "mist", "otter", "track", "south", "reeds", "calm"}
	var b strings.Builder
	for k := range 24 {
		b.WriteString(words[(i*7+k*k+k*i)%len(words)])
		b.WriteByte(' ')
	}
	return []byte(strings.TrimSpace(b.String()))
}

func size(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
