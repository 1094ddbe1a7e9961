package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"anabranch/merkle"
	"anabranch/reconcile"
)

// The bytes of derived values in a checkpoint. Integers are big-endian, counts
// varints.

var errEncoding = errors.New("layout")

// encode is, for each block, its lower end 8 + 32, its count, its sum 32.
func (b *blocks) encode() []byte {
	var out []byte
	b.each(func(p spot) error {
		out = append(binary.BigEndian.AppendUint64(out, p.lo.Time), p.lo.ID[:]...)
		out = binary.AppendUvarint(out, uint64(p.count))
		for _, w := range p.sum {
			out = binary.BigEndian.AppendUint64(out, w)
		}
		return nil
	})
	return out
}

func (b *blocks) decode(in []byte) error {
	var kids []blockKid
	total := uint64(0)
	for len(in) > 0 {
		if len(in) < 40 {
			return errEncoding
		}
		k := blockKid{first: reconcile.Item{Time: binary.BigEndian.Uint64(in), ID: reconcile.ID(in[8:])}}
		n, size := binary.Uvarint(in[40:])
		if size <= 0 || n == 0 || n > math.MaxInt32 || len(in) < 40+size+32 {
			return errEncoding
		}
		if total += n; total > math.MaxInt32 {
			return errEncoding
		}
		in = in[40+size:]
		for i := range k.sum {
			k.sum[i] = binary.BigEndian.Uint64(in[8*i:])
		}
		in = in[32:]
		if len(kids) > 0 && kids[len(kids)-1].first.Compare(k.first) >= 0 {
			return fmt.Errorf("%w: blocks are not ascending", errEncoding)
		}
		k.count, k.content = int32(n), b.warm.number()
		k.untidy = int(n) > b.size.most
		kids = append(kids, k)
	}
	if len(kids) == 0 {
		b.root = nil
		return nil
	}
	b.plant(kids)
	return nil
}

// plant makes b the tree of some blocks, at least one.
func (b *blocks) plant(kids []blockKid) {
	kids[0].first = reconcile.Item{}
	for len(kids) > b.size.kids {
		groups := b.group(kids, reconcile.Item{}, false)
		for i := range groups {
			groups[i].untidy = groups[i].node.untidy()
		}
		kids = groups
	}
	b.root = &blockNode{edit: b.edit, kids: kids}
}

// The nodes of a trie in a checkpoint, from the root down, left before right.
const (
	nodeHalves = 0 // its halves follow
	nodeKnown  = 1 // a cut: count, digest 32
	nodeStale  = 2 // a cut: count
)

func (c cutsByID) encode() []byte { return c.root.half[0].encode(nil) }

func (c *cut) encode(out []byte) []byte {
	if p := c.halves.Load(); p != nil {
		return p.half[1].encode(p.half[0].encode(append(out, nodeHalves)))
	}
	known := c.state.Load() == digestKnown
	tag := byte(nodeStale)
	if known {
		tag = nodeKnown
	}
	out = binary.AppendUvarint(append(out, tag), uint64(c.count))
	if known {
		out = append(out, c.digest[:]...)
	}
	return out
}

func (c cutsByID) decode(in []byte) error {
	rest, err := c.root.half[0].decode(in, c.cuts, 0)
	if err == nil && len(rest) > 0 {
		err = errEncoding
	}
	return err
}

func (c *cut) decode(in []byte, t *cuts, depth int) (rest []byte, err error) {
	if len(in) == 0 || depth > 256 {
		return nil, errEncoding
	}
	tag := in[0]
	in = in[1:]
	if tag == nodeHalves {
		p := &cutPair{edit: t.edit}
		for i := range p.half {
			if in, err = p.half[i].decode(in, t, depth+1); err != nil {
				return nil, err
			}
		}
		n := int64(p.half[0].count) + int64(p.half[1].count)
		if n > math.MaxInt32 || n <= merkle.LeafIDs {
			return nil, fmt.Errorf("%w: a node of %d IDs has halves", errEncoding, n)
		}
		c.count = int32(n)
		c.halves.Store(p)
		return in, nil
	}
	n, size := binary.Uvarint(in)
	if size <= 0 || n > math.MaxInt32 || tag > nodeStale {
		return nil, errEncoding
	}
	c.count, in = int32(n), in[size:]
	if tag == nodeKnown {
		if len(in) < len(c.digest) {
			return nil, errEncoding
		}
		c.know(merkle.Digest(in))
		in = in[len(c.digest):]
	}
	return in, nil
}
