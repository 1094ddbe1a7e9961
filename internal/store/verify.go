package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/sketch"
	"anabranch/space"
)

// Finding is one thing that Verify found wrong.
type Finding struct {
	Table  string // "arrival", "id", "time", ...; "memory" for what is derived
	Key    string // the row's key in hexadecimal, without table and space; a record's ID where one is missing
	Reason string
}

func (f Finding) String() string { return f.Table + " " + f.Key + ": " + f.Reason }

// VerifyReport is the outcome of Verify. Nothing is wrong iff Findings is
// empty.
type VerifyReport struct {
	Version  uint64
	Records  uint64 // members whose bytes were read
	Bytes    uint64
	Held     uint64
	Trash    uint64
	Count    uint64        // members by the rebuild
	Root     merkle.Digest // by the rebuild
	Findings []Finding     // the first of them, at most a thousand
	More     int           // how many more there are
}

const (
	mostFindings = 1000
	verifyBatch  = 512
)

// Verify reads every row of the space as of now, re-hashes every record,
// checks every signature, rebuilds every order, count, verdict and root from
// the record bytes alone, and reports each difference by table and key. It
// runs beside everything else. The error is ctx's, or the store's when it
// cannot be read at all. progress may be nil; done and total count members.
//
// Cost: 15-30 µs and about 300 bytes of memory for each member.
func (sp *Space) Verify(ctx context.Context, progress func(done, total uint64)) (*VerifyReport, error) {
	v, err := sp.Snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	k := &check{
		ctx: ctx, snapshot: v, space: sp, s: sp.number, progress: progress,
		members: make(map[uint64]*checked), byID: make(map[record.ID]uint64),
		report: &VerifyReport{Version: v.Version()},
	}
	steps := []func() error{
		k.arrivals, k.departures, k.held, k.trash, k.authors, k.law,
		k.ids, k.times, k.paths, k.dots, k.controls, k.lanes, k.vectors, k.kills, k.derived,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, fmt.Errorf("verify %v: %w", sp.id, err)
		}
	}
	return k.report, nil
}

// checked is what is remembered of a member while the orders are compared.
type checked struct {
	id     record.ID
	time   uint64
	path   string
	author record.Key
	lane   uint64
	seq    uint32
	kind   record.Kind
	in     uint8 // orders that have it: one bit each
}

const (
	inID = 1 << iota
	inTime
	inPath
	inDot
	inControl
)

type laneOf struct {
	author record.Key
	lane   uint64
}

// check is one run of Verify.
type check struct {
	ctx      context.Context
	snapshot *Snapshot
	space    *Space
	s        uint32
	progress func(done, total uint64)
	report   *VerifyReport

	members  map[uint64]*checked // by arrival number
	byID     map[record.ID]uint64
	outside  map[record.ID]bool // held or trash
	rules    []*record.Verified // control and sweeps, wherever they are
	data     []*record.Verified // held and trash, to be judged
	places   []Verdict          // where each of data is
	numbers  map[uint64]bool    // arrival numbers that are accounted for by departures
	topped   map[laneOf]uint32
	doubled  map[laneOf]uint32
	rebuilt  *space.State
	payloads []*record.Verified // members of control kinds
}

func (k *check) find(table byte, key []byte, format string, args ...any) {
	shown := key
	if len(shown) > 5 {
		shown = shown[5:]
	}
	k.note(tableNames[table], fmt.Sprintf("%x", shown), format, args...)
}

func (k *check) note(table, key, format string, args ...any) {
	if len(k.report.Findings) >= mostFindings {
		k.report.More++
		return
	}
	k.report.Findings = append(k.report.Findings, Finding{table, key, fmt.Sprintf(format, args...)})
}

// scan walks a table of the space. A row that cannot be read ends the table
// with a finding; what is closed or cancelled ends the run.
func (k *check) scan(table byte, fn func(x row)) error {
	lo := tableKey(table, k.s, 0)
	hi := successor(lo)
	err := each(k.snapshot.view, lo, hi, func(x row) error {
		fn(x)
		return k.ctx.Err()
	})
	if errors.Is(err, ErrDamaged) {
		k.find(table, nil, "cannot be read: %v", err)
		return nil
	}
	return err
}

