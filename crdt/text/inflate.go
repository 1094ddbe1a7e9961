package text

import (
	"encoding/binary"
	"math/bits"
)

// An inflater reads DEFLATE streams (RFC 1951) that lie in memory and whose
// length inflated is known, as parts of states and deltas are: so nothing is
// copied through a window, and bits are taken eight bytes at a time. It accepts
// what compress/flate accepts, at two to three times the speed, and takes 6 KiB
// that are used again from one stream to the next. The zero value is ready.
type inflater struct {
	literals, distances prefixCode
	lengths             [maxLiterals + maxDistances]uint8
}

// The alphabets of RFC 1951, 3.2.5 and 3.2.7. The fixed code of literals has 288
// symbols and that of distances 32, of which the last two mean nothing.
const (
	maxLiterals  = 286
	maxDistances = 30
	endOfBlock   = 256
	longestCode  = 15
)

// prefixCode finds the symbol that a stream goes on with in one look, or in two
// where its code is longer than tableBits.
//
// An entry is length of the code | extra bits<<4 | value<<8, or 0 where no code
// is. The value is a literal, or the least length or distance that extra bits
// are added to; in an entry of kind entryLink it is where in rest the longer codes
// stand, and extra is how many bits more they are looked up by.
type prefixCode struct {
	table [1 << tableBits]uint32
	rest  []uint32
	fixed bool
}

const (
	tableBits    = 9
	entryLiteral = 1 << 31
	entryEnd     = 1 << 30
	entryLink    = 1 << 29
	entryValue   = 8
)

// inflate writes what one stream, which is all of src, says to dst, and reports
// whether it is a stream that says exactly len(dst) bytes.
func (z *inflater) inflate(dst, src []byte) bool {
	in := bitReader{src: src}
	out := 0
	for {
		in.refill()
		final, kind := in.take(1) == 1, in.take(2)
		ok := false
		switch kind {
		case 0:
			out, ok = in.stored(dst, out)
		case 1:
			z.fix()
			out, ok = z.block(dst, out, &in)
		case 2:
			if z.header(&in) {
				out, ok = z.block(dst, out, &in)
			}
		}
		if !ok || in.left() < 0 {
			return false
		}
		if final {
			return out == len(dst) && in.left() < 8
		}
	}
}

// bitReader takes bits from src, the lowest of each byte first. Behind the end
// it reads zeros, as many as it is asked for: left tells.
type bitReader struct {
	src  []byte
	at   int    // in src
	bits uint64 // of which the lowest n are still to be taken
	n    uint
	past uint // of those, how many are behind the end
}

// refill makes sure that there are 56 bits to be taken.
func (r *bitReader) refill() {
	if r.at+8 <= len(r.src) {
		r.bits |= binary.LittleEndian.Uint64(r.src[r.at:]) << (r.n & 63)
		r.at += int(63-r.n) >> 3
		r.n |= 56
		return
	}
	for ; r.n < 56; r.n += 8 {
		if r.at < len(r.src) {
			r.bits |= uint64(r.src[r.at]) << r.n
			r.at++
		} else {
			r.past += 8
		}
	}
}

func (r *bitReader) take(n uint) uint {
	v := uint(r.bits) & (1<<n - 1)
	r.bits >>= n
	r.n -= n
	return v
}

// left is how many bits of src are not taken yet; negative when bits were taken
// that are not there.
func (r *bitReader) left() int { return 8*(len(r.src)-r.at) + int(r.n) - int(r.past) }

// stored copies a block that is not compressed (RFC 1951, 3.2.4).
func (r *bitReader) stored(dst []byte, out int) (int, bool) {
	left := r.left()
	if left < 0 {
		return out, false
	}
	rest := r.src[len(r.src)-left/8:]
	if len(rest) < 4 {
		return out, false
	}
	n := int(binary.LittleEndian.Uint16(rest))
	if uint16(n) != ^binary.LittleEndian.Uint16(rest[2:]) || n > len(rest)-4 || n > len(dst)-out {
		return out, false
	}
	copy(dst[out:], rest[4:4+n])
	*r = bitReader{src: rest[4+n:]}
	return out + n, true
}

