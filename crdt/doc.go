// Package crdt holds what the replicated types share: the names of events, the
// sets of events that a replica has seen, and the one spelling of a number.
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
// arguments alone. The types themselves live in rooms beside it: text.
package crdt