// arrivals reads the only copy of the records and checks their signatures.
func (k *check) arrivals() error {
	var numbers []uint64
	var batch [][]byte
	var done uint64
	total := k.snapshot.Count()
	flush := func() {
		records, errs := record.VerifyBatch(k.space.id, batch)
		for i, r := range records {
			key := numberKey(tableArrival, k.s, numbers[i])
			if errs[i] != nil {
				k.find(tableArrival, key, "%v", errs[i])
				continue
			}
			k.arrival(key, numbers[i], r)
		}
		done += uint64(len(batch))
		numbers, batch = numbers[:0], batch[:0]
		if k.progress != nil {
			k.progress(done, max(total, done))
		}
	}
	err := k.scan(tableArrival, func(x row) {
		if len(x.key) != 13 {
			k.find(tableArrival, x.key, "key of %d bytes", len(x.key))
			return
		}
		numbers = append(numbers, beU64(x.key[5:]))
		batch = append(batch, bytes.Clone(x.value))
		if len(batch) == verifyBatch {
			flush()
		}
	})
	flush()
	return err
}

func (k *check) arrival(key []byte, n uint64, r *record.Verified) {
	k.report.Records++
	k.report.Bytes += uint64(len(r.Bytes))
	if other, twice := k.byID[r.ID]; twice {
		k.find(tableArrival, key, "record %v entered at %d already", r.ID, other)
		return
	}
	if n > k.snapshot.Version() {
		k.find(tableArrival, key, "above the version %d", k.snapshot.Version())
	}
	k.byID[r.ID] = n
	k.members[n] = &checked{id: r.ID, time: r.Time, path: r.Path, author: r.Author, lane: r.Lane, seq: r.Seq, kind: r.Kind}
	if !r.Data() {
		k.rules = append(k.rules, r)
		k.payloads = append(k.payloads, r)
	}
}

// departures: every number up to the version is an arrival, a departure, or
// the old number of one.
func (k *check) departures() error {
	k.numbers = make(map[uint64]bool)
	rows := 0
	err := k.scan(tableDeparture, func(x row) {
		d, err := decodeDeparture(x.key, x.value)
		if err != nil {
			k.find(tableDeparture, x.key, "layout")
			return
		}
		rows++
		n := beU64(x.key[5:])
		k.numbers[n], k.numbers[d.old] = true, true
		if k.members[n] != nil || k.members[d.old] != nil {
			k.find(tableDeparture, x.key, "a record stands under its number")
		}
	})
	for n := k.snapshot.state.trimmed + 1; n <= k.snapshot.Version(); n++ {
		if k.members[n] == nil && !k.numbers[n] {
			k.find(tableArrival, numberKey(tableArrival, k.s, n), "nothing arrived or left under this number")
		}
	}
	if rows != k.snapshot.state.gone {
		k.note("memory", "departures", "%d are counted, %d rows are there", k.snapshot.state.gone, rows)
	}
	return err
}

// stampedRows checks a table of records outside the set and its index by
// author.
func (k *check) stampedRows(table, by byte, where Verdict, fn func(stamp uint64, r *record.Verified)) error {
	if k.outside == nil {
		k.outside = make(map[record.ID]bool)
	}
	here := make(map[record.ID]record.Key)
	err := k.scan(table, func(x row) {
		if len(x.key) != 37 || len(x.value) < 8 {
			k.find(table, x.key, "layout")
			return
		}
		r, err := record.Verify(k.space.id, x.value[8:])
		if err != nil {
			k.find(table, x.key, "%v", err)
			return
		}
		if r.ID != record.ID(x.key[5:]) {
			k.find(table, x.key, "holds the record %v", r.ID)
		}
		if k.byID[r.ID] != 0 || k.outside[r.ID] {
			k.find(table, x.key, "the record is in another table too")
		}
		k.outside[r.ID] = true
		here[r.ID] = r.Author
		if r.Data() {
			k.data = append(k.data, r)
			k.places = append(k.places, where)
		} else {
			k.rules = append(k.rules, r)
		}
		fn(beU64(x.value), r)
	})
	if err != nil {
		return err
	}
	err = k.scan(by, func(x row) {
		if len(x.key) != 41 {
			k.find(by, x.key, "layout")
			return
		}
		id := record.ID(x.key[9:])
		author, ok := here[id]
		if a, _ := k.space.store.authors.number(author); !ok || a != beU32(x.key[5:]) {
			k.find(by, x.key, "names a record that is not there")
		}
		delete(here, id)
	})
	for id := range here {
		k.find(by, id[:], "record %v is missing", id)
	}
	return err
}