// block decodes the symbols of a block that is compressed, and returns where in
// dst it ends.
func (z *inflater) block(dst []byte, out int, r *bitReader) (int, bool) {
	in := *r // in registers
	for {
		in.refill()
		e := z.literals.table[in.bits&(1<<tableBits-1)]
		for e&entryLiteral != 0 {
			if out >= len(dst) {
				return out, false
			}
			dst[out] = byte(e >> entryValue)
			out++
			in.bits >>= e & 15
			in.n -= uint(e & 15)
			if in.n < longestCode {
				in.refill()
			}
			e = z.literals.table[in.bits&(1<<tableBits-1)]
		}
		if e&entryLink != 0 {
			e = z.literals.long(e, in.bits)
		}
		if e == 0 {
			return out, false
		}
		in.bits >>= e & 15
		in.n -= uint(e & 15)
		switch {
		case e&entryLiteral != 0:
			if out >= len(dst) {
				return out, false
			}
			dst[out] = byte(e >> entryValue)
			out++
			continue
		case e&entryEnd != 0:
			*r = in
			return out, true
		}
		if in.n < 5+longestCode+13 {
			in.refill()
		}
		n := int(e>>entryValue&0xffff) + int(in.take(uint(e>>4&15)))
		e = z.distances.table[in.bits&(1<<tableBits-1)]
		if e&entryLink != 0 {
			e = z.distances.long(e, in.bits)
		}
		if e == 0 {
			return out, false
		}
		in.bits >>= e & 15
		in.n -= uint(e & 15)
		back := int(e>>entryValue&0xffff) + int(in.take(uint(e>>4&15)))
		if back > out || n > len(dst)-out {
			return out, false
		}
		repeat(dst, out, back, n)
		out += n
	}
}

// repeat writes at out n bytes once more that stand back before it; they may
// run into themselves.
func repeat(dst []byte, out, back, n int) {
	if back >= 8 && out+n+8 <= len(dst) {
		from, to := dst[out-back:], dst[out:]
		for at := 0; at < n; at += 8 { // and up to 7 more, which the next will write over
			binary.LittleEndian.PutUint64(to[at:], binary.LittleEndian.Uint64(from[at:]))
		}
		return
	}
	from, to := dst[out-back:out-back+n], dst[out:out+n]
	for i := range to {
		to[i] = from[i]
	}
}

// long is the entry of a code that is longer than tableBits.
func (c *prefixCode) long(link uint32, b uint64) uint32 {
	at := b >> tableBits & (1<<(link>>4&15) - 1)
	return c.rest[uint64(link&^entryLink>>entryValue)+at]
}

var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// header reads the codes that a block brings (RFC 1951, 3.2.7).
func (z *inflater) header(in *bitReader) bool {
	literals, distances, n := int(in.take(5))+257, int(in.take(5))+1, int(in.take(4))+4
	if literals > maxLiterals || distances > maxDistances {
		return false
	}
	var of [len(codeOrder)]uint8
	for _, c := range codeOrder[:n] {
		in.refill()
		of[c] = uint8(in.take(3))
	}
	// The code of the lengths is short: the distances' place takes it meanwhile.
	c := &z.distances
	if !c.make(of[:], func(i int) uint32 { return entryLiteral | uint32(i)<<entryValue }) {
		return false
	}
	lengths := z.lengths[:literals+distances]
	for i := 0; i < len(lengths); {
		in.refill()
		e := c.table[in.bits&(1<<tableBits-1)]
		if e == 0 {
			return false
		}
		in.take(uint(e & 15))
		v, again := uint8(e>>entryValue), 1
		switch v {
		case 16:
			if i == 0 {
				return false
			}
			v, again = lengths[i-1], 3+int(in.take(2))
		case 17:
			v, again = 0, 3+int(in.take(3))
		case 18:
			v, again = 0, 11+int(in.take(7))
		}
		if again > len(lengths)-i {
			return false
		}
		for range again {
			lengths[i] = v
			i++
		}
	}
	return z.literals.make(lengths[:literals], literalEntry) && z.distances.make(lengths[literals:], distanceEntry)
}

