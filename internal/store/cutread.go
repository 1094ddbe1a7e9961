package store

import (
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"

	"anabranch/merkle"
)

// cutSource is the merkle.Source of a snapshot: what cuts does not know is
// read from the rows of the ID order. It may be used by several goroutines.
type cutSource struct {
	rows  scanner
	space uint32
	cuts  *cuts

	divided func() // told when large cuts have got halves; may be nil

	mu     sync.Mutex // guards recent
	recent [recentCuts]recentCut
	next   int
}

// recentCuts is how many cuts a source remembers: the neighbours on one path
// are asked for again at every depth.
const recentCuts = 4

type recentCut struct {
	prefix merkle.ID
	depth  int
	ids    []merkle.ID
}

func newCutSource(rows scanner, space uint32, t *cuts) *cutSource {
	return &cutSource{rows: rows, space: space, cuts: t}
}

// Subtree is merkle.Source's.
func (x *cutSource) Subtree(prefix merkle.ID, depth int) (int, merkle.Digest, error) {
	prefix = masked(prefix, depth)
	c, at := x.descend(&prefix, depth)
	if at == depth {
		d, err := x.digest(c, prefix, depth)
		return int(c.count), d, err
	}
	ids, err := x.ids(c, masked(prefix, at), at)
	if err != nil {
		return 0, merkle.Digest{}, err
	}
	ids = merkle.Below(ids, prefix, depth)
	return len(ids), merkle.Subtree(ids, depth), nil
}

// IDs is merkle.Source's; here the subtree may be of any size.
func (x *cutSource) IDs(prefix merkle.ID, depth int) ([]merkle.ID, error) {
	prefix = masked(prefix, depth)
	c, at := x.descend(&prefix, depth)
	ids, err := x.ids(c, masked(prefix, at), at)
	return merkle.Below(ids, prefix, depth), err
}

// Find is merkle.Finder's: one walk over the rows for all.
func (x *cutSource) Find(ids []merkle.ID, ends []int, prefixes []uint64, depth int) ([]merkle.ID, []int, error) {
	spans := make([]span, 0, len(prefixes))
	which := make([]int, 0, len(prefixes)) // of the prefixes each span is for
	begin := len(ends)
	for i, p := range prefixes {
		var prefix merkle.ID
		binary.BigEndian.PutUint64(prefix[:], p)
		prefix = masked(prefix, depth)
		if c, _ := x.descend(&prefix, depth); c.count > 0 {
			spans = append(spans, prefixSpan(x.space, prefix, depth))
			which = append(which, begin+i)
		}
		ends = append(ends, 0) // how many, at first
	}
	total := len(ids)
	err := x.rows.scan(spans, func(i int, key, _ []byte) error {
		if len(key) != 37 {
			return damagedRow(key, "layout")
		}
		ids = append(ids, merkle.ID(key[5:]))
		ends[which[i]]++
		return nil
	})
	for i := begin; i < len(ends); i++ {
		total += ends[i]
		ends[i] = total
	}
	return ids, ends, err
}

// descend follows id down to a depth, or to a cut.
func (x *cutSource) descend(id *merkle.ID, depth int) (*cut, int) {
	c, at := &x.cuts.root.half[0], 0
	for ; at < depth; at++ {
		p := c.halves.Load()
		if p == nil {
			break
		}
		i := 0
		if bitAt(id, at) {
			i = 1
		}
		c = &p.half[i]
	}
	return c, at
}

// ids reads what lies below a node.
func (x *cutSource) ids(c *cut, prefix merkle.ID, depth int) ([]merkle.ID, error) {
	if c.count == 0 {
		return nil, nil
	}
	x.mu.Lock()
	for _, r := range x.recent {
		if r.ids != nil && r.depth == depth && r.prefix == prefix {
			x.mu.Unlock()
			return r.ids, nil
		}
	}
	x.mu.Unlock()
	ids, err := readIDs(x.rows, x.space, []job{{c, prefix, depth}})
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	x.recent[x.next] = recentCut{prefix, depth, ids}
	x.next = (x.next + 1) % recentCuts
	x.mu.Unlock()
	return ids, nil
}

// job is a cut whose digest is asked for.
type job struct {
	cut    *cut
	prefix merkle.ID
	depth  int
}