func (k *check) held() error {
	var stats HeldStats
	docs := make(map[string]bool)
	serials := make(map[uint64]record.ID)
	sizes := make(map[record.ID]int64)
	err := k.stampedRows(tableHeld, tableHeldBy, space.Held, func(serial uint64, r *record.Verified) {
		stats.Held++
		stats.HeldBytes += int64(len(r.Bytes))
		serials[serial] = r.ID
		sizes[r.ID] = int64(len(r.Bytes))
		if a, ok := k.space.store.authors.number(r.Author); ok && r.Kind == record.Doc {
			docs[string(heldPathKey(k.s, r.Path, a, r.ID))] = true
		}
	})
	if err != nil {
		return err
	}
	k.report.Held = uint64(stats.Held)
	err = k.scan(tableHeldPath, func(x row) {
		if !docs[string(x.key)] {
			k.find(tableHeldPath, x.key, "names a doc that is not held")
		}
		delete(docs, string(x.key))
	})
	for key := range docs {
		k.find(tableHeldPath, []byte(key), "missing")
	}
	if err != nil {
		return err
	}
	var others int64
	err = k.scan(tableHeldOrder, func(x row) {
		if len(x.key) != 13 || len(x.value) != 32 || serials[beU64(x.key[5:])] != record.ID(x.value) {
			k.find(tableHeldOrder, x.key, "names a record that is not held")
			return
		}
		others += sizes[record.ID(x.value)]
	})
	have := k.snapshot.state
	if have.stats.Held != stats.Held || have.stats.HeldBytes != stats.HeldBytes || have.others != others {
		k.note("memory", "held", "%d records of %d bytes, %d by others, are counted; %d, %d and %d are there",
			have.stats.Held, have.stats.HeldBytes, have.others, stats.Held, stats.HeldBytes, others)
	}
	return err
}

func (k *check) trash() error {
	var stats HeldStats
	expiries := make(map[string]bool)
	err := k.stampedRows(tableTrash, tableTrashBy, space.Dead, func(expiry uint64, r *record.Verified) {
		stats.addTrash(r, expiry, 1)
		expiries[string(timeKey(tableExpiry, k.s, expiry, r.ID))] = true
	})
	if err != nil {
		return err
	}
	k.report.Trash = uint64(stats.Trash)
	err = k.scan(tableExpiry, func(x row) {
		if !expiries[string(x.key)] {
			k.find(tableExpiry, x.key, "names a record that is not in the trash")
		}
		delete(expiries, string(x.key))
	})
	for key := range expiries {
		k.find(tableExpiry, []byte(key), "missing")
	}
	have := k.snapshot.state.stats
	if have.Trash != stats.Trash || have.TrashBytes != stats.TrashBytes || have.Kept != stats.Kept {
		k.note("memory", "trash", "%+v is counted, %+v is there", have, stats)
	}
	return err
}

// authors: every author of a record here has the number that rows use.
func (k *check) authors() error {
	var disk authors
	if err := disk.load(k.snapshot.view); errors.Is(err, ErrDamaged) {
		k.find(tableAuthor, nil, "cannot be read: %v", err)
		return nil
	} else if err != nil {
		return err
	}
	told := make(map[record.Key]bool)
	look := func(author record.Key) {
		n, ok := disk.number(author)
		if m, known := k.space.store.authors.number(author); (!ok || !known || n != m) && !told[author] {
			told[author] = true
			k.note(tableNames[tableAuthor], author.String(), "has no number, or another one than rows use")
		}
	}
	for _, m := range k.members {
		if m.data() {
			look(m.author)
		}
	}
	for _, r := range k.data {
		look(r.Author)
	}
	return nil
}

// law judges everything again by a state built from the bytes. Members are
// read a second time for that: a record is judged whole.
func (k *check) law() error {
	k.rebuilt = space.NewState(k.space.genesis.Roots)
	k.rebuilt.Insert(k.rules...)
	for i, r := range k.data {
		if v := k.rebuilt.Judge(r); v != k.places[i] {
			k.note("law", r.ID.String(), "is kept as %v and is %v", k.places[i], v)
		}
	}
	for _, r := range k.payloads {
		if v := k.rebuilt.Judge(r); v != space.Member {
			k.note("law", r.ID.String(), "the %v is in the set and is %v", r.Kind, v)
		}
	}
	for _, r := range k.rules {
		if _, in := k.byID[r.ID]; !in && k.rebuilt.Judge(r) == space.Member {
			k.note("law", r.ID.String(), "the %v is a member and not in the set", r.Kind)
		}
		if !k.snapshot.state.law.Has(r.ID) {
			k.note("memory", r.ID.String(), "the %v is not known to the law", r.Kind)
		}
	}
	return k.scan(tableArrival, func(x row) {
		r, err := record.Decode(x.value)
		if err != nil || !r.Data() || len(x.key) != 13 {
			return
		}
		m := k.members[beU64(x.key[5:])]
		if m == nil {
			return
		}
		if v := k.rebuilt.Judge(&record.Verified{Record: r, ID: m.id, Bytes: x.value}); v != space.Member {
			k.note("law", m.id.String(), "is in the set and is %v", v)
		}
	})
}