// fix sets the codes that need no header (RFC 1951, 3.2.6).
func (z *inflater) fix() {
	if z.literals.fixed && z.distances.fixed {
		return
	}
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	z.literals.make(lengths[:], literalEntry)
	for i := range lengths[:32] {
		lengths[i] = 5
	}
	z.distances.make(lengths[:32], distanceEntry)
	z.literals.fixed, z.distances.fixed = true, true
}

// literalEntry is a literal, the end of a block, or a length and how many bits
// are added to it.
func literalEntry(i int) uint32 {
	switch {
	case i < endOfBlock:
		return entryLiteral | uint32(i)<<entryValue
	case i == endOfBlock:
		return entryEnd
	case i < endOfBlock+9:
		return uint32(i-endOfBlock+2) << entryValue
	case i < maxLiterals-1:
		extra := uint32(i-endOfBlock-5) >> 2
		return extra<<4 | (3+(uint32(i-endOfBlock-1)&3|4)<<extra)<<entryValue
	case i == maxLiterals-1:
		return 258 << entryValue
	}
	return 0
}

func distanceEntry(i int) uint32 {
	switch {
	case i < 4:
		return uint32(i+1) << entryValue
	case i < maxDistances:
		extra := uint32(i-2) >> 1
		return extra<<4 | (1+(uint32(i)&1|2)<<extra)<<entryValue
	}
	return 0
}

// make builds the code in which each symbol has a code of so many bits, 0 for
// none, with the entry that of gives for it. It reports false for lengths that
// leave codes unused or use some twice; a single code of one bit may leave the
// other, and a code without symbols is one that nothing can be read with.
func (c *prefixCode) make(lengths []uint8, of func(int) uint32) bool {
	var count, next [longestCode + 1]uint16
	for _, n := range lengths {
		count[n]++
	}
	longest := longestCode
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	code := uint(0)
	for n := 1; n <= longest; n++ {
		code <<= 1
		next[n] = uint16(code)
		code += uint(count[n])
	}
	if code != 1<<longest && longest > 0 && (code != 1 || longest != 1) {
		return false
	}
	c.fixed = false
	if longest <= 1 {
		clear(c.table[:])
	}
	c.rest = c.rest[:0]
	link := uint(0) // bits that the longer codes have more
	if longest > tableBits {
		link = uint(longest - tableBits)
		// Codes ascend with their lengths, so the longer ones come last.
		for prefix := uint(next[tableBits+1]) >> 1; prefix < 1<<tableBits; prefix++ {
			c.table[bits.Reverse16(uint16(prefix))>>(16-tableBits)] = entryLink | uint32(link)<<4 | uint32(len(c.rest))<<entryValue
			c.rest = append(c.rest, make([]uint32, 1<<link)...)
		}
	}
	for i, n := range lengths {
		if n == 0 {
			continue
		}
		e := of(i)
		if e != 0 {
			e |= uint32(n)
		}
		at := uint(bits.Reverse16(next[n])) >> (16 - uint(n))
		next[n]++
		if n <= tableBits {
			for ; at < 1<<tableBits; at += 1 << n {
				c.table[at] = e
			}
			continue
		}
		l := c.table[at&(1<<tableBits-1)]
		rest := c.rest[l&^entryLink>>entryValue:][:1<<link]
		for at >>= tableBits; at < 1<<link; at += 1 << (n - tableBits) {
			rest[at] = e
		}
	}
	return true
}
