// Package record is the unit of replication: an immutable, signed,
// content-addressed record with exactly one encoding per value.
//
// # Layout, version 1
//
// Integers are big-endian.
//
//	offset size
//	     0    1  version   1
//	     1    1  kind      1 entry, 2 doc, 3 delta, 4 sweep, 5 control, 6-255 opaque
//	     2    1  flags     1 deleted, 2 expires, 4 blob, 8 replaces
//	     3    2  pathLen   1-1024
//	     5    4  payloadLen 0-65536
//	     9    8  time      microseconds since 1970, 1 <= t < 2^53
//	    17    8  lane      >= 1; in a sweep the lane it speaks of; in control 0
//	    25    4  seq       >= 1; in a sweep the block, < 2^20; in control 0
//	    29   32  author    Ed25519 public key
//	    61    8  expires   only with flag 2: > time, < 2^53
//	          1+12n replaces only with flag 8: n 1-64, then n x (tag 8, number 4)
//	             path, payload
//	         64  signature
//
// The signature covers "anabranch record 1", the space, everything up to and
// including the path, and the SHA-256 of the payload, so that a record can be
// proven without its payload. The ID covers the signed message and the
// signature, so that equal IDs mean equal bytes. The space is signed and not
// stored. See docs/record.md.
//
// Signatures are Ed25519 under one predicate, ZIP-215, alone and in batches:
// two predicates would mean two sets.
//
// # Use
//
// Sign makes a record. Verify and VerifyBatch read bytes from anybody; Restore
// reads bytes that were verified before. All of them return a Verified, and
// whoever holds one may rely on layout, signature and ID. Whether a record is
// a member of its space is not decided here: see package space.
//
// The package does no I/O and keeps no state. Its outcomes depend on their
// arguments alone. testdata/vectors holds golden vectors for other
// implementations.
package record
