//go:build unix

// Command text replays recorded editing with package crdt/text and with the
// engines that Node can run, and writes a table into docs/crdt.md and a chart
// beside it. From the folder of the bench module:
//
//	(cd text && npm install) && go run ./text -traces FOLDER -docs ../docs -figures text/figures.json
//
// Each figure is the CPU time of the process, user and system, with compilers
// and collectors: the median of up to five runs. The table says where a replay
// does not end at the trace's own end. See crdt/text/testdata/README.md for the traces.
package main

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"anabranch/crdt/text"
)

// figures are what one engine took for one trace, in ms; nil: longer than 20 s,
// after something that took longer, or not a thing of that trace.
type figures struct {
	Engine string   `json:"engine"`
	Local  *float64 `json:"local"`
	Remote *float64 `json:"remote"`
	Load   *float64 `json:"load"`
	Bytes  int      `json:"bytes"`
	Same   bool     `json:"same"` // whatever was measured ended at the trace's own end
}

const ours = "anabranch"

// elsewhere is what others measured, on another machine: ms, and KB saved.
var elsewhere = []string{
	"automerge-paper: yjs 6 357 / 2 023 / 59, 160 KB; loro 965 / 7 124 / 2, 231 KB; diamond-types 65 / 740 / 7.6, 109 KB in WebAssembly and 4.1 / – / 1.7, 106 KB as native code",
}

func main() {
	traces := flag.String("traces", "", "folder of the traces")
	docs := flag.String("docs", "", "folder with crdt.md; none: print the table")
	names := flag.String("names", "automerge-paper,rustcode,sveltecomponent,friendsforever,node_nodecc", "which traces")
	kept := flag.String("figures", "", "file of figures measured before, which are not measured again; new ones are added")
	engines := flag.String("engines", "diamond-types,loro,yjs,automerge", "which of the other engines")
	flag.Parse()
	if err := run(*traces, *docs, *kept, strings.Split(*names, ","), strings.FieldsFunc(*engines, func(c rune) bool { return c == ',' })); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(traces, docs, kept string, names, engines []string) error {
	all := map[string][]figures{}
	if b, err := os.ReadFile(kept); err == nil {
		if err := json.Unmarshal(b, &all); err != nil {
			return fmt.Errorf("%s: %w", kept, err)
		}
	}
	engines = append([]string{ours}, engines...)
	for _, name := range names {
		file := filepath.Join(traces, name+".json.gz")
		for _, e := range engines {
			if slices.ContainsFunc(all[name], func(f figures) bool { return f.Engine == e }) {
				continue
			}
			f, err := measure(e, file)
			if err != nil {
				return fmt.Errorf("%s with %s: %w", name, e, err)
			}
			fmt.Fprintln(os.Stderr, name, e, shown(f.Local), shown(f.Remote), shown(f.Load), f.Bytes)
			all[name] = append(all[name], f)
			if b, err := json.MarshalIndent(all, "", "\t"); kept != "" && err == nil {
				if err := os.WriteFile(kept, append(b, '\n'), 0o644); err != nil {
					return err
				}
			}
		}
		// In the order that was asked for, whatever was measured when.
		row := make([]figures, len(engines))
		for i, e := range engines {
			row[i] = all[name][slices.IndexFunc(all[name], func(f figures) bool { return f.Engine == e })]
		}
		all[name] = row
	}
	table := report(names, all)
	if docs == "" {
		fmt.Print(table)
		return nil
	}
	if err := os.WriteFile(filepath.Join(docs, "text-bench.svg"), []byte(chart(names, all)), 0o644); err != nil {
		return err
	}
	page := filepath.Join(docs, "crdt.md")
	b, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(b), mark)
	_, tail, ok2 := strings.Cut(rest, mark)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no two lines %q", page, mark)
	}
	return os.WriteFile(page, []byte(head+mark+"\n"+table+mark+tail), 0o644)
}

const mark = "<!-- written by bench/text -->"

func measure(engine, file string) (figures, error) {
	if engine == ours {
		return replay(file)
	}
	return peer(engine, file)
}

// peer runs one of the others, which gives up a figure that takes too long.
func peer(engine, file string) (f figures, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "node", "--expose-gc", "peers.mjs", engine, file)
	c.Dir, c.Stderr = "text", os.Stderr
	out, err := c.Output()
	if err == nil {
		err = json.Unmarshal(out, &f)
	}
	return f, err
}

type trace struct {
	Kind string
	End  string `json:"endContent"`
	Txns []struct {
		Parents []int
		Agent   int
		Patches []patch
	}
}

type patch struct {
	pos, del int
	ins      string
}

func (p *patch) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&p.pos, &p.del, &p.ins})
}

func edit(d *text.Doc, ps []patch) error {
	for _, p := range ps {
		if err := cmp.Or(d.Delete(p.pos, p.del), d.Insert(p.pos, p.ins)); err != nil {
			return err
		}
	}
	return nil
}

