// Package blob names content of any size, and checks any part of it against
// that name as it streams. See docs/blob.md.
//
// A blob is named by its BLAKE3 hash and its length. The hash is the root of a
// binary tree over chunks of 1 KiB; here 16 chunks are one group, the least
// that is asked for, checked and kept. Above the groups lie parents, pairs of
// chaining values: with the parents on the way from the root, a group is
// checked without any other. A Slice carries a range of groups with just the
// parents that it needs, in the order of Bao with groups of 2^4 chunks, and
// without Bao's length, which the name has already.
//
// Builder hashes content as it comes and yields its parents, Decoder checks a
// slice byte by byte, Set says which groups are there, Recover finds out which
// of those that a crash may have left are sound, and Ref is how a record names
// a blob. Nothing here does I/O of its own, allocates by what a peer
// announces, or trusts a byte that it has not checked.
package blob
