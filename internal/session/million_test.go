package session

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/sketch"
	"anabranch/space"
)

var (
	million  = flag.Int("records", 20_000, "records that both sides hold in TestCostFollowsTheDifference")
	sessions = flag.Int("sessions", 3, "sessions for each difference")
	largest  = flag.Int("largest", 1000, "the largest difference")
)

// crowd is many records that both sides of a session hold. Only what is asked
// for is ever made.
type crowd struct {
	w     *world
	tree  *reconcile.Tree
	trie  *merkle.Tree
	sk    *sketch.Sketch
	place map[record.ID]uint32
	state *space.State
	next  uint32
}

// member is record number n of a crowd, at a time.
func (c *crowd) member(n uint32, at uint64) *record.Verified {
	r := record.Record{Kind: record.Entry, Author: record.Public(c.w.root), Time: at, Lane: 1 + uint64(n>>20), Seq: n&(1<<20-1) + 1, Path: "/r", Payload: binary.BigEndian.AppendUint32(nil, n)}
	v, err := record.Restore(c.w.id, r.Append(nil))
	if err != nil {
		panic(err)
	}
	return v
}

const apart = 1000 // µs between two records of a crowd

func newCrowd(n int) *crowd { return crowdOf(newWorld(), n, 1<<17) }

// crowdOf is a crowd with a sketch of so many cells.
func crowdOf(w *world, n, cells int) *crowd {
	c := &crowd{w: w, tree: new(reconcile.Tree), trie: new(merkle.Tree), sk: sketch.New(cells), place: make(map[record.ID]uint32, n), state: space.NewState(w.roots)}
	ids := make([][32]byte, n)
	for i := range n {
		r := c.member(uint32(i), uint64(i+1)*apart)
		c.place[r.ID] = uint32(i)
		ids[i] = r.ID
		if _, err := c.tree.Insert(reconcile.Item{Time: r.Time, ID: r.ID}); err != nil {
			panic(err)
		}
		c.sk.Add(sketch.Of(r.ID))
	}
	c.trie.Insert(ids...)
	c.trie.Hash()
	c.next = 1 << 28
	return c
}

// replica is a crowd with some records more.
type replica struct {
	*crowd
	tree    *reconcile.Tree
	trie    *merkle.Tree
	sk      *sketch.Sketch
	extra   map[record.ID]*record.Verified
	log     []record.ID
	version uint64
	sending time.Time // when Members was first asked for since this was last cleared
}

func (c *crowd) replica() *replica {
	return &replica{crowd: c, tree: c.tree.Clone(), trie: c.trie.Clone(), sk: c.sk.Clone(1 << 17), extra: map[record.ID]*record.Verified{}, version: uint64(len(c.place))}
}

// fresh makes a record that nobody holds.
func (c *crowd) fresh(at uint64) *record.Verified {
	c.next++
	return c.member(c.next, at)
}

func (r *replica) add(vs ...*record.Verified) {
	ids := make([][32]byte, 0, len(vs))
	for _, v := range vs {
		if _, known := r.extra[v.ID]; known {
			continue
		}
		r.extra[v.ID] = v
		if _, err := r.tree.Insert(reconcile.Item{Time: v.Time, ID: v.ID}); err != nil {
			panic(err)
		}
		r.sk.Add(sketch.Of(v.ID))
		ids = append(ids, v.ID)
		r.log = append(r.log, v.ID)
		r.version++
	}
	r.trie.Insert(ids...)
	r.trie.Hash()
}

func (r *replica) Version() uint64                         { return r.version }
func (r *replica) Count() uint64                           { return uint64(r.tree.Len()) }
func (r *replica) Trie() merkle.Source                     { return r.trie }
func (r *replica) Index() reconcile.Index                  { return r.tree }
func (r *replica) State() *space.State                     { return r.state }
func (r *replica) Sketch() (*sketch.Sketch, error)         { return r.sk, nil }
func (r *replica) Filter([]*record.Verified) (View, error) { return r, nil }

func (r *replica) Root() ([32]byte, error) {
	return merkle.Root(r.w.id, nil, r.Count(), r.trie.Hash()), nil
}

