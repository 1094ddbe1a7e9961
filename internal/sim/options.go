package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"anabranch/gossip"
)

// Options says what Simulate is to simulate. The zero value is five replicas
// that write fifty records.
type Options struct {
	// Replicas of the space. Default 5, at most 200 000. Up to 64 are whole:
	// stores, signatures, sessions, and every checker. Of more, engines and
	// gossip are real, a store is a set of numbers and a session a model.
	Replicas int
	// Writes is how many records are written, each by a replica drawn at
	// random. Default 50, at most 100 000.
	Writes int
	// Rate is how many of them a second. Default 2.
	Rate float64
	// Payload is their size in bytes. Default 256, at most 4096: what
	// travels as a rumor.
	Payload int
	// Seed decides everything that is left to chance.
	Seed uint64
	// LatencyLeast and LatencyMost bound what a link takes one way. Default
	// 10 and 50 ms; both negative: nothing.
	LatencyLeast, LatencyMost time.Duration
	// Loss is the share of frames of rumors that are lost.
	Loss float64
	// Partition is for how long one half cannot reach the other while the
	// records are written.
	Partition time.Duration
	// Churn is the share of replicas that crash when half is written; they
	// come back half a minute later.
	Churn float64
	// Malicious is the share of replicas that alter what they pass on.
	Malicious float64
	// Mode is how rumors spread: tree (the default, with anti-entropy beside
	// it), push, pull, or push-pull. The last three are rumor mongering
	// alone, in rounds.
	Mode string
	// Interval is the mean time between anti-entropy sessions. Default 30s.
	Interval time.Duration
	// Progress is told how far it is, ten times or so in a virtual second.
	// May be nil.
	Progress func(Progress)
	// Log is told what happens to whole replicas, line by line. May be nil.
	Log func(line string)
}

// Progress is how far a simulation is.
type Progress struct {
	Phase   string        // what is going on
	Now     time.Duration // virtual
	Written int
	Reached float64 // share of deliveries made, of those due
	Equal   float64 // share of replicas that hold everything
	Events  int
}

const (
	wholeMost   = 64
	warmup      = 5 // updates that shape the tree, before any is counted
	mostWrites  = 100_000
	mostPlanned = 900 // writes of whole worlds: the model holds 1024 records
)

// validate fills in what is left out, and reports every mistake at once.
func (o *Options) validate() (gossip.Mode, error) {
	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	number := func(p *int, def, least, most int, name string) {
		if *p == 0 {
			*p = def
		}
		if *p < least || *p > most {
			say("%s is %d, outside %d to %d", name, *p, least, most)
		}
	}
	share := func(v float64, most float64, name string) {
		if !(v >= 0 && v <= most) {
			say("%s is %v, outside 0 to %v", name, v, most)
		}
	}
	number(&o.Replicas, 5, 2, 200_000, "the number of replicas")
	number(&o.Writes, 50, 1, mostWrites, "the number of writes")
	number(&o.Payload, 256, 33, gossip.MaxPayload, "the payload")
	if o.Rate == 0 {
		o.Rate = 2
	}
	if !(o.Rate > 0 && o.Rate <= 10_000) {
		say("the rate is %v, outside 0 to 10000", o.Rate)
	}
	if o.LatencyLeast == 0 && o.LatencyMost == 0 {
		o.LatencyLeast, o.LatencyMost = 10*time.Millisecond, 50*time.Millisecond
	}
	o.LatencyLeast, o.LatencyMost = max(0, o.LatencyLeast), max(0, o.LatencyMost)
	if o.LatencyMost < o.LatencyLeast || o.LatencyMost > time.Minute {
		say("the latency is %v to %v", o.LatencyLeast, o.LatencyMost)
	}
	share(o.Loss, 0.9, "the loss")
	share(o.Churn, 0.9, "the churn")
	share(o.Malicious, 0.5, "the share of malicious replicas")
	if o.Partition < 0 || o.Partition > 24*time.Hour {
		say("the partition lasts %v", o.Partition)
	}
	if o.Interval == 0 {
		o.Interval = 30 * time.Second
	}
	if o.Interval < time.Second {
		say("the interval is %v, at least 1s", o.Interval)
	}
	if o.Mode == "" {
		o.Mode = gossip.Tree.String()
	}
	modes := []string{gossip.Tree.String(), gossip.Push.String(), gossip.Pull.String(), gossip.PushPull.String()}
	i := slices.Index(modes, o.Mode)
	if i < 0 {
		say("the mode %q is none of %s", o.Mode, strings.Join(modes, ", "))
	}
	mode := gossip.Mode(max(i, 0))
	if mode != gossip.Tree && (o.Loss > 0 || o.Churn > 0 || o.Malicious > 0 || o.Partition > 0) {
		say("mongering is simulated without faults")
	}
	if o.whole() && mode == gossip.Tree && o.Writes > mostPlanned {
		say("%d writes; at most %d with up to %d replicas", o.Writes, mostPlanned, wholeMost)
	}
	return mode, errors.Join(wrong...)
}

