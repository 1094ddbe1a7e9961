// Package store keeps the records of one replica and their orders on disk:
// by arrival, by ID, by time, by path, by dot. What follows from them is kept in
// memory: which records are members is worked out when the store is opened;
// the tops of the reconciliation index and of the Merkle trie are written at
// checkpoints and brought up to date by what arrived since.
//
// # Commits
//
// One goroutine, the committer, owns every change. It takes the requests that
// wait, applies each of them whole or not at all, and hands the engine one
// batch. While another goroutine waits for its one fsync, publishes the new
// state and only then answers, the next batch is built on top. What a method
// acknowledged survives a power cut; what it did not acknowledge is there
// whole or not at all. See docs/store.md for the rows and the rules.
//
// # Failure
//
// While the disk is full, methods that write return ErrFull and reads go on;
// when there is space, so does writing. The first other error of a write ends
// the store: Failed is closed,
// every method that writes returns ErrFailed at once, reads go on where the
// engine below allows it, and nothing exits or panics. Opening the store
// again is the way on. Damaged bytes are an error that wraps ErrDamaged,
// never an absent record.
package store