func (r *replica) Get(id record.ID) (*record.Verified, error) {
	if v, ok := r.extra[id]; ok {
		return v, nil
	}
	if n, ok := r.place[id]; ok {
		return r.member(n, uint64(n+1)*apart), nil
	}
	return nil, ErrGone
}

// Members makes the records that are to be sent. From there on a step is
// about sending: finding has an end when the first record is read.
func (r *replica) Members(ids []record.ID) ([]*record.Verified, error) {
	if r.sending.IsZero() {
		r.sending = time.Now()
	}
	out := make([]*record.Verified, len(ids))
	for i, id := range ids {
		if v, err := r.Get(id); err == nil {
			out[i] = v
		}
	}
	return out, nil
}

func (r *replica) MembersAt(begin, end int) ([]*record.Verified, error) {
	var ids []record.ID
	for x, err := range r.tree.Items(begin, end) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, x.ID)
	}
	return r.Members(ids)
}

func (r *replica) EnteredIDs(version uint64, limit int) ([]record.ID, bool, error) {
	n := int(r.version - version)
	if n > len(r.log) || n > limit {
		return nil, false, nil
	}
	return r.log[len(r.log)-n:], true, nil
}

// frozen is a replica as a view: later adds do not show.
func (r *replica) frozen() *replica {
	f := *r
	f.tree, f.trie, f.sk = r.tree.Clone(), r.trie.Clone(), r.sk.Clone(1<<17)
	return &f
}

// meeting is what one session of two replicas has cost.
type meeting struct {
	report, answer Report
	overhead       int64         // bytes of frames that are not records
	finding        time.Duration // of both machines: all steps up to where records move
	whole          time.Duration // of both machines
	frames         []FrameType
	err            error
	charged        bool
}

// meet runs a session. What arrives is put into the replicas. Options may
// bring views of their own.
func meet(a, b *replica, oa, ob Options) (m meeting) { return met(a, b, oa, ob, nil) }

// met is meet with somebody on the way, who sees every frame and may write
// another.
func met(a, b *replica, oa, ob Options, carry func(from int, frame []byte) []byte) (m meeting) {
	alice, bob := record.Key{0xA}, record.Key{0xB}
	oa.Space, oa.Self, oa.Peer = a.w.id, alice, bob
	ob.Space, ob.Self, ob.Peer = a.w.id, bob, alice
	if oa.View == nil {
		oa.View = a.frozen()
	}
	if ob.View == nil {
		ob.View = b.frozen()
	}
	if oa.Nonce == ([8]byte{}) {
		oa.Nonce = seed(7)
	}
	sa, err := Initiate(oa)
	if err != nil {
		panic(err)
	}
	sb, err := Accept(ob)
	if err != nil {
		panic(err)
	}
	sides := [2]*Session{sa, sb}
	stores := [2]*replica{a, b}
	var inputs [2][]Input
	inputs[0], inputs[1] = []Input{Start{}}, []Input{Start{}}
	over := [2]bool{}
	views := [2]View{oa.View, ob.View}
	now := epoch
	for !over[0] || !over[1] {
		moved := false
		for i := range sides {
			for len(inputs[i]) > 0 {
				in := inputs[i][0]
				inputs[i] = inputs[i][1:]
				moved = true
				r, timed := views[i].(*replica)
				if timed {
					r.sending = time.Time{}
				}
				begun := time.Now()
				outs := sides[i].Step(now, in)
				took := time.Since(begun)
				m.whole += took
				if timed && !r.sending.IsZero() {
					took = r.sending.Sub(begun)
				}
				if f, ok := in.(Frame); ok {
					switch FrameType(f.Bytes[0]) {
					case DataFrame, EndFrame, TotalFrame, AgreedFrame, StateFrame:
					default:
						m.finding += took
					}
				} else if _, ok := in.(Start); ok {
					m.finding += took
				}
				waits := false
				for _, out := range outs {
					switch out := out.(type) {
					case Send:
						frame := out.Frame
						if carry != nil {
							frame = carry(i, slices.Clone(frame))
						}
						m.frames = append(m.frames, FrameType(frame[0]))
						inputs[1-i] = append(inputs[1-i], Frame{Bytes: frame})
						waits = true
					case Verify:
						inputs[i] = append(inputs[i], trusted(a.w.id, out.Batch))
					case Commit:
						stores[i].add(out.Records...)
						inputs[i] = append(inputs[i], Committed{})
					case Done:
						over[i] = true
						if i == 0 {
							m.report = out.Report
						} else {
							m.answer = out.Report
						}
					case Fail:
						over[i] = true
						if m.err == nil {
							m.err = out.Err
						}
						m.charged = m.charged || out.Charge
						if i == 0 {
							m.report = out.Report
						} else {
							m.answer = out.Report
						}
					}
				}
				if waits {
					inputs[i] = append(inputs[i], Drained{})
				}
			}
		}
		if !moved {
			m.err = fmt.Errorf("nothing moves: %v %+v, %v %+v", sa.step, sa.x.hunt, sb.step, sb.x.hunt)
			return m
		}
		if over[0] != over[1] {
			i := 0
			if over[0] {
				i = 1
			}
			if len(inputs[i]) == 0 {
				inputs[i] = append(inputs[i], Closed{})
			}
		}
	}
	r := m.report
	m.overhead = r.BytesIn + r.BytesOut - r.DataBytesIn - r.DataBytesOut
	return m
}

