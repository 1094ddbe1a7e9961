// Package text is plain text that people type into together: each with a Doc
// of their own, offline or on, and equal texts wherever the same deltas came.
//
// A Doc takes local edits by position (Insert, Delete, Undo, Redo); Flush
// returns what was edited as deltas, byte strings to be carried to other
// replicas in any way. Apply joins deltas in any order, any number of times:
// what speaks of characters that are not here yet waits for them. Two people
// who type at one place at once find their words side by side, never mixed.
// A deleted character keeps its place, so that anchors, undo and what others
// typed beside it still know where they are.
//
// Positions and lengths count runes; Size and the At functions convert to bytes
// and UTF-16 code units. Save and Load keep a document as a cache: the deltas
// remain what it is made of, and Build makes it of them again.
//
// A lane, the stream that one document writes, is named by a uint64 and numbers
// its characters 1, 2, 3 …; nobody else may write in it. A lane that says two
// things at one number is met with a ForkError.
//
// Deltas of strangers are checked before anything is changed: lengths before
// memory is taken, numbers before they are used, what waits within a bound. A
// run costs no more than the square of the document's logarithm, a claim a look
// at each span that it covers. docs/crdt.md has order, encodings, costs and figures;
// testdata/vectors.json has vectors for other implementations.
//
// The package does no I/O, starts no goroutine and takes no lock. A Doc has one
// caller at a time: even reading it may settle counts.
package text
