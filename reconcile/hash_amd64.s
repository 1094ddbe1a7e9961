//go:build !purego

#include "textflag.h"

// SHA-256 of one block from the initial state, two blocks at a time: the
// instructions for it wait for each other, and those of another block fill
// the gaps.

// The words of the state as the instructions want them: F E B A and H G D C.
DATA initial<>+0x00(SB)/8, $0x510e527f9b05688c
DATA initial<>+0x08(SB)/8, $0x6a09e667bb67ae85
DATA initial<>+0x10(SB)/8, $0x1f83d9ab5be0cd19
DATA initial<>+0x18(SB)/8, $0x3c6ef372a54ff53a
GLOBL initial<>(SB), RODATA|NOPTR, $32

// Bytes swapped in each word, and in all of a register.
DATA swaps<>+0x00(SB)/8, $0x0405060700010203
DATA swaps<>+0x08(SB)/8, $0x0c0d0e0f08090a0b
DATA swaps<>+0x10(SB)/8, $0x08090a0b0c0d0e0f
DATA swaps<>+0x18(SB)/8, $0x0001020304050607
GLOBL swaps<>(SB), RODATA|NOPTR, $32

DATA rounds<>+0x00(SB)/8, $0x71374491428a2f98
DATA rounds<>+0x08(SB)/8, $0xe9b5dba5b5c0fbcf
DATA rounds<>+0x10(SB)/8, $0x59f111f13956c25b
DATA rounds<>+0x18(SB)/8, $0xab1c5ed5923f82a4
DATA rounds<>+0x20(SB)/8, $0x12835b01d807aa98
DATA rounds<>+0x28(SB)/8, $0x550c7dc3243185be
DATA rounds<>+0x30(SB)/8, $0x80deb1fe72be5d74
DATA rounds<>+0x38(SB)/8, $0xc19bf1749bdc06a7
DATA rounds<>+0x40(SB)/8, $0xefbe4786e49b69c1
DATA rounds<>+0x48(SB)/8, $0x240ca1cc0fc19dc6
DATA rounds<>+0x50(SB)/8, $0x4a7484aa2de92c6f
DATA rounds<>+0x58(SB)/8, $0x76f988da5cb0a9dc
DATA rounds<>+0x60(SB)/8, $0xa831c66d983e5152
DATA rounds<>+0x68(SB)/8, $0xbf597fc7b00327c8
DATA rounds<>+0x70(SB)/8, $0xd5a79147c6e00bf3
DATA rounds<>+0x78(SB)/8, $0x1429296706ca6351
DATA rounds<>+0x80(SB)/8, $0x2e1b213827b70a85
DATA rounds<>+0x88(SB)/8, $0x53380d134d2c6dfc
DATA rounds<>+0x90(SB)/8, $0x766a0abb650a7354
DATA rounds<>+0x98(SB)/8, $0x92722c8581c2c92e
DATA rounds<>+0xa0(SB)/8, $0xa81a664ba2bfe8a1
DATA rounds<>+0xa8(SB)/8, $0xc76c51a3c24b8b70
DATA rounds<>+0xb0(SB)/8, $0xd6990624d192e819
DATA rounds<>+0xb8(SB)/8, $0x106aa070f40e3585
DATA rounds<>+0xc0(SB)/8, $0x1e376c0819a4c116
DATA rounds<>+0xc8(SB)/8, $0x34b0bcb52748774c
DATA rounds<>+0xd0(SB)/8, $0x4ed8aa4a391c0cb3
DATA rounds<>+0xd8(SB)/8, $0x682e6ff35b9cca4f
DATA rounds<>+0xe0(SB)/8, $0x78a5636f748f82ee
DATA rounds<>+0xe8(SB)/8, $0x8cc7020884c87814
DATA rounds<>+0xf0(SB)/8, $0xa4506ceb90befffa
DATA rounds<>+0xf8(SB)/8, $0xc67178f2bef9a3f7
GLOBL rounds<>(SB), RODATA|NOPTR, $256

// Four rounds over the words m, with the state in s0 and s1.
#define FOUR(g, m, s0, s1) \
	MOVOU (16*g)(AX), X0    \
	PADDD m, X0             \
	SHA256RNDS2 X0, s0, s1  \
	PSHUFD $0x0e, X0, X0    \
	SHA256RNDS2 X0, s1, s0