// readIDs reads the IDs of cuts, in the order of the rows, one after the
// other, with one walk.
func readIDs(rows scanner, space uint32, jobs []job) ([]merkle.ID, error) {
	spans, total := make([]span, len(jobs)), 0
	for i, j := range jobs {
		spans[i] = prefixSpan(space, j.prefix, j.depth)
		total += max(0, int(j.cut.count))
	}
	ids := make([]merkle.ID, 0, total)
	at, n := 0, 0 // the cut in hand, and how many it has
	check := func(next int) error {
		for ; at < next; at, n = at+1, 0 {
			if n != int(jobs[at].cut.count) {
				return damagedRow(spans[at].lo, "%d rows below %d bits, %d are counted", n, jobs[at].depth, jobs[at].cut.count)
			}
		}
		return nil
	}
	err := rows.scan(spans, func(i int, key, value []byte) error {
		if err := check(i); err != nil {
			return err
		}
		if len(key) != 37 || len(value) != 8 {
			return damagedRow(key, "layout")
		}
		ids = append(ids, merkle.ID(key[5:]))
		n++
		return nil
	})
	if err == nil {
		err = check(len(jobs))
	}
	return ids, err
}

// digest is that of a node, computed if need be.
func (x *cutSource) digest(c *cut, prefix merkle.ID, depth int) (merkle.Digest, error) {
	if c.state.Load() == digestKnown {
		return c.digest, nil
	}
	x.cuts.settling.Lock()
	defer x.cuts.settling.Unlock()
	var jobs []job
	built := 0
	if err := x.collect(c, prefix, depth, &jobs, &built); err != nil {
		return merkle.Digest{}, err
	}
	if err := x.settle(jobs); err != nil {
		return merkle.Digest{}, err
	}
	if built >= manyDivided && x.divided != nil {
		x.divided()
	}
	return c.fold(), nil
}

// manyDivided is the number of IDs below divided cuts from which on it is
// worth to tell the committer.
const manyDivided = 4096

// collect lists the cuts below c whose digest is not known, in order, and
// divides those that are too large; built counts what is below these.
func (x *cutSource) collect(c *cut, prefix merkle.ID, depth int, jobs *[]job, built *int) error {
	if c.state.Load() == digestKnown {
		return nil
	}
	if p := c.halves.Load(); p != nil {
		left, right := merkle.Halves(prefix, depth)
		if err := x.collect(&p.half[0], left, depth+1, jobs, built); err != nil {
			return err
		}
		return x.collect(&p.half[1], right, depth+1, jobs, built)
	}
	if int(c.count) > x.cuts.most {
		*built += int(c.count)
		return x.build(c, prefix, depth)
	}
	*jobs = append(*jobs, job{c, prefix, depth})
	return nil
}

const (
	walkCuts    = 128 // cuts read with one walk
	shareCuts   = 16  // from so many on, the cores share them
	shareIDs    = 64 << 10
	streamChunk = 8 << 10 // IDs read with one step of a stream
)

// settle computes the digests of cuts that are not too large.
func (x *cutSource) settle(jobs []job) error {
	cores := 1
	if len(jobs) >= shareCuts {
		cores = runtime.GOMAXPROCS(0)
	}
	var group sync.WaitGroup
	failures := make([]error, cores)
	for i := range cores {
		part := jobs[len(jobs)*i/cores : len(jobs)*(i+1)/cores]
		run := func() {
			for len(part) > 0 && failures[i] == nil {
				n := min(walkCuts, len(part))
				failures[i] = x.settleSome(part[:n])
				part = part[n:]
			}
		}
		if i+1 < cores {
			group.Go(run)
		} else {
			run()
		}
	}
	group.Wait()
	return errors.Join(failures...)
}

func (x *cutSource) settleSome(jobs []job) error {
	ids, err := readIDs(x.rows, x.space, jobs)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		n := int(j.cut.count)
		j.cut.know(merkle.Subtree(ids[:n], j.depth))
		ids = ids[n:]
	}
	return nil
}

