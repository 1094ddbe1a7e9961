package anabranch

import (
	"bytes"
	"testing"

	"anabranch/attest"
	"anabranch/record"
	"anabranch/space"
)

// Whatever a peer writes on an ask stream is taken or refused, and what is
// taken is written back alike.
func FuzzAskFrames(f *testing.F) {
	key := newKey()
	own := &Attestation{Time: 1, Count: 1, Trie: [32]byte{1}, Log: 1, Size: 1}
	own.Sign(key)
	f.Add(appendKnown(nil, []known{{authorTag{1}, 2}}))
	f.Add(appendAttestations(nil, []*Attestation{own}))
	f.Add(question{nonce: [16]byte{1}, since: logPlace{1, 2}, query: space.Query{Prefix: "/a"}}.encode())
	f.Add(compact(own))
	f.Add([]byte{255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := takeKnown(b); err == nil && !bytes.Equal(appendKnown(nil, list), b) {
			t.Fatal("a list")
		}
		if list, rest, err := takeAttestations(b); err == nil && !bytes.Equal(append(appendAttestations(nil, list), rest...), b) {
			t.Fatal("attestations")
		}
		if q, err := takeQuestion(b); err == nil && !bytes.Equal(q.encode(), b) {
			t.Fatal("a question")
		}
		if a, err := expand(b, own, []record.Key{own.Author}); err == nil {
			if !bytes.Equal(compact(a), b) {
				t.Fatal("a compact attestation")
			}
			if _, err := attest.Decode(a.Encode()); err != nil {
				t.Fatal(err)
			}
		}
		statusOf(b)
	})
}
