package space

import (
	"slices"

	"anabranch/record"
)

// Reading is what the live documents at one path amount to.
type Reading struct {
	// Doc is the one that is read: the greatest (time, ID), whoever wrote it;
	// nil if there is none.
	Doc *record.Verified
	// Absent says that the path reads as empty: no document, or Doc deletes
	// it or has expired.
	Absent bool
	// Conflicts are live, not replaced, and not the one that is read: changes
	// made without knowledge of each other. By (time, ID), newest first.
	Conflicts []*record.Verified
	// Replaced are older versions, superseded knowingly, that wait for their
	// author's sweep. By (time, ID), newest first.
	Replaced []*record.Verified
}

// Read resolves a path. docs are all live documents at it, in any order;
// records of other kinds are ignored. now is in microseconds since 1970: a
// document has expired from its expiry on. forkedFrom gives the first number
// at which a lane is known to be forked (two records with one dot), 0 for a
// lane that is not; nil means that no lane is. From that number on, neither
// the lane's order nor a replaces entry for it proves that a document was
// replaced.
//
// Cost: O(n log n + entries of the replaces vectors).
func Read(docs []*record.Verified, now uint64, forkedFrom func(author record.Key, lane uint64) uint32) Reading {
	docs = slices.DeleteFunc(slices.Clone(docs), func(r *record.Verified) bool { return r.Kind != record.Doc })
	if len(docs) == 0 {
		return Reading{Absent: true}
	}
	slices.SortFunc(docs, func(a, b *record.Verified) int { return compareRecords(b, a) })

	newest := make(map[laneKey]uint32)      // the highest number of each lane
	replaced := make(map[record.Tag]uint32) // the highest number that some document replaces
	for _, r := range docs {
		key := laneKey{r.Author, r.Lane}
		newest[key] = max(newest[key], r.Seq)
		for _, e := range r.Replaces {
			replaced[e.Lane] = max(replaced[e.Lane], e.Number)
		}
	}
	superseded := func(r *record.Verified) bool {
		if forkedFrom != nil {
			if first := forkedFrom(r.Author, r.Lane); first != 0 && r.Seq >= first {
				return false
			}
		}
		// A document never lists its own lane, so an entry is another's word.
		return newest[laneKey{r.Author, r.Lane}] > r.Seq || replaced[record.LaneTag(r.Author, r.Lane)] >= r.Seq
	}

	reading := Reading{Doc: docs[0]}
	reading.Absent = reading.Doc.Deleted || reading.Doc.Expires != 0 && reading.Doc.Expires <= now
	for _, r := range docs[1:] {
		if superseded(r) {
			reading.Replaced = append(reading.Replaced, r)
		} else {
			reading.Conflicts = append(reading.Conflicts, r)
		}
	}
	return reading
}
