// Package space says which records are members of a space.
//
// A space is born with a [Genesis], which names its root keys for ever. From
// there authority runs down a tree of grants, is withdrawn by seals, and
// authors remove their own records by sweeps. A [State] holds the control
// records and sweeps that one replica knows and judges any record by them:
// member, held (not authorised by what is known here) or dead (removed by its
// author). [Read] says which of the live documents at a path is the one that
// is read, and which are in conflict with it.
//
// Membership is a pure function of the records known: no clock, no order of
// arrival, no local limit and no "newest" takes part, so that replicas which
// exchange what stands end with the same set. docs/membership.md states the
// law; internal/model is the same law in plain sets, which State is checked
// against.
//
// # Genesis, version 1
//
//	version 1 | n 1 (1-4) | n root keys of 32 | random 16 | m 1 | m rules | signature 64
//	rule: type 1 | length 2 | bytes, types strictly ascending; version 1 knows none
//
// Root key 1 signs "anabranch genesis 1" followed by everything before the
// signature. The space's ID is SHA-256 over that message and the signature.
package space
