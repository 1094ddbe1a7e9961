package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

// simulationJSON is what sim --json prints, a line each world.
type simulationJSON struct {
	Schema    string  `json:"schema"` // anabranch.simulation/1
	Replicas  int     `json:"replicas"`
	Writes    int     `json:"writes"`
	Mode      string  `json:"mode"`
	Seed      string  `json:"seed"`  // decimal: 64 bits are more than JSON's numbers hold
	Whole     bool    `json:"whole"` // stores, signatures and sessions are real ones
	Converged bool    `json:"converged"`
	Verdict   string  `json:"verdict"`
	TraceHash string  `json:"trace_hash"`
	Replay    string  `json:"replay"` // the command that runs it again
	VirtualMs int64   `json:"virtual_ms"`
	Events    int     `json:"events"`
	Reached   float64 `json:"reached"` // share of deliveries made within five seconds
	Rounds    int     `json:"rounds,omitempty"`
	Copies    float64 `json:"copies"`           // payloads sent per delivery
	IDs       float64 `json:"ids"`              // IDs announced per delivery
	Bytes     float64 `json:"bytes_per_update"` // and replica
	P50Ms     float64 `json:"p50_ms"`
	P99Ms     float64 `json:"p99_ms"`
	LastMs    float64 `json:"last_ms"`

	Sessions       int64 `json:"sessions"`
	SessionBytes   int64 `json:"session_bytes"`
	SessionRecords int64 `json:"session_records"`

	Missed      int     `json:"missed,omitempty"`       // records that had not come everywhere when the partition healed
	HealingMs   int64   `json:"healing_ms,omitempty"`   // from then to equal sets
	Repairs     float64 `json:"repairs,omitempty"`      // payloads per missed record and replica
	Soon        float64 `json:"soon,omitempty"`         // deliveries to who did not crash, within two seconds
	RecoveredMs int64   `json:"recovered_ms,omitempty"` // from the crash to equal sets
	Liars       int     `json:"liars,omitempty"`
	Named       int     `json:"named,omitempty"` // of them, by somebody honest
	Innocent    int     `json:"innocent,omitempty"`
	Forwarded   int     `json:"forwarded,omitempty"` // records that are wrong for everyone, passed on by somebody honest
}

type simFlags struct {
	o        anabranch.SimulateOptions
	replicas []int
	modes    []string
	seeds    int
	latency  string
	plot     string
	picture  string
}

// crowded is the number of replicas above which a simulation is kept small:
// one holds about 18 KB then, and the collector works harder before it lets
// the process have more than 22 KB of each and 64 MB.
const crowded = 1000

func newSim(a *app) *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate a space of many replicas, and see it converge",
		Long: `Runs a world of replicas in virtual time, on this machine alone: this
program's own engine, gossip, sessions and stores, over links that are
simulated. Up to 64 replicas are whole, signatures and all, and every moment
of them is checked; of more (up to 200000), a store is a set of numbers and a
session a model. The seed decides everything else: the same command gives the
same world again, with the same trace hash.

Half of the replicas can be cut off for a while (--partition), a share of them
crash in the middle (--churn), or alter whatever they pass on (--malicious).

Exits with 4 if not all hold the same in the end.`,
		Example: `  anabranch sim --replicas 1000 --partition 60s --plot healing.svg
  anabranch sim --mode push,pull,push-pull --replicas 10,100,1000 --seeds 10 --writes 1 --plot rounds.svg`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(a, cmd) },
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&f.replicas, "replicas", []int{5}, "replicas of the space; several `numbers` are several worlds")
	flags.IntVar(&f.o.Writes, "writes", 50, "records that are written, each by somebody drawn at random")
	flags.Float64Var(&f.o.Rate, "rate", 2, "how many of them a second")
	flags.IntVar(&f.o.Payload, "payload", 256, "their size in `bytes`, up to 4096")
	flags.StringVar(&f.latency, "latency", "10ms-50ms", "what a link takes one way: one duration, or `least-most`")
	flags.Float64Var(&f.o.Loss, "loss", 0, "share of frames of rumors that are lost")
	flags.DurationVar(&f.o.Partition, "partition", 0, "for how long one half cannot reach the other")
	flags.Float64Var(&f.o.Churn, "churn", 0, "share of replicas that crash when half is written, for 30 s")
	flags.Float64Var(&f.o.Malicious, "malicious", 0, "share of replicas that alter what they pass on")
	flags.StringSliceVar(&f.modes, "mode", []string{"tree"}, "how rumors spread: tree, push, pull, push-pull; several `modes` are several worlds")
	flags.DurationVar(&f.o.Interval, "interval", 30*time.Second, "mean time between anti-entropy sessions")
	flags.Uint64Var(&f.o.Seed, "seed", 1, "what decides everything that is left to chance")
	flags.IntVar(&f.seeds, "seeds", 1, "worlds of each kind, with seeds one after the other")
	flags.StringVar(&f.plot, "plot", "", "draw a picture into this SVG `file`")
	flags.StringVar(&f.picture, "picture", "", "which one: rounds, copies, delays, healing")
	return cmd
}