// shapes are how differences lie.
var shapes = []string{"scattered", "newest", "subset"}

// apartBy makes two replicas of a crowd that differ by d records.
func apartBy(c *crowd, r *rand.Rand, shape string, d int) (a, b *replica) {
	a, b = c.replica(), c.replica()
	var inA, inB []*record.Verified
	end := uint64(len(c.place)+1) * apart
	for i := range d {
		at := 1 + r.Uint64N(end)
		if shape == "newest" {
			at = end + uint64(i)*apart
		}
		v := c.fresh(at)
		if shape != "subset" && r.IntN(2) == 0 {
			inA = append(inA, v)
		} else {
			inB = append(inB, v)
		}
	}
	a.add(inA...)
	b.add(inB...)
	return a, b
}

// TestCostFollowsTheDifference runs whole sessions between replicas that hold
// many records in common, and shows what they cost. The figures of
// docs/planner.md: -records 1000000 -sessions 1000 -largest 1000, and
// -sessions 20 -largest 100000.
func TestCostFollowsTheDifference(t *testing.T) {
	c := newCrowd(*million)
	for _, shape := range shapes {
		for d := 0; d <= *largest; d = max(1, d*10) {
			if shape == "subset" && d < 100 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", shape, d), func(t *testing.T) { costOf(t, c, shape, d, *sessions) })
		}
	}
}

func costOf(t *testing.T, c *crowd, shape string, d, runs int) {
	r := rand.New(rand.NewPCG(uint64(d), 99))
	var bytes, rounds, fetched []int
	var finding, whole []time.Duration
	methods := map[Method]int{}
	why := ""
	for range runs {
		a, b := apartBy(c, r, shape, d)
		if shape == "subset" && r.IntN(2) == 0 {
			a, b = b, a
		}
		union := a.Count() + uint64(d) - uint64(len(a.extra))
		var oa Options
		binary.BigEndian.PutUint64(oa.Nonce[:], r.Uint64())
		m := meet(a, b, oa, Options{})
		if m.err != nil {
			t.Fatal(m.err)
		}
		ra, _ := a.Root()
		rb, _ := b.Root()
		if ra != rb || a.Count() != union || m.report.Root != ra || m.report.Unwanted > d/100+2 {
			t.Fatalf("not the union: %+v", m.report)
		}
		bytes = append(bytes, int(m.overhead))
		rounds = append(rounds, m.report.Rounds)
		fetched = append(fetched, m.report.Fetched)
		finding = append(finding, m.finding)
		whole = append(whole, m.whole)
		methods[m.report.Method]++
		why = m.answer.Why
	}
	for _, xs := range [][]int{bytes, rounds, fetched} {
		slices.Sort(xs)
	}
	slices.Sort(finding)
	slices.Sort(whole)
	mid, p99 := runs/2, runs*99/100
	t.Logf("bytes %d (p99 %d), to have all %d/%d, to agree %d/%d round trips, finding %v, machines %v, %v; %s",
		bytes[mid], bytes[p99], fetched[mid], fetched[p99], rounds[mid], rounds[p99], finding[mid], whole[mid], methods, why)
}
