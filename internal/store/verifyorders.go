package store

import (
	"errors"
	"fmt"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/sketch"
)

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