// fold computes the digests of the nodes above cuts, which are known.
func (c *cut) fold() merkle.Digest {
	if c.state.Load() == digestKnown {
		return c.digest
	}
	d := merkle.Digest{}
	if p := c.halves.Load(); p != nil {
		d = merkle.Join(p.half[0].fold(), p.half[1].fold())
	}
	c.know(d)
	return d
}

// build divides a cut that is too large, reading its rows in order.
func (x *cutSource) build(c *cut, prefix merkle.ID, depth int) error {
	p := new(cutPair)
	var err error
	left, right := merkle.Halves(prefix, depth)
	if c.count > shareIDs && depth < 8 {
		// A node of so many has two halves in any case.
		var group sync.WaitGroup
		var other error
		group.Go(func() { other = x.buildHalf(&p.half[0], c.count/2, left, depth+1) })
		err = x.buildHalf(&p.half[1], c.count/2, right, depth+1)
		group.Wait()
		err = errors.Join(err, other)
	} else {
		s := x.stream(prefix, depth)
		if err = s.build(&p.half[0], left, depth+1); err == nil {
			err = s.build(&p.half[1], right, depth+1)
		}
	}
	if err != nil {
		return err
	}
	if n := p.half[0].count + p.half[1].count; n != c.count {
		return damagedRow(prefixSpan(x.space, prefix, depth).lo, "%d rows below %d bits, %d are counted", n, depth, c.count)
	}
	c.halves.Store(p)
	return nil
}

// buildHalf makes the node of a prefix, of which about so many IDs are
// expected.
func (x *cutSource) buildHalf(c *cut, about int32, prefix merkle.ID, depth int) error {
	if about <= shareIDs || depth >= 8 {
		return x.stream(prefix, depth).build(c, prefix, depth)
	}
	p := new(cutPair)
	left, right := merkle.Halves(prefix, depth)
	if err := x.buildHalf(&p.half[0], about/2, left, depth+1); err != nil {
		return err
	}
	if err := x.buildHalf(&p.half[1], about/2, right, depth+1); err != nil {
		return err
	}
	c.count = p.half[0].count + p.half[1].count
	if int(c.count) <= x.cuts.most {
		return x.stream(prefix, depth).build(c, prefix, depth) // far fewer than expected
	}
	c.halves.Store(p)
	c.fold()
	return nil
}

// idStream reads the IDs of a prefix in order, some thousands at a time.
type idStream struct {
	source *cutSource
	rest   span // not read yet; lo nil: nothing
	ids    []merkle.ID
}

func (x *cutSource) stream(prefix merkle.ID, depth int) *idStream {
	return &idStream{source: x, rest: prefixSpan(x.space, prefix, depth)}
}

// need reads until n IDs are at hand, or the end.
func (s *idStream) need(n int) error {
	for len(s.ids) < n && s.rest.lo != nil {
		fresh := make([]merkle.ID, len(s.ids), len(s.ids)+streamChunk)
		copy(fresh, s.ids)
		s.ids = fresh
		more := false
		err := s.source.rows.scan([]span{s.rest}, func(_ int, key, value []byte) error {
			if len(key) != 37 || len(value) != 8 {
				return damagedRow(key, "layout")
			}
			if len(s.ids) == cap(s.ids) {
				s.rest.lo, more = slices.Clone(key), true
				return errEnough
			}
			s.ids = append(s.ids, merkle.ID(key[5:]))
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if !more {
			s.rest.lo = nil
		}
	}
	return nil
}

// build makes the node of a prefix from what comes next in the stream.
func (s *idStream) build(c *cut, prefix merkle.ID, depth int) error {
	most := s.source.cuts.most
	if err := s.need(most + 1); err != nil {
		return err
	}
	window := s.ids[:min(len(s.ids), most+1)]
	if ids := merkle.Below(window, prefix, depth); len(ids) <= most {
		c.count = int32(len(ids))
		c.know(merkle.Subtree(ids, depth))
		s.ids = s.ids[len(ids):]
		return nil
	}
	p := new(cutPair)
	left, right := merkle.Halves(prefix, depth)
	if err := s.build(&p.half[0], left, depth+1); err != nil {
		return err
	}
	if err := s.build(&p.half[1], right, depth+1); err != nil {
		return err
	}
	c.count = p.half[0].count + p.half[1].count
	c.halves.Store(p)
	c.fold()
	return nil
}
