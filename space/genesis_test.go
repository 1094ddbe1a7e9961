package space

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"anabranch/record"
)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func TestGenesisRoundTrips(t *testing.T) {
	more := []record.Key{record.Public(testKey(2)), record.Public(testKey(3)), record.Public(testKey(4))}
	for n := range more {
		g, err := NewGenesis(testKey(1), more[:n], [16]byte{9})
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeGenesis(g.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Encode(), g.Encode()) || got.ID() != g.ID() || len(got.Roots) != n+1 {
			t.Errorf("%d more root keys: decoded another genesis", n)
		}
	}
}

func TestGenesisRefusesEverythingElse(t *testing.T) {
	good, err := NewGenesis(testKey(1), []record.Key{record.Public(testKey(2))}, [16]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	resign := func(g Genesis) []byte {
		copy(g.Signature[:], ed25519.Sign(testKey(1), g.message()))
		return g.Encode()
	}
	same := *good
	same.Roots = []record.Key{good.Roots[0], good.Roots[0]}
	none := *good
	none.Roots = nil
	five := *good
	five.Roots = append(append([]record.Key{}, good.Roots...), record.Key{1}, record.Key{2}, record.Key{3})
	twice := *good
	twice.Rules = []Rule{{Type: 4}, {Type: 4}}
	version := good.Encode()
	version[0] = 2
	for name, b := range map[string][]byte{
		"empty":         nil,
		"equal roots":   resign(same),
		"no root":       resign(none),
		"five roots":    resign(five),
		"equal rules":   resign(twice),
		"other version": version,
		"trailing byte": append(good.Encode(), 0),
		"cut":           good.Encode()[:len(good.Encode())-1],
		"wrong key": func() []byte {
			g := *good
			copy(g.Signature[:], ed25519.Sign(testKey(2), g.message()))
			return g.Encode()
		}(),
		"another random": func() []byte { g := *good; g.Random[0]++; return g.Encode() }(),
	} {
		if _, err := DecodeGenesis(b); !errors.Is(err, ErrGenesis) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewGenesis(testKey(1), []record.Key{record.Public(testKey(1))}, [16]byte{}); !errors.Is(err, ErrGenesis) {
		t.Errorf("the same key twice: %v", err)
	}
}

func TestGenesisNamesTheRuleItDoesNotKnow(t *testing.T) {
	good, err := NewGenesis(testKey(1), nil, [16]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	good.Rules = []Rule{{Type: 3, Data: []byte("work 20 bits")}, {Type: 7}}
	copy(good.Signature[:], ed25519.Sign(testKey(1), good.message()))
	var unknown *UnknownRuleError
	if _, err := DecodeGenesis(good.Encode()); !errors.As(err, &unknown) || unknown.Type != 3 {
		t.Errorf("got %v", err)
	}
	good.Rules[0].Data[0] = 'W' // unsigned rules are a malformed genesis, not an unknown rule
	if _, err := DecodeGenesis(good.Encode()); !errors.Is(err, ErrGenesis) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeGenesis(f *testing.F) {
	good, err := NewGenesis(testKey(1), []record.Key{record.Public(testKey(2))}, [16]byte{9})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Encode())
	good.Rules = []Rule{{Type: 3, Data: []byte("abc")}}
	copy(good.Signature[:], ed25519.Sign(testKey(1), good.message()))
	f.Add(good.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		// The signature stops mutated bytes early, so the layout is tried alone as well.
		if g, err := parseGenesis(b); err == nil && !bytes.Equal(g.Encode(), b) {
			t.Fatalf("accepted bytes encode to %x", g.Encode())
		}
		if g, err := DecodeGenesis(b); err == nil && (!bytes.Equal(g.Encode(), b) || len(g.Rules) > 0) {
			t.Fatalf("accepted %+v", g)
		}
	})
}
