package record

import (
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
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

func zip215Vectors(t testing.TB) []signatureVector {
	message := []byte("anabranch")
	var out []signatureVector
	for _, a := range smallOrderEncodings(t) {
		for _, r := range smallOrderEncodings(t) {
			out = append(out, signatureVector{
				About: "A and R of small order, S = 0", Key: hex.EncodeToString(a[:]), Message: hex.EncodeToString(message),
				Signature: hex.EncodeToString(append(r[:], make([]byte, 32)...)), Valid: true,
			})
		}
	}
	return out
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

func TestEquationDecidesTheSignatureVectors(t *testing.T) {
	for name, vectors := range map[string][]signatureVector{"zip215": zip215Vectors(t)} {
		e := newEquation(0)
		var terms []signatureVector
		for _, v := range vectors {
			key, message, signature := v.bytes(t)
			if got := VerifyMessage(key, message, signature); got != v.Valid {
				t.Errorf("%s: %s: alone %v", name, v.About, got)
			}
			if e.add(key, message, &signature) {
				terms = append(terms, v)
			} else if v.Valid {
				t.Errorf("%s: %s: refused by the equation", name, v.About)
			}
		}
		e.weigh()
		all := true
		for i, v := range terms {
			all = all && v.Valid
			if e.holds(i, i+1) != v.Valid {
				t.Errorf("%s: %s: the equation disagrees", name, v.About)
			}
		}
		if e.holds(0, len(terms)) != all {
			t.Errorf("%s: the equation of all says %v", name, !all)
		}
	}
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
