package record

import (
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// signatureVector is one line of testdata/vectors/signatures.jsonl: a
// signature over a message of any kind, and what ZIP-215 says about it.
type signatureVector struct {
	About     string `json:"about"`
	Key       string `json:"key"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
	Valid     bool   `json:"valid"`
}

// smallOrderEncodings lists every encoding of a point of order 1, 2, 4 or 8
// that ZIP-215 reads, from the definition: the y of such points are 1, -1, 0
// and the four roots of d·y^4 + 2y^2 - 1 (from y^2 = -x^2 on the curve) that
// lie on it; y may be written as y or y+p below 2^255, and either sign bit
// may be set, also where x = 0.
func smallOrderEncodings(t testing.TB) [][32]byte {
	t.Helper()
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	d := mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p)))
	ys := []*big.Int{one, new(big.Int).Sub(p, one), new(big.Int)}
	// z = y^2 solves d·z^2 + 2z - 1 = 0: z = (-1 ± sqrt(1+d)) / d.
	root := new(big.Int).ModSqrt(mod(new(big.Int).Add(one, d)), p)
	for _, s := range []*big.Int{root, new(big.Int).Neg(root)} {
		z := mod(new(big.Int).Mul(new(big.Int).Sub(s, one), new(big.Int).ModInverse(d, p)))
		if y := new(big.Int).ModSqrt(z, p); y != nil {
			ys = append(ys, y, new(big.Int).Sub(p, y))
		}
	}
	var out [][32]byte
	for _, y := range ys {
		for ; y.BitLen() <= 255; y = new(big.Int).Add(y, p) {
			for sign := range 2 {
				var b [32]byte
				y.FillBytes(b[:])
				for i := range 16 {
					b[i], b[31-i] = b[31-i], b[i]
				}
				b[31] |= byte(sign) << 7
				out = append(out, b)
			}
		}
	}
	if len(out) != 14 {
		t.Fatalf("%d encodings of small order instead of 14", len(out))
	}
	return out
}

// signatureCases are the lines of signatures.jsonl. The first 196 are all
// pairs of encodings of small order with S = 0: each is valid, over every
// message, since both sides of the equation vanish under the cofactor.
func signatureCases(t testing.TB) []signatureVector {
	message := []byte("anabranch")
	var out []signatureVector
	add := func(valid bool, key []byte, message, r, s []byte, about string, args ...any) {
		out = append(out, signatureVector{
			About: fmt.Sprintf(about, args...), Key: hex.EncodeToString(key), Message: hex.EncodeToString(message),
			Signature: hex.EncodeToString(r) + hex.EncodeToString(s), Valid: valid,
		})
	}
	encodings := smallOrderEncodings(t)
	for i, a := range encodings {
		for j, r := range encodings {
			add(true, a[:], message, r[:], make([]byte, 32), "small order: A %d, R %d, S = 0", i, j)
		}
	}
	for i := range 8 {
		for j := range 8 {
			a, key := tornKey(t, i)
			s := tornSign(t, a, key, j, message)
			add(true, key[:], message, s[:32], s[32:], "A + %d T, R + %d T with T of order 8", i, j)
		}
	}
	for _, text := range []string{"", "anabranch", strings.Repeat("long ", 300)} {
		s := stded25519.Sign(testKey(0), []byte(text))
		add(true, publicBytes(0), []byte(text), s[:32], s[32:], "an honest signature over %d bytes", len(text))
	}
	key := Public(testKey(0))
	s := stded25519.Sign(testKey(0), message)
	r, s := s[:32], s[32:]
	flip := func(b []byte, bit int) []byte {
		b = slices.Clone(b)
		b[bit/8] ^= 1 << (bit % 8)
		return b
	}
	add(false, key[:], []byte("Anabranch"), r, s, "another message")
	add(false, key[:], message, flip(r, 3), s, "a bit of R flipped")
	add(false, key[:], message, flip(r, 255), s, "the sign of R flipped")
	add(false, flip(key[:], 255), message, r, s, "the sign of A flipped")
	add(false, key[:], message, r, flip(s, 0), "a bit of S flipped")
	add(false, key[:], message, r, addOrder(s), "S + L")
	add(false, encodings[0][:], message, encodings[0][:], addOrder(make([]byte, 32)), "small order, S = L")
	add(false, encodings[0][:], message, encodings[0][:], append([]byte{1}, make([]byte, 31)...), "small order, S = 1")
	add(false, encodings[0][:], message, encodings[0][:], append(make([]byte, 31), 0x80), "small order, S = 2^255")
	add(false, notAPoint(t), message, r, s, "A is no point")
	add(false, key[:], message, notAPoint(t), s, "R is no point")
	add(false, notAPoint(t), message, encodings[0][:], make([]byte, 32), "A is no point, R of small order, S = 0")
	add(false, key[:], message, encodings[0][:], make([]byte, 32), "R of small order, S = 0, A honest")
	add(false, encodings[0][:], message, r, s, "A of small order, the rest honest")
	add(true, encodings[0][:], message, basePointBytes(), append([]byte{1}, make([]byte, 31)...), "A the identity, R = B, S = 1")
	return out
}

func basePointBytes() []byte {
	b := compress(curve.ED25519_BASEPOINT_POINT)
	return b[:]
}

// addOrder is s + L, for s < L.
func addOrder(s []byte) []byte {
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	order.Add(order, new(big.Int).Lsh(big.NewInt(1), 252))
	s = slices.Clone(s)
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return sum
}

// torsionPoint is a point of order 8.
func torsionPoint(t testing.TB) *curve.EdwardsPoint {
	t.Helper()
	for _, b := range smallOrderEncodings(t) {
		var p, double, four curve.EdwardsPoint
		if !decompress(&p, b[:]) {
			t.Fatalf("%x is no point", b)
		}
		double.Add(&p, &p)
		four.Add(&double, &double)
		if !four.IsIdentity() {
			return &p
		}
	}
	t.Fatal("no point of order 8")
	return nil
}

func scalarFrom(text string) *scalar.Scalar {
	h := sha512.Sum512([]byte(text))
	s, err := scalar.NewFromBytesModOrderWide(h[:])
	if err != nil {
		panic(err)
	}
	return s
}

func compress(p *curve.EdwardsPoint) [32]byte {
	var c curve.CompressedEdwardsY
	c.SetEdwardsPoint(p)
	return [32]byte(c)
}

func multiple(p *curve.EdwardsPoint, times int) *curve.EdwardsPoint {
	return curve.NewEdwardsPoint().Mul(p, scalar.NewFromUint64(uint64(times)))
}

// tornKey is a key with a torsion component: A = a·B + n·T, T of order 8.
func tornKey(t testing.TB, n int) (a *scalar.Scalar, key Key) {
	a = scalarFrom("torn key")
	p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, a)
	return a, Key(compress(p.Add(p, multiple(torsionPoint(t), n))))
}

// tornSign signs with a nonce point that has a torsion component of its own.
// What it makes is valid under ZIP-215 whatever the components are.
func tornSign(t testing.TB, a *scalar.Scalar, key Key, n int, message []byte) (signature [64]byte) {
	nonce := scalarFrom("nonce")
	p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, nonce)
	r := compress(p.Add(p, multiple(torsionPoint(t), n)))
	h := sha512.New()
	h.Write(r[:])
	h.Write(key[:])
	h.Write(message)
	k, err := scalar.NewFromBytesModOrderWide(h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	s := k.Mul(k, a)
	s.Add(s, nonce)
	copy(signature[:], r[:])
	if err := s.ToBytes(signature[32:]); err != nil {
		t.Fatal(err)
	}
	return signature
}

// craftedRecords are records of testSpace under keys and signatures that no
// honest signer makes. All of them are valid.
func craftedRecords(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	base := Record{Kind: Entry, Time: 1, Lane: 1, Seq: 1, Path: "/crafted", Payload: []byte("x")}
	encodings := smallOrderEncodings(t)
	for _, a := range encodings {
		for _, nonce := range encodings {
			r := base
			r.Author = Key(a)
			copy(r.Signature[:], nonce[:])
			out = append(out, r.Append(nil))
		}
	}
	for i := range 8 {
		for j := range 8 {
			r := base
			a, key := tornKey(t, i)
			r.Author = key
			r.Signature = tornSign(t, a, key, j, r.appendMessage(nil, testSpace))
			out = append(out, r.Append(nil))
		}
	}
	return out
}

func TestCraftedRecordsAreValidAloneAndTogether(t *testing.T) {
	batch := craftedRecords(t)
	_, errs := VerifyBatch(testSpace, batch)
	for i, err := range errs {
		if err != nil {
			t.Fatalf("crafted record %d: %v", i, err)
		}
	}
	requireSame(t, testSpace, batch)
	// In another space the small-order ones still hold (S = 0 signs
	// everything); those with a real component do not.
	requireSame(t, SpaceID(sha256.Sum256([]byte("another"))), batch)
}

// The standard library checks without the cofactor and refuses what ZIP-215
// accepts. A batch equation cannot decide as it does, so records that were
// verified alone by it and together by a batch would make two sets. That is
// why it is not used.
func TestStandardLibraryDiffers(t *testing.T) {
	batch := craftedRecords(t)
	accepted := 0
	for _, b := range batch[:196] {
		r, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if stded25519.Verify(r.Author[:], r.appendMessage(nil, testSpace), r.Signature[:]) {
			accepted++
		}
	}
	torn := 0
	for _, b := range batch[196:] {
		r, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if stded25519.Verify(r.Author[:], r.appendMessage(nil, testSpace), r.Signature[:]) {
			torn++
		}
	}
	if accepted == 196 || torn == 64 {
		t.Fatal("the standard library decides as ZIP-215 does: rethink")
	}
	t.Logf("crypto/ed25519 accepts %d of 196 and %d of 64; ZIP-215 all of them", accepted, torn)
}

func (v signatureVector) bytes(t testing.TB) (key Key, message []byte, signature [64]byte) {
	t.Helper()
	copy(key[:], unhex(t, v.Key))
	copy(signature[:], unhex(t, v.Signature))
	return key, unhex(t, v.Message), signature
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
