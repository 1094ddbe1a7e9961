package store

// Entered counts the members that entered the set after a version, and are
// members still.
//
// Cost: it reads the departures since, of which some tens of thousands are
// known; when more have been forgotten, every arrival since.
func (v *Snapshot) Entered(version uint64) (uint64, error) {
	if version >= v.state.version {
		return 0, nil
	}
	rows, err := v.reader()
	if err != nil {
		return 0, err
	}
	table := byte(tableDeparture)
	if !v.Complete(version) {
		table = tableArrival
	}
	lo := numberKey(table, v.space.number, version+1)
	hi := successor(tableKey(table, v.space.number, 0))
	var all, left uint64
	err = each(rows, lo, hi, func(x row) error {
		all++
		if table == tableDeparture {
			d, err := decodeDeparture(x.key, x.value)
			if err == nil && d.old > version {
				left++ // it entered after the version too
			}
			return err
		}
		return nil
	})
	if err != nil || table == tableArrival {
		return all, err
	}
	// Every arrival and every departure took a number.
	return v.state.version - version - all - left, nil
}