func (o *Options) whole() bool { return o.Replicas <= wholeMost }

// Result is what a simulation came to. Whatever is about deliveries counts
// the writes after the first five, which shape the tree.
type Result struct {
	Replicas, Writes int
	Mode             string
	Seed             uint64
	Whole            bool // stores, signatures and sessions are real ones
	Records          int  // that everybody holds in the end, or should

	Converged bool   // everybody honest holds the same
	Verdict   string // in a sentence
	Broken    *Violation

	Virtual   time.Duration // how long the world lived
	Events    int
	TraceHash uint64

	Reached        float64       // deliveries by gossip or session within five seconds, of those due
	Rounds         int           // of mongering, the most that a record took
	MeanRounds     float64       //
	Copies         float64       // payloads sent per delivery
	IDs            float64       // IDs announced per delivery
	Bytes          float64       // of frames of rumors, per update and replica
	P50, P99, Last time.Duration // of delivery
	Sessions       int64
	SessionBytes   int64
	SessionRecords int64

	Missed    int           // partition: records that had not come everywhere when it healed
	Healing   time.Duration // from then to equal sets everywhere
	Repairs   float64       // payloads sent since, per missed record and replica: half is the least
	Soon      float64       // churn: of deliveries to the living, those within 2 s
	Repaired  time.Duration // from the crash until all the living had what was written before
	Recovered time.Duration // and until everybody was back and had everything
	Liars     int
	Blamed    int // of them, named by somebody honest
	Innocent  int // honest replicas that somebody honest has charged
	Stored    int // records that are wrong for everyone, stored by somebody honest
	Forwarded int // and passed on

	Delays []int      // deliveries by milliseconds; the last place holds all that took longer
	Curve  [][2]int64 // virtual ms, replicas that hold everything written so far
}

// Simulate runs a world as told. The error is about the options, or ctx's.
func Simulate(ctx context.Context, o Options) (Result, error) {
	mode, err := o.validate()
	if err != nil {
		return Result{}, fmt.Errorf("simulate: %w", err)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	switch {
	case mode != gossip.Tree:
		return monger(ctx, o, mode)
	case o.whole():
		return whole(ctx, o)
	}
	return spread(ctx, o)
}

// most is how long a histogram of delays goes.
const mostDelay = 5000

// rank fills in the percentiles of the histogram.
func (r *Result) rank() (total int) {
	for _, n := range r.Delays {
		total += n
	}
	at := func(p int) time.Duration {
		left := p
		for ms, n := range r.Delays {
			if left -= n; left < 0 {
				return time.Duration(ms) * time.Millisecond
			}
		}
		return mostDelay * time.Millisecond
	}
	if total > 0 {
		r.P50, r.P99 = at(total/2), at(total*99/100)
	}
	return total
}