func (f *simFlags) run(a *app, cmd *cobra.Command) error {
	least, most, err := latency(f.latency)
	if err != nil {
		return err
	}
	f.o.LatencyLeast, f.o.LatencyMost = least, most
	if f.seeds < 1 || f.seeds > 1_000_000 {
		return usage("--seeds is %d, outside 1 to 1000000", f.seeds)
	}
	var all []anabranch.Simulation
	failed := false
	for _, mode := range f.modes {
		for _, n := range f.replicas {
			var group []anabranch.Simulation
			for k := range f.seeds {
				o := f.o
				o.Mode, o.Replicas, o.Seed = mode, n, f.o.Seed+uint64(k)
				if n > crowded {
					debug.SetMemoryLimit(int64(64<<20 + n*22<<10))
				}
				live := a.live(o)
				o.Progress = live.show
				if a.verbose {
					o.Log = func(line string) { fmt.Fprintln(a.stderr, line) }
				}
				s, err := anabranch.Simulate(cmd.Context(), o)
				live.end()
				if err != nil {
					if cmd.Context().Err() == nil {
						return usage("%v", err)
					}
					return err
				}
				group = append(group, s)
				failed = failed || !asPromised(s)
				if a.json {
					if err := a.emit(viewSimulation(s, f.replay(s))); err != nil {
						return err
					}
				} else if f.seeds == 1 {
					if err := a.tellSimulation(s, f.replay(s)); err != nil {
						return err
					}
				}
			}
			if f.seeds > 1 && !a.json {
				if err := a.tellSimulations(group, f.replay); err != nil {
					return err
				}
			}
			all = append(all, group...)
		}
	}
	if f.plot != "" {
		svg, err := anabranch.PlotSimulations(f.picture, all)
		if err != nil {
			return usage("%v", err)
		}
		if err := os.WriteFile(a.path(f.plot), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	if failed {
		return &saidError{exitDiffer}
	}
	return nil
}

// asPromised reports whether a world came to what was promised.
func asPromised(s anabranch.Simulation) bool {
	return s.Converged && s.Broken == nil && s.Forwarded == 0 && s.Stored == 0 && s.Innocent == 0
}

func latency(s string) (least, most time.Duration, err error) {
	from, to, two := strings.Cut(s, "-")
	if !two {
		to = from
	}
	least, err = time.ParseDuration(from)
	if err == nil {
		most, err = time.ParseDuration(to)
	}
	if err != nil || least < 0 || most < least {
		return 0, 0, usage("--latency %q is neither a duration nor least-most", s)
	}
	if most == 0 {
		return -1, -1, nil
	}
	return least, most, nil
}

// replay is the command that runs one world again.
func (f *simFlags) replay(s anabranch.Simulation) string {
	b := fmt.Sprintf("anabranch sim --replicas %d --writes %d --mode %s --seed %d --rate %v --payload %d --latency %s --interval %v",
		s.Replicas, s.Writes, s.Mode, s.Seed, f.o.Rate, f.o.Payload, f.latency, f.o.Interval)
	for _, x := range []struct {
		name  string
		value float64
	}{{"loss", f.o.Loss}, {"churn", f.o.Churn}, {"malicious", f.o.Malicious}} {
		if x.value > 0 {
			b += fmt.Sprintf(" --%s %v", x.name, x.value)
		}
	}
	if f.o.Partition > 0 {
		b += fmt.Sprintf(" --partition %v", f.o.Partition)
	}
	return b
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func viewSimulation(s anabranch.Simulation, replay string) simulationJSON {
	return simulationJSON{
		Schema: "anabranch.simulation/1", Replicas: s.Replicas, Writes: s.Writes, Mode: s.Mode, Seed: strconv.FormatUint(s.Seed, 10),
		Whole: s.Whole, Converged: s.Converged, Verdict: s.Verdict, TraceHash: fmt.Sprintf("%016x", s.TraceHash), Replay: replay,
		VirtualMs: s.Virtual.Milliseconds(), Events: s.Events, Reached: s.Reached, Rounds: s.Rounds,
		Copies: s.Copies, IDs: s.IDs, Bytes: s.Bytes, P50Ms: ms(s.P50), P99Ms: ms(s.P99), LastMs: ms(s.Last),
		Sessions: s.Sessions, SessionBytes: s.SessionBytes, SessionRecords: s.SessionRecords,
		Missed: s.Missed, HealingMs: s.Healing.Milliseconds(), Repairs: s.Repairs, Soon: s.Soon, RecoveredMs: s.Recovered.Milliseconds(),
		Liars: s.Liars, Named: s.Blamed, Innocent: s.Innocent, Forwarded: s.Forwarded,
	}
}

// tellSimulation prints one world for people.
func (a *app) tellSimulation(s anabranch.Simulation, replay string) error {
	rows := [][]string{{"verdict", s.Verdict}, {"virtual time", s.Virtual.Round(time.Millisecond).String()}}
	row := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	if s.Rounds > 0 {
		row("rounds", "%d at most, %.1f on average", s.Rounds, s.MeanRounds)
	} else {
		row("delivery", "p50 %v, p99 %v, last %v; %.2f %% within 5 s", s.P50, s.P99, s.Last.Round(time.Millisecond), 100*s.Reached)
	}
	row("copies", "%.3f payloads per delivery, %.2f IDs announced", s.Copies, s.IDs)
	row("bytes", "%.0f per update and replica", s.Bytes)
	if s.Sessions > 0 {
		row("sessions", "%d, %d bytes, %d records", s.Sessions, s.SessionBytes, s.SessionRecords)
	}
	if s.Missed > 0 {
		row("partition", "%d missed; equal %v after healing, %.2f payloads per missed record and replica", s.Missed, s.Healing.Round(100*time.Millisecond), s.Repairs)
	}
	if s.Recovered > 0 {
		row("crash", "%.3f %% of the others had it in 2 s; all equal after %v", 100*s.Soon, s.Recovered.Round(100*time.Millisecond))
	}
	if s.Liars > 0 {
		row("liars", "%d, of them %d named; %d innocents charged; %d forgeries passed on", s.Liars, s.Blamed, s.Innocent, s.Forwarded)
	}
	row("trace hash", "%016x", s.TraceHash)
	row("replay", "%s", replay)
	return a.rows(rows)
}

// tellSimulations prints worlds of one kind in a few lines.
func (a *app) tellSimulations(group []anabranch.Simulation, replay func(anabranch.Simulation) string) error {
	most := group[0]
	rounds, mean, copies, bytes, bad := 0, 0.0, 0.0, 0.0, 0
	var p99, last time.Duration
	k := float64(len(group))
	for _, s := range group {
		if s.Rounds > rounds || s.P99 > p99 {
			most = s
		}
		rounds, p99, last = max(rounds, s.Rounds), max(p99, s.P99), max(last, s.Last)
		mean, copies, bytes = mean+s.MeanRounds/k, copies+s.Copies/k, bytes+s.Bytes/k
		if !asPromised(s) {
			bad++
		}
	}
	head := fmt.Sprintf("%d replicas, %s, %d worlds", most.Replicas, most.Mode, len(group))
	rows := [][]string{{head, fmt.Sprintf("%d did not come to what was promised", bad)}}
	if bad == 0 {
		rows[0][1] = "all converged"
	}
	if rounds > 0 {
		rows = append(rows, []string{"rounds", fmt.Sprintf("%d at most, %.1f on average", rounds, mean)})
	} else {
		rows = append(rows, []string{"delivery", fmt.Sprintf("p99 %v at most, last %v", p99, last.Round(time.Millisecond))})
	}
	rows = append(rows, []string{"copies", fmt.Sprintf("%.3f payloads per delivery, %.0f bytes per update and replica", copies, bytes)})
	if bad > 0 {
		i := slices.IndexFunc(group, func(s anabranch.Simulation) bool { return !asPromised(s) })
		rows = append(rows, []string{"the first of them", group[i].Verdict}, []string{"replay", replay(group[i])})
	} else {
		rows = append(rows, []string{"replay the slowest", replay(most)})
	}
	return a.rows(rows)
}

// liveView is one line on a terminal that follows a simulation.
type liveView struct {
	a     *app
	o     anabranch.SimulateOptions
	shown time.Time
	wrote bool
}

func (a *app) live(o anabranch.SimulateOptions) *liveView { return &liveView{a: a, o: o} }

func (l *liveView) show(p anabranch.SimulationProgress) {
	if !l.a.shown || l.a.quiet || l.a.verbose || time.Since(l.shown) < 100*time.Millisecond {
		return
	}
	l.shown, l.wrote = time.Now(), true
	const width = 30
	n := min(width, int(p.Equal*width))
	fmt.Fprintf(l.a.stderr, "\r\x1b[K%s %d/%d written  [%s%s] %3.0f %% hold everything  %v  %d events  %s",
		l.o.Mode, min(p.Written, l.o.Writes), l.o.Writes, strings.Repeat("#", n), strings.Repeat(".", width-n), 100*p.Equal,
		p.Now.Round(100*time.Millisecond), p.Events, p.Phase)
}

func (l *liveView) end() {
	if l.wrote {
		fmt.Fprint(l.a.stderr, "\r\x1b[K")
	}
}