// pointed finds the member that an order's row points to.
func (k *check) pointed(table byte, x row, n uint64, bit uint8) *checked {
	m := k.members[n]
	if m == nil {
		k.find(table, x.key, "points to arrival %d, where no record is", n)
		return nil
	}
	if m.in&bit != 0 {
		k.find(table, x.key, "a second row for the record %v", m.id)
	}
	m.in |= bit
	return m
}

// missing reports the members that an order lacks.
func (k *check) missing(table byte, bit uint8, wanted func(*checked) bool) {
	for n, m := range k.members {
		if m.in&bit == 0 && wanted(m) {
			k.find(table, m.id[:], "record %v (arrival %d) is missing", m.id, n)
		}
	}
}

func all(*checked) bool { return true }

func (m *checked) data() bool { return m.kind != record.Control && m.kind != record.Sweep }

func (k *check) ids() error {
	err := k.scan(tableID, func(x row) {
		if len(x.key) != 37 || len(x.value) != 8 {
			k.find(tableID, x.key, "layout")
			return
		}
		if m := k.pointed(tableID, x, beU64(x.value), inID); m != nil && m.id != record.ID(x.key[5:]) {
			k.find(tableID, x.key, "points to the record %v", m.id)
		}
	})
	k.missing(tableID, inID, all)
	return err
}

func (k *check) times() error {
	err := k.scan(tableTime, func(x row) {
		if len(x.key) != 45 || len(x.value) != 8 {
			k.find(tableTime, x.key, "layout")
			return
		}
		m := k.pointed(tableTime, x, beU64(x.value), inTime)
		if m != nil && (m.id != record.ID(x.key[13:]) || m.time != beU64(x.key[5:])) {
			k.find(tableTime, x.key, "points to the record %v of time %d", m.id, m.time)
		}
	})
	k.missing(tableTime, inTime, all)
	return err
}

func (k *check) paths() error {
	err := k.scan(tablePath, func(x row) {
		e, err := decodePath(x.key, x.value)
		if err != nil {
			k.find(tablePath, x.key, "layout")
			return
		}
		m := k.pointed(tablePath, x, e.n, inPath)
		if m == nil {
			return
		}
		a, _ := k.space.store.authors.number(m.author)
		if m.path != e.path || m.time != e.time || m.kind != e.kind || a != e.author {
			k.find(tablePath, x.key, "disagrees with the record %v", m.id)
		}
	})
	k.missing(tablePath, inPath, (*checked).data)
	return err
}

func (k *check) dots() error {
	k.topped, k.doubled = make(map[laneOf]uint32), make(map[laneOf]uint32)
	var before dotEntry
	err := k.scan(tableDot, func(x row) {
		d, err := decodeDot(x.key)
		if err != nil {
			k.find(tableDot, x.key, "layout")
			return
		}
		m := k.pointed(tableDot, x, d.n, inDot)
		if m == nil {
			return
		}
		a, _ := k.space.store.authors.number(m.author)
		if a != d.author || m.lane != d.lane || m.seq != d.number {
			k.find(tableDot, x.key, "disagrees with the record %v", m.id)
			return
		}
		lane := laneOf{m.author, m.lane}
		k.topped[lane] = max(k.topped[lane], m.seq)
		if before.author == d.author && before.lane == d.lane && before.number == d.number {
			if first := k.doubled[lane]; first == 0 || d.number < first {
				k.doubled[lane] = d.number
			}
		}
		before = d
	})
	k.missing(tableDot, inDot, (*checked).data)
	return err
}

func (k *check) controls() error {
	err := k.scan(tableControl, func(x row) {
		if len(x.key) != 37 || len(x.value) != 8 {
			k.find(tableControl, x.key, "layout")
			return
		}
		m := k.pointed(tableControl, x, beU64(x.value), inControl)
		if m != nil && (m.id != record.ID(x.key[5:]) || m.data()) {
			k.find(tableControl, x.key, "points to the %v %v", m.kind, m.id)
		}
	})
	k.missing(tableControl, inControl, func(m *checked) bool { return !m.data() })
	return err
}

