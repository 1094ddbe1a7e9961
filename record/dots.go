package record

// Dots is the set of numbers of one lane that a sweep removes. A sweep of
// block b either carries a bitmap over the numbers 4096b+1 .. 4096b+4096,
// or, with an empty payload, removes every number up to 4096b+4096. (The last
// bit of the last block, 2^20-1, may be set and names no number: it would be
// 2^32, and numbers have 32 bits.)
type Dots struct {
	Block uint32
	Bits  []byte // empty: every number of blocks 0..Block
}

func checkDots(payload []byte) error {
	if len(payload) > maxDotBytes {
		return malformed("sweep", "%d bytes of bits, at most %d", len(payload), maxDotBytes)
	}
	if len(payload) > 0 && payload[len(payload)-1] == 0 {
		return malformed("sweep", "the last byte is zero")
	}
	return nil
}

// Dots is the set of numbers that a sweep removes. Its Bits alias the payload.
func (r *Record) Dots() Dots { return Dots{Block: r.Seq, Bits: r.Payload} }

// BlockOf is the block that a number >= 1 lies in.
func BlockOf(seq uint32) uint32 { return (seq - 1) / BlockNumbers }

// Whole reports whether the set is every number of blocks 0..Block.
func (d Dots) Whole() bool { return len(d.Bits) == 0 }

// Has reports whether a number is in the set; 0 never is.
func (d Dots) Has(seq uint32) bool {
	if seq == 0 {
		return false
	}
	block := BlockOf(seq)
	if d.Whole() {
		return block <= d.Block
	}
	i := (seq - 1) % BlockNumbers
	return block == d.Block && int(i/8) < len(d.Bits) && d.Bits[i/8]&(1<<(i%8)) != 0
}

// Contains reports whether every number of other is in the set. Sets contain
// each other if they are written differently and are equal: the full bitmap of
// block 0, and the whole of block 0.
func (d Dots) Contains(other Dots) bool {
	switch {
	case d.Whole():
		return other.Block <= d.Block
	case other.Whole():
		return d.Block == 0 && other.Block == 0 && len(d.Bits) == maxDotBytes && full(d.Bits)
	case d.Block != other.Block || len(other.Bits) > len(d.Bits):
		return false
	}
	for i, b := range other.Bits {
		if b&^d.Bits[i] != 0 {
			return false
		}
	}
	return true
}

func full(bits []byte) bool {
	for _, b := range bits {
		if b != 0xFF {
			return false
		}
	}
	return true
}
