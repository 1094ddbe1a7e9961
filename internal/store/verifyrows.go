package store

import (
	"bytes"
	"errors"

	"anabranch/record"
	"anabranch/space"
)

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
