package record

import (
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// testKey is the n-th private key of the tests.
func testKey(n int) stded25519.PrivateKey {
	seed := sha256.Sum256([]byte(fmt.Sprintf("anabranch test key %d", n)))
	return stded25519.NewKeyFromSeed(seed[:])
}

var testSpace = SpaceID(sha256.Sum256([]byte("anabranch test space")))

// requireSame checks a batch against Verify, position by position.
func requireSame(t interface {
	Helper()
	Fatalf(string, ...any)
}, space SpaceID, batch [][]byte) {
	t.Helper()
	verified, errs := VerifyBatch(space, batch)
	if len(verified) != len(batch) || len(errs) != len(batch) {
		t.Fatalf("%d results and %d errors for %d records", len(verified), len(errs), len(batch))
	}
	for i, b := range batch {
		want, wantErr := Verify(space, b)
		got, err := verified[i], errs[i]
		if (got == nil) != (want == nil) || (got == nil) == (err == nil) {
			t.Fatalf("position %d of %d: batch %v, alone %v", i, len(batch), err, wantErr)
		}
		if want == nil {
			if errors.Is(err, ErrSignature) != errors.Is(wantErr, ErrSignature) || err.Error() != wantErr.Error() {
				t.Fatalf("position %d: batch %q, alone %q", i, err, wantErr)
			}
			continue
		}
		if got.ID != want.ID || string(got.Bytes) != string(b) || &got.Bytes[0] != &b[0] {
			t.Fatalf("position %d: another record than alone", i)
		}
	}
}

// signedRecords makes n records by authors keys, in turns.
func signedRecords(t testing.TB, n, authors int) [][]byte {
	t.Helper()
	keys := make([]stded25519.PrivateKey, authors)
	for i := range keys {
		keys[i] = testKey(i)
	}
	payload := make([]byte, 200)
	out := make([][]byte, n)
	for i := range out {
		binary.BigEndian.PutUint64(payload, uint64(i))
		v, err := Sign(testSpace, keys[i%authors], Record{
			Kind: Doc, Time: 1_700_000_000_000_000 + uint64(i), Lane: 7, Seq: uint32(i + 1),
			Path: fmt.Sprintf("/notes/2026/%d", i), Payload: payload,
		})
		if err != nil {
			t.Fatal(err)
		}
		out[i] = v.Bytes
	}
	return out
}

func TestBatchFindsExactlyTheWrongOnes(t *testing.T) {
	good := signedRecords(t, 150, 4)
	r := rand.New(rand.NewPCG(1, 2))
	for _, wrong := range []int{0, 1, 2, 5, 40, 149, 150} {
		batch := append([][]byte(nil), good...)
		for _, i := range r.Perm(len(batch))[:wrong] {
			b := append([]byte(nil), batch[i]...)
			b[len(b)-1-r.IntN(100)] ^= 1 << r.IntN(8) // signature or payload
			batch[i] = b
		}
		requireSame(t, testSpace, batch)
	}
	requireSame(t, testSpace, nil)
	requireSame(t, SpaceID{1}, good[:70])
}

func TestEveryPlaceOfOneWrongSignature(t *testing.T) {
	good := signedRecords(t, 13, 3)
	for n := 1; n <= len(good); n++ {
		for i := range n {
			batch := append([][]byte(nil), good[:n]...)
			batch[i] = append([]byte(nil), batch[i]...)
			batch[i][len(batch[i])-70] ^= 1
			_, errs := VerifyBatch(testSpace, batch)
			for j, err := range errs {
				if (j == i) != errors.Is(err, ErrSignature) {
					t.Fatalf("%d records, %d wrong: position %d says %v", n, i, j, err)
				}
			}
		}
	}
}

// Two wrong signatures whose errors cancel out in a plain sum must not pass:
// the weights are what tells them apart.
func TestErrorsDoNotCancel(t *testing.T) {
	a, b := signedRecords(t, 2, 1)[0], signedRecords(t, 2, 1)[1]
	move := func(b []byte, by int) []byte {
		out := append([]byte(nil), b...)
		s := out[len(out)-32:]
		v := int64(binary.LittleEndian.Uint32(s)) + int64(by)
		binary.LittleEndian.PutUint32(s, uint32(v))
		return out
	}
	batch := [][]byte{move(a, 1), move(b, -1), signedRecords(t, 3, 1)[2]}
	requireSame(t, testSpace, batch)
	if _, errs := VerifyBatch(testSpace, batch); errs[0] == nil || errs[1] == nil || errs[2] != nil {
		t.Fatalf("%v", errs)
	}
}

// The weights commit to the whole batch: nobody may choose an S after them.
func TestWeightsDependOnEveryPart(t *testing.T) {
	weights := func(change func(i int, key *Key, message []byte, signature *[64]byte)) []byte {
		e := newEquation(3)
		for i := range 3 {
			message := []byte(fmt.Sprint("message ", i))
			key, signature := Public(testKey(i)), [64]byte(stded25519.Sign(testKey(i), message))
			change(i, &key, message, &signature)
			if !e.add(key, message, &signature) {
				t.Fatal("not added")
			}
		}
		e.weigh()
		z, err := e.terms[0].z.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	same := func(int, *Key, []byte, *[64]byte) {}
	plain := weights(same)
	if string(plain) != string(weights(same)) {
		t.Error("the same batch has other weights")
	}
	for about, change := range map[string]func(int, *Key, []byte, *[64]byte){
		"key":     func(i int, key *Key, _ []byte, _ *[64]byte) { *key = Public(testKey(9 + i)) },
		"message": func(i int, _ *Key, message []byte, _ *[64]byte) { message[0] += byte(i) },
		"R":       func(i int, _ *Key, _ []byte, s *[64]byte) { copy(s[:32], publicBytes(9+i)) },
		"S":       func(i int, _ *Key, _ []byte, s *[64]byte) { s[32] += byte(i) },
	} {
		if string(plain) == string(weights(change)) {
			t.Errorf("the weights do not depend on %s", about)
		}
	}
}

// One wrong signature costs a search, many cost no more than one check each
// beside a bounded search.
func TestHalvingChecksFewOneByOne(t *testing.T) {
	const n = 256
	for _, c := range []struct{ wrong, most int }{{0, 0}, {1, leafTerms}, {2, 2 * leafTerms}, {4, 4 * leafTerms}, {n, n}} {
		e := newEquation(n)
		for i := range n {
			message := []byte(fmt.Sprint(i))
			signature := [64]byte(stded25519.Sign(testKey(0), message))
			if i*c.wrong%n < c.wrong {
				message[0]++
			}
			if !e.add(Public(testKey(0)), message, &signature) {
				t.Fatal("not added")
			}
		}
		asked := 0
		found := e.wrong(func(i int) bool { asked++; return i*c.wrong%n >= c.wrong })
		if len(found) != c.wrong || asked > c.most {
			t.Errorf("%d wrong: %d found, %d checked one by one, expected at most %d", c.wrong, len(found), asked, c.most)
		}
	}
}

func TestBatchEqualsSingleOnAnyMix(t *testing.T) {
	good := signedRecords(t, 24, 5)
	crafted := craftedRecords(t)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "n")
		batch := make([][]byte, n)
		for i := range batch {
			pool := good
			if rapid.Bool().Draw(t, "crafted") {
				pool = crafted
			}
			b := rapid.SampledFrom(pool).Draw(t, "record")
			if rapid.IntRange(0, 5).Draw(t, "damage") == 0 {
				b = append([]byte(nil), b...)
				b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
			batch[i] = b
		}
		requireSame(t, testSpace, batch)
	})
}
