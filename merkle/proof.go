package merkle

import (
	"errors"
	"fmt"
	"slices"
)

// Why a proof is refused.
var (
	ErrProofEncoding = errors.New("merkle: malformed proof")
	ErrProofMismatch = errors.New("merkle: the proof does not lead to this digest")
)

// Proof shows that an ID is in a set, or is not, to whoever has the set's
// digest. It is about 1 KB for ten million IDs, of either kind.
type Proof struct {
	Siblings []Digest // of the nodes on the path, from the root down
	Leaf     []ID     // all IDs at the end of the path, ascending
}

// Prove makes the proof for id, be it present or absent.
func Prove(src Source, id ID) (Proof, error) {
	var p Proof
	for depth := 0; ; depth++ {
		count, _, err := src.Subtree(id, depth)
		if err != nil {
			return Proof{}, err
		}
		if count <= LeafIDs {
			if count > 0 {
				p.Leaf, err = src.IDs(id, depth)
			}
			return p, err
		}
		if depth == maxDepth {
			return Proof{}, fmt.Errorf("merkle: source counts %d IDs at depth %d", count, depth)
		}
		_, sibling, err := src.Subtree(flipped(id, depth), depth+1)
		if err != nil {
			return Proof{}, err
		}
		p.Siblings = append(p.Siblings, sibling)
	}
}

// Verify checks the proof for id against the digest of a set, and says
// whether id is in the set. An error means that the proof shows nothing:
// it matches ErrProofMismatch, or ErrProofEncoding if no set at all has
// such a path.
func (p Proof) Verify(trie Digest, id ID) (present bool, err error) {
	if err := p.check(); err != nil {
		return false, err
	}
	for i := range p.Leaf {
		if !matches(&p.Leaf[i], &id, len(p.Siblings)) {
			return false, fmt.Errorf("%w: its leaf is not on the path of %x", ErrProofMismatch, id)
		}
	}
	h := leafHash(p.Leaf)
	for depth := len(p.Siblings) - 1; depth >= 0; depth-- {
		if bit(&id, depth) == 0 {
			h = innerHash(&h, &p.Siblings[depth])
		} else {
			h = innerHash(&p.Siblings[depth], &h)
		}
	}
	if h != trie {
		return false, fmt.Errorf("%w: it leads to %x, not %x", ErrProofMismatch, h, trie)
	}
	_, present = slices.BinarySearchFunc(p.Leaf, id, compareIDs)
	return present, nil
}

// check refuses what no trie has on a path, whichever ID it is for.
func (p Proof) check() error {
	switch n := len(p.Siblings); {
	case n > maxDepth:
		return fmt.Errorf("%w: depth %d exceeds %d", ErrProofEncoding, n, maxDepth)
	case len(p.Leaf) > LeafIDs:
		return fmt.Errorf("%w: %d IDs in a leaf", ErrProofEncoding, len(p.Leaf))
	case n > 0 && p.Siblings[n-1] == Digest{}:
		return fmt.Errorf("%w: the leaf's sibling is empty, so their parent should be the leaf", ErrProofEncoding)
	}
	for i := 1; i < len(p.Leaf); i++ {
		if compareIDs(p.Leaf[i-1], p.Leaf[i]) >= 0 {
			return fmt.Errorf("%w: IDs not ascending", ErrProofEncoding)
		}
	}
	return nil
}

// Encode returns the proof's one encoding:
//
//	depth 1 ‖ depth siblings of 32, from the root down ‖ n 1 ‖ n IDs of 32
//
// It is what DecodeProof accepts, for a proof that Prove made.
func (p Proof) Encode() []byte {
	b := make([]byte, 0, 2+len(ID{})*(len(p.Siblings)+len(p.Leaf)))
	b = append(b, byte(len(p.Siblings)))
	for i := range p.Siblings {
		b = append(b, p.Siblings[i][:]...)
	}
	b = append(b, byte(len(p.Leaf)))
	for i := range p.Leaf {
		b = append(b, p.Leaf[i][:]...)
	}
	return b
}

// DecodeProof is the reverse of Encode. Errors match ErrProofEncoding.
func DecodeProof(b []byte) (Proof, error) {
	var p Proof
	var err error
	if p.Siblings, b, err = takeList(b, maxDepth); err != nil {
		return Proof{}, fmt.Errorf("%w: siblings: %w", ErrProofEncoding, err)
	}
	if p.Leaf, b, err = takeList(b, LeafIDs); err != nil {
		return Proof{}, fmt.Errorf("%w: leaf: %w", ErrProofEncoding, err)
	}
	if len(b) > 0 {
		return Proof{}, fmt.Errorf("%w: %d bytes after the end", ErrProofEncoding, len(b))
	}
	if err := p.check(); err != nil {
		return Proof{}, err
	}
	return p, nil
}

// takeList reads a count in one byte and that many 32-byte values.
func takeList(b []byte, most int) (list [][32]byte, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errors.New("no count")
	}
	n, b := int(b[0]), b[1:]
	if n > most {
		return nil, nil, fmt.Errorf("%d, at most %d", n, most)
	}
	if len(b) < 32*n {
		return nil, nil, fmt.Errorf("%d in %d bytes", n, len(b))
	}
	for ; n > 0; n-- {
		list, b = append(list, [32]byte(b)), b[32:]
	}
	return list, b, nil
}
