package record

// Limits of the format. They are part of the protocol: a replica that drew
// any of them elsewhere would hold another set.
const (
	Version      = 1
	MaxPath      = 1024     // bytes
	MaxPayload   = 64 << 10 // bytes
	MaxReplaces  = 64       // entries of a doc's replaces vector
	MaxTime      = 1<<53 - 1
	MaxBlock     = 1<<20 - 1 // highest block a sweep may name
	BlockNumbers = 4096      // numbers in one block of a lane
	MaxSealList  = 4000      // prefixes in one part of a seal
	MaxSize      = minSize + MaxPath + MaxPayload + 8 + 1 + 12*MaxReplaces
	PrefixSize   = 16 // bytes of an ID that a seal lists

	headerSize    = 61
	signatureSize = 64
	minSize       = headerSize + signatureSize
	maxDotBytes   = BlockNumbers / 8
)

const signDomain = "anabranch record 1"