// The same, and the beginning of the words that take the place of p.
#define FOUR_BEGIN(g, m, p, s0, s1) \
	FOUR(g, m, s0, s1) \
	SHA256MSG1 m, p

// The same, and the end of the words that take the place of n.
#define FOUR_END(g, m, n, p, s0, s1) \
	MOVOU (16*g)(AX), X0    \
	PADDD m, X0             \
	SHA256RNDS2 X0, s0, s1  \
	MOVO m, X13             \
	PALIGNR $4, p, X13      \
	PADDD X13, n            \
	SHA256MSG2 m, n         \
	PSHUFD $0x0e, X0, X0    \
	SHA256RNDS2 X0, s1, s0

#define FOUR_BOTH(g, m, n, p, s0, s1) \
	FOUR_END(g, m, n, p, s0, s1) \
	SHA256MSG1 m, p

#define BOTH_TWICE(g, m, n, p, k, l, o) \
	FOUR_BOTH(g, m, n, p, X1, X2) \
	FOUR_BOTH(g, k, l, o, X7, X8)

// func digestPairs(out *Fingerprint, blocks *block, pairs int)
TEXT ·digestPairs(SB), NOSPLIT, $0-24
	MOVQ out+0(FP), DI
	MOVQ blocks+8(FP), SI
	MOVQ pairs+16(FP), CX
	LEAQ rounds<>(SB), AX
	LEAQ swaps<>(SB), BX
	LEAQ initial<>(SB), DX
	MOVOU (BX), X14
	MOVOU 16(BX), X15

pair:
	MOVOU (DX), X1
	MOVOU 16(DX), X2
	MOVO X1, X7
	MOVO X2, X8
	MOVOU (SI), X3
	MOVOU 16(SI), X4
	MOVOU 32(SI), X5
	MOVOU 48(SI), X6
	MOVOU 64(SI), X9
	MOVOU 80(SI), X10
	MOVOU 96(SI), X11
	MOVOU 112(SI), X12
	PSHUFB X14, X3
	PSHUFB X14, X9
	PSHUFB X14, X4
	PSHUFB X14, X10
	PSHUFB X14, X5
	PSHUFB X14, X11
	PSHUFB X14, X6
	PSHUFB X14, X12

	FOUR(0, X3, X1, X2)
	FOUR(0, X9, X7, X8)
	FOUR_BEGIN(1, X4, X3, X1, X2)
	FOUR_BEGIN(1, X10, X9, X7, X8)
	FOUR_BEGIN(2, X5, X4, X1, X2)
	FOUR_BEGIN(2, X11, X10, X7, X8)
	BOTH_TWICE(3, X6, X3, X5, X12, X9, X11)
	BOTH_TWICE(4, X3, X4, X6, X9, X10, X12)
	BOTH_TWICE(5, X4, X5, X3, X10, X11, X9)
	BOTH_TWICE(6, X5, X6, X4, X11, X12, X10)
	BOTH_TWICE(7, X6, X3, X5, X12, X9, X11)
	BOTH_TWICE(8, X3, X4, X6, X9, X10, X12)
	BOTH_TWICE(9, X4, X5, X3, X10, X11, X9)
	BOTH_TWICE(10, X5, X6, X4, X11, X12, X10)
	BOTH_TWICE(11, X6, X3, X5, X12, X9, X11)
	BOTH_TWICE(12, X3, X4, X6, X9, X10, X12)
	FOUR_END(13, X4, X5, X3, X1, X2)
	FOUR_END(13, X10, X11, X9, X7, X8)
	FOUR_END(14, X5, X6, X4, X1, X2)
	FOUR_END(14, X11, X12, X10, X7, X8)
	FOUR(15, X6, X1, X2)
	FOUR(15, X12, X7, X8)

	// A, B, C and D are the upper halves.
	MOVOU (DX), X3
	MOVOU 16(DX), X4
	PADDD X3, X1
	PADDD X4, X2
	PADDD X3, X7
	PADDD X4, X8
	PUNPCKHQDQ X1, X2
	PUNPCKHQDQ X7, X8
	PSHUFB X15, X2
	PSHUFB X15, X8
	MOVOU X2, (DI)
	MOVOU X8, 16(DI)
	ADDQ $128, SI
	ADDQ $32, DI
	DECQ CX
	JNZ pair
	RET

// func cpuid(leaf, sub uint32) (ebx, ecx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-16
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL BX, ebx+8(FP)
	MOVL CX, ecx+12(FP)
	RET
