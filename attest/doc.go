// Package attest makes what a replica says about itself evidence: signed,
// small, and checkable by anybody who knows the name of the space, with no
// replica and no network. See docs/proofs.md.
//
// An Attestation is a device's signed word that at some time it held so many
// records of a space under one trie. It stands outside the set, so that no
// root moves because of it. Each one names its place in the device's Log, an
// append-only list of what it ever attested (RFC 6962), so that a device
// which tells two stories has signed both.
//
// A File carries one of four things, all checked by Check:
//
//	member    a record, its path in an attested trie, and who granted its
//	          author and the device their keys
//	absent    that an ID is not in an attested trie
//	answer    everything at a path or below a prefix: nothing else lies there
//	against   two signed things of one device that cannot both be true
//
// The package does no I/O. What it is handed is read with bounds, and
// refused with the reason.
package attest
