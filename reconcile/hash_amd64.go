//go:build !purego

package reconcile

// paired says whether digestPairs may be called: the processor has the
// instructions for SHA-256, and those for moving bytes about beside them.
var paired = func() bool {
	const ssse3, sse41, sha = 1 << 9, 1 << 19, 1 << 29
	_, ecx := cpuid(1, 0)
	ebx, _ := cpuid(7, 0)
	return ecx&ssse3 != 0 && ecx&sse41 != 0 && ebx&sha != 0
}()

// digestPairs digests 2*pairs padded blocks, one or more pairs.
//
//go:noescape
func digestPairs(out *Fingerprint, blocks *block, pairs int)

func cpuid(leaf, sub uint32) (ebx, ecx uint32)
