package sim

import (
	"encoding/json"
	"fmt"
	"time"
)

// Plan is a world before it happens: everything that is done to it. The same
// plan always gives the same world. Plans are written down as JSON, so that
// one that failed can be reduced and kept.
type Plan struct {
	Seed     uint64
	Replicas int           // those that exist from the beginning or come later
	Interval time.Duration // mean time between anti-entropy sessions
	Quiet    time.Duration // when faults end and everybody comes back
	Links    Links
	Disk     time.Duration // mean time of a write that is awaited
	Frame    int           // largest frame of a session; 0: the default
	Checked  bool          // every signature is verified at every replica
	Plain    bool          // sessions know no plans: where sets differ they compare ranges
	OnPebble bool          // stores are on Pebble, over a file system that forgets what was not synced
	Deletes  bool          // documents are deleted in this world: reading may go back
	Sealed   bool          // authority is withdrawn in this world: what died may return
	Roles    []Role        // of replicas that are no ordinary members
	Actions  []Action      // by time
}

// Links says how frames travel.
type Links struct {
	Least, Most time.Duration // one way, by pair of replicas
	Jitter      time.Duration // more, by frame
	Loss        float64       // of frames of rumors; in a session a loss is a delay
	Twice       float64       // of frames of rumors that arrive twice
	Overtake    float64       // of frames of rumors that arrive late
	Reset       float64       // of frames of sessions after which the stream is gone
}

// Role makes a replica something other than an honest member from the
// beginning.
type Role struct {
	Replica int
	Malice  Malice `json:",omitempty"`
	Late    bool   `json:",omitempty"` // it comes with a Join
	Reader  bool   `json:",omitempty"`
	CloneOf int    `json:",omitempty"` // it comes with a Clone, as a copy of that replica's home
}

// Malice is what a malicious replica does. It holds a grant like any other.
type Malice string

// The kinds of malice.
const (
	Forging      Malice = "forging"      // alters records that it passes on
	Truncating   Malice = "truncating"   // cuts frames short
	Replaying    Malice = "replaying"    // sends old frames again
	Equivocating Malice = "equivocating" // writes two records under one number
	Withholding  Malice = "withholding"  // hides records of others
	Lying        Malice = "lying"        // says that it holds what the other holds
	Flooding     Malice = "flooding"     // sends far more than it may
	Raging       Malice = "raging"       // deletes whatever it can
)

// Action is one thing that is done to a world.
type Action struct {
	At      time.Duration
	Do      Deed
	Replica int    `json:",omitempty"`
	Other   int    `json:",omitempty"`
	Arg     uint64 `json:",omitempty"`
}

// Deed is what an action does.
type Deed string

// The deeds.
const (
	Write    Deed = "write"    // Replica writes; Arg seeds what
	Remove   Deed = "remove"   // Replica removes an entry of its own
	Sweep    Deed = "sweep"    // Replica sweeps what its later docs made superfluous
	Edit     Deed = "edit"     // Replica changes a document that merges; Arg seeds which and how
	Fold     Deed = "fold"     // Replica folds what it wrote to one; Arg chooses which
	Crash    Deed = "crash"    // Replica stops; what was not synced is lost
	Start    Deed = "start"    // and comes back
	Freeze   Deed = "freeze"   // Replica stands still for Arg nanoseconds, as a laptop that sleeps
	Cut      Deed = "cut"      // nothing goes from Replica to Other
	Mend     Deed = "mend"     // it goes again
	Split    Deed = "split"    // replicas whose bit in Arg differs cannot reach each other
	Heal     Deed = "heal"     // all cuts and splits are over
	Slow     Deed = "slow"     // Replica's disk takes Arg times as long
	Full     Deed = "full"     // Replica's disk is full
	Spare    Deed = "spare"    // it has space again
	Jump     Deed = "jump"     // Replica's wall clock moves by Arg, a signed number of microseconds
	Backup   Deed = "backup"   // Replica's disk is copied aside
	Restore  Deed = "restore"  // Replica goes on from that copy
	Clone    Deed = "clone"    // Replica begins as a copy of Other's disk, while Other goes on
	Join     Deed = "join"     // Replica is invited by Other, and comes
	Leave    Deed = "leave"    // Replica goes for ever
	Revoke   Deed = "revoke"   // Replica withdraws Other's grant; Arg 1: listing nothing
	Ask      Deed = "ask"      // Replica asks Other what it holds; Arg chooses what
	Withdraw Deed = "withdraw" // like Revoke, by the root key
)

// String is the plan as JSON.
func (p Plan) String() string {
	b, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (p *Plan) role(i int) Role {
	for _, r := range p.Roles {
		if r.Replica == i {
			return r
		}
	}
	return Role{Replica: i}
}

// Violation is what a checker saw.
type Violation struct {
	Check string // C1 to C14, or "engine"
	At    time.Duration
	What  string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s at %v: %s", v.Check, v.At, v.What)
}
