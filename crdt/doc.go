// Package crdt holds the replicated types, and what they share with texts: the
// names of events, the sets of events that a replica has seen, and the one
// spelling of a number.
//
// An event happens in a lane, one writer's numbered stream, and is named by a
// Dot: the lane and the event's number there. Numbers start at 1 and have no
// gaps, and a dot is issued once, so two states that hold the same dot speak
// of the same event. A Context is a set of dots; it says what a state knows
// and, joined with others, what everybody knows.
//
// Lanes are named by a uint64: the tag of a record's lane (record.LaneTag), or
// whatever identifies a writer where the package is used alone. Names decide
// ties and nothing else; 0 is nobody's name.
//
// The package does no I/O, keeps no state of its own and depends on its
// arguments alone.
//
// A State is a document, or a part of one, made of the replicated types:
// registers, flags, counters, sets, logs, and maps that nest them. Mutators
// return a delta, a small State; Join merges, in any order, any number of
// times. Texts live in a room beside this one; a State carries them nested in
// its maps, as deltas.
package crdt