// lanes: a row remembers more than the members show, never less.
func (k *check) lanes() error {
	return errors.Join(k.scan(tableLane, func(x row) {
		l, err := decodeLane(x.key, x.value)
		if err != nil || len(x.key) != 17 {
			k.find(tableLane, x.key, "layout")
			return
		}
		author, ok := k.space.store.authors.key(beU32(x.key[5:]))
		if !ok {
			k.find(tableLane, x.key, "its author has no key")
			return
		}
		lane := laneOf{author, beU64(x.key[9:])}
		if l.high < k.topped[lane] {
			k.find(tableLane, x.key, "highest number %d, a record has %d", l.high, k.topped[lane])
		}
		if f := k.doubled[lane]; f != 0 && (l.fork == 0 || l.fork > f) {
			k.find(tableLane, x.key, "fork at %d, two records share %d", l.fork, f)
		}
		delete(k.topped, lane)
	}), k.lanesMissing())
}

func (k *check) lanesMissing() error {
	for lane, high := range k.topped {
		k.note(tableNames[tableLane], fmt.Sprintf("%v %d", lane.author, lane.lane), "missing, a record has the number %d", high)
	}
	return nil
}

// vectors: what was live at a path is remembered there.
func (k *check) vectors() error {
	rows := make(map[string][]seen)
	err := k.scan(tableVector, func(x row) {
		v, err := decodeVector(x.key, x.value)
		if err != nil {
			k.find(tableVector, x.key, "layout")
			return
		}
		rows[string(x.key[5:])] = v
	})
	for _, m := range k.members {
		if m.kind != record.Doc {
			continue
		}
		v, ok := rows[m.path]
		if !ok {
			k.note(tableNames[tableVector], m.path, "missing, the doc %v is there", m.id)
			continue
		}
		covered := len(v) >= keptVector
		tag := record.LaneTag(m.author, m.lane)
		for _, e := range v {
			covered = covered || e.tag == tag && e.number >= m.seq
		}
		if !covered {
			k.note(tableNames[tableVector], m.path, "does not cover the doc %v", m.id)
		}
	}
	return err
}

func (k *check) kills() error {
	waiting := 0
	err := k.scan(tableKill, func(x row) {
		e, err := decodeKill(x)
		if err != nil {
			k.find(tableKill, x.key, "layout")
			return
		}
		if e.state == killWaits {
			waiting++
		}
		m := k.members[e.n]
		if m == nil || m.path != e.path || m.lane != e.lane || m.seq != e.number || m.kind != record.Doc {
			k.find(tableKill, x.key, "no such doc")
		}
	})
	if waiting != k.snapshot.state.pending {
		k.note("memory", "pending kills", "%d are counted, %d are there", k.snapshot.state.pending, waiting)
	}
	return err
}

// derived compares what is kept in memory with a rebuild.
func (k *check) derived() error {
	var items []reconcile.Item
	var trie merkle.Tree
	var ids []merkle.ID
	for _, m := range k.members {
		items = append(items, reconcile.Item{Time: m.time, ID: m.id})
		ids = append(ids, m.id)
	}
	trie.Insert(ids...)
	k.report.Count = uint64(trie.Count())
	k.report.Root = merkle.Root(k.space.id, nil, k.report.Count, trie.Hash())
	st := k.snapshot.state
	if n := st.blocks.count(); n != len(items) || st.cuts.count() != n {
		k.note("memory", "index", "%d and %d members, %d records are there", n, st.cuts.count(), len(items))
	}
	rebuilt, err := reconcile.NewVector(items)
	if err != nil {
		return err
	}
	want, _ := rebuilt.Fingerprint(0, rebuilt.Len())
	if have, err := k.snapshot.index.Fingerprint(0, len(items)); err != nil || have != want {
		k.note("memory", "index", "fingerprint %x, a rebuild has %x", have, want)
	}
	// Every block on its own: errors in two of them may add up to nothing.
	err = st.blocks.each(func(p spot) error {
		if p.at+p.count > rebuilt.Len() {
			return nil // told above
		}
		sum, _ := rebuilt.Sum(p.at, p.at+p.count)
		if sum != p.sum {
			k.note("memory", "index", "the sum of the %d members from position %d on is another", p.count, p.at)
		}
		return k.ctx.Err()
	})
	if err != nil {
		return err
	}
	have, err := k.snapshot.Sketch()
	if err != nil {
		return err
	}
	sums := sketch.New(have.Len())
	for i := range ids {
		sums.Add(sketch.Of(ids[i]))
	}
	if !have.Equal(sums) {
		k.note("memory", "sketch", "it is not the sum of the members")
	}
	root, err := k.snapshot.Root()
	if err != nil || root != k.report.Root {
		k.note("memory", "root", "%x, a rebuild has %x", root, k.report.Root)
	}
	return err
}
