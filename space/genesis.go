package space

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"anabranch/record"
)

const (
	genesisVersion = 1
	genesisDomain  = "anabranch genesis 1"
	signatureSize  = 64

	// MaxRoots is how many root keys a genesis may name.
	MaxRoots = 4
)

// ErrGenesis is wrapped by every error about a genesis that is wrong for
// everyone: its layout, its keys or its signature.
var ErrGenesis = errors.New("space: malformed genesis")

// UnknownRuleError says that a genesis carries a rule which this version does
// not know. The space cannot be used here: its members cannot be told.
type UnknownRuleError struct{ Type uint8 }

func (e *UnknownRuleError) Error() string {
	return fmt.Sprintf("space: the genesis carries a rule of type %d, which this version does not know", e.Type)
}

// Rule is a further invariant of a space. Version 1 knows none; the layout is
// fixed so that an older version can name what it lacks.
type Rule struct {
	Type uint8
	Data []byte // at most 65535 bytes
}

// Genesis is the birth of a space. It is immutable, travels beside the
// records, and is not one of them.
type Genesis struct {
	Roots     []record.Key // 1 to MaxRoots, distinct; the first one signs
	Random    [16]byte
	Rules     []Rule // strictly ascending by type
	Signature [64]byte
}

// NewGenesis signs a genesis with its first root key. The keys in more, at
// most three, are root keys as well; the order of all of them is part of the
// space's identity. The error wraps ErrGenesis.
func NewGenesis(root ed25519.PrivateKey, more []record.Key, random [16]byte) (*Genesis, error) {
	g := &Genesis{Roots: append([]record.Key{record.Public(root)}, more...), Random: random}
	if err := g.Check(); err != nil {
		return nil, err
	}
	copy(g.Signature[:], ed25519.Sign(root, g.message()))
	return g, nil
}

// Check reports the first field that breaks the layout, as an error that
// wraps ErrGenesis. It looks neither at the signature nor at whether the
// rules are known.
func (g *Genesis) Check() error {
	if len(g.Roots) < 1 || len(g.Roots) > MaxRoots {
		return fmt.Errorf("%w: %d root keys, 1 to %d are allowed", ErrGenesis, len(g.Roots), MaxRoots)
	}
	for i, k := range g.Roots {
		for _, other := range g.Roots[:i] {
			if k == other {
				return fmt.Errorf("%w: root key %v occurs twice", ErrGenesis, k)
			}
		}
	}
	if len(g.Rules) > 255 {
		return fmt.Errorf("%w: %d rules, at most 255", ErrGenesis, len(g.Rules))
	}
	for i, r := range g.Rules {
		switch {
		case i > 0 && g.Rules[i-1].Type >= r.Type:
			return fmt.Errorf("%w: rule %d is not above the one before it", ErrGenesis, i)
		case len(r.Data) > 0xFFFF:
			return fmt.Errorf("%w: rule %d has %d bytes, at most 65535", ErrGenesis, i, len(r.Data))
		}
	}
	return nil
}

// CheckSignature reports whether root key 1 signed the genesis, under
// record's one signature predicate. The error wraps ErrGenesis.
func (g *Genesis) CheckSignature() error {
	if len(g.Roots) == 0 || !record.VerifyMessage(g.Roots[0], g.message(), g.Signature) {
		return fmt.Errorf("%w: the signature of root key 1 does not hold", ErrGenesis)
	}
	return nil
}

// CheckRules returns an *UnknownRuleError for the first rule that this
// version does not know.
func (g *Genesis) CheckRules() error {
	if len(g.Rules) > 0 {
		return &UnknownRuleError{Type: g.Rules[0].Type}
	}
	return nil
}

// ID names the space: SHA-256 over the signed message and the signature.
func (g *Genesis) ID() record.SpaceID {
	return sha256.Sum256(append(g.message(), g.Signature[:]...))
}

// Encode is the genesis's one encoding. It must pass Check.
func (g *Genesis) Encode() []byte {
	return append(g.appendBody(nil), g.Signature[:]...)
}

func (g *Genesis) message() []byte {
	return g.appendBody([]byte(genesisDomain))
}

func (g *Genesis) appendBody(b []byte) []byte {
	b = append(b, genesisVersion, byte(len(g.Roots)))
	for _, k := range g.Roots {
		b = append(b, k[:]...)
	}
	b = append(b, g.Random[:]...)
	b = append(b, byte(len(g.Rules)))
	for _, r := range g.Rules {
		b = append(b, r.Type)
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.Data)))
		b = append(b, r.Data...)
	}
	return b
}

// DecodeGenesis reads a genesis from exactly b and checks its signature. The
// result does not keep b. Errors wrap ErrGenesis, except that a well-formed,
// signed genesis with a rule this version does not know gives an
// *UnknownRuleError.
func DecodeGenesis(b []byte) (*Genesis, error) {
	g, err := parseGenesis(b)
	if err != nil {
		return nil, err
	}
	if err := g.Check(); err != nil {
		return nil, err
	}
	if err := g.CheckSignature(); err != nil {
		return nil, err
	}
	if err := g.CheckRules(); err != nil {
		return nil, err
	}
	return g, nil
}

// parseGenesis reads the layout alone.
func parseGenesis(b []byte) (*Genesis, error) {
	rest := b
	short := false
	take := func(n int) []byte {
		if len(rest) < n {
			short = true
			return make([]byte, n) // n is at most 65535; the caller stops at short
		}
		head := rest[:n]
		rest = rest[n:]
		return head
	}
	head := take(2)
	if !short && head[0] != genesisVersion {
		return nil, fmt.Errorf("%w: version %d instead of %d", ErrGenesis, head[0], genesisVersion)
	}
	if head[1] > MaxRoots {
		return nil, fmt.Errorf("%w: %d root keys, 1 to %d are allowed", ErrGenesis, head[1], MaxRoots)
	}
	g := &Genesis{}
	for range head[1] {
		g.Roots = append(g.Roots, record.Key(take(32)))
	}
	g.Random = [16]byte(take(16))
	for n := take(1)[0]; n > 0 && !short; n-- {
		head := take(3)
		data := take(int(binary.BigEndian.Uint16(head[1:])))
		g.Rules = append(g.Rules, Rule{Type: head[0], Data: append([]byte(nil), data...)})
	}
	g.Signature = [64]byte(take(signatureSize))
	switch {
	case short:
		return nil, fmt.Errorf("%w: cut off at %d bytes", ErrGenesis, len(b))
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: %d bytes follow the signature", ErrGenesis, len(rest))
	}
	return g, nil
}