// replay is the same with ours.
func replay(file string) (figures, error) {
	out := figures{Engine: ours, Same: true}
	tr, err := read(file)
	if err != nil {
		return out, err
	}
	if tr.Kind != "concurrent" {
		out.Local, err = timed(func() error {
			d := text.New(1)
			for i := range tr.Txns {
				if err := edit(d, tr.Txns[i].Patches); err != nil {
					return err
				}
			}
			return tr.ends(d)
		})
		if err != nil {
			return out, err
		}
	}
	log, err := tr.log()
	if err != nil {
		return out, err
	}
	var got *text.Doc
	out.Remote, err = timed(func() error {
		got = text.New(0)
		for _, x := range log {
			if _, err := got.Apply(x.Lane, x.Body); err != nil {
				return err
			}
		}
		return nil
	})
	if err := cmp.Or(err, tr.ends(got)); err != nil {
		return out, err
	}
	saved, err := got.Save()
	if err != nil {
		return out, err
	}
	out.Bytes = len(saved)
	out.Load, err = timed(func() error {
		d, err := text.Load(0, saved)
		if err == nil {
			err = tr.ends(d)
		}
		return err
	})
	return out, err
}

func read(file string) (*trace, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	tr := new(trace)
	return tr, json.NewDecoder(z).Decode(tr)
}

func (tr *trace) ends(d *text.Doc) error {
	if d.String() != tr.End {
		return fmt.Errorf("ends with another text")
	}
	return nil
}

// log is one delta for each transaction, made by a replica for each agent.
func (tr *trace) log() ([]text.Delta, error) {
	type replica struct {
		doc  *text.Doc
		have map[int]bool
	}
	replicas := map[int]*replica{}
	made := make([][]text.Delta, len(tr.Txns))
	var log []text.Delta
	for i, t := range tr.Txns {
		r := replicas[t.Agent]
		if r == nil {
			r = &replica{text.New(uint64(t.Agent) + 1), map[int]bool{}}
			replicas[t.Agent] = r
		}
		var lacks []int
		for look := slices.Clone(t.Parents); len(look) > 0; {
			k := look[len(look)-1]
			look = look[:len(look)-1]
			if !r.have[k] {
				r.have[k] = true
				lacks = append(lacks, k)
				look = append(look, tr.Txns[k].Parents...)
			}
		}
		slices.Sort(lacks)
		for _, k := range lacks {
			for _, x := range made[k] {
				if _, err := r.doc.Apply(x.Lane, x.Body); err != nil {
					return nil, err
				}
			}
		}
		r.have[i] = true
		if err := edit(r.doc, t.Patches); err != nil {
			return nil, err
		}
		for _, b := range r.doc.Flush(0) {
			made[i] = append(made[i], text.Delta{Lane: r.doc.Lane(), Body: b})
		}
		log = append(log, made[i]...)
	}
	return log, nil
}

func timed(f func() error) (*float64, error) {
	var all []float64
	for range 5 {
		runtime.GC()
		begin := cpu()
		if err := f(); err != nil {
			return nil, err
		}
		all = append(all, float64((cpu()-begin).Microseconds())/1000)
	}
	slices.Sort(all)
	return &all[2], nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func shown(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v < 9.95:
		return fmt.Sprintf("%.1f", *v)
	}
	return fmt.Sprintf("%.0f", *v)
}

// version is that of an engine, as package.json has it.
func version(engine string) string {
	var p struct{ Dependencies map[string]string }
	b, err := os.ReadFile(filepath.Join("text", "package.json"))
	if err != nil || json.Unmarshal(b, &p) != nil {
		return ""
	}
	for _, name := range []string{engine, "@automerge/" + engine, engine + "-crdt", engine + "-node"} {
		if v := p.Dependencies[name]; v != "" {
			return " " + v
		}
	}
	return ""
}

func report(names []string, all map[string][]figures) string {
	var b strings.Builder
	b.WriteString("\n| engine |")
	for _, n := range names {
		fmt.Fprintf(&b, " %s |", n)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(names)) + "\n")
	for i, f := range all[names[0]] {
		fmt.Fprintf(&b, "| %s%s |", f.Engine, version(f.Engine))
		for _, n := range names {
			f := all[n][i]
			size := "–"
			if f.Local == nil && f.Remote == nil {
				b.WriteString(" – |")
				continue
			}
			if f.Bytes > 0 {
				size = fmt.Sprintf("%.0f KB", float64(f.Bytes)/1000)
			}
			other := ""
			if !f.Same {
				other = ", ends otherwise"
			}
			fmt.Fprintf(&b, " %s / %s / %s, %s%s |", shown(f.Local), shown(f.Remote), shown(f.Load), size, other)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, s := range elsewhere {
		fmt.Fprintf(&b, "Measured elsewhere: %s.\n", s)
	}
	return b.String()
}
