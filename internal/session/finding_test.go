package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"anabranch/record"
)

// finder is a replica from which no record can be read: a session ends where
// it would begin to send.
type finder struct{ *replica }

var errFound = errors.New("found")

func (finder) Members([]record.ID) ([]*record.Verified, error) { return nil, errFound }
func (finder) MembersAt(int, int) ([]*record.Verified, error)  { return nil, errFound }
func (f finder) EnteredIDs(v uint64, n int) ([]record.ID, bool, error) {
	return f.replica.EnteredIDs(v, n)
}

// find runs a session of both machines up to where records would move.
func find(a, b *replica, nonce uint64) (found int) {
	alice, bob := record.Key{0xA}, record.Key{0xB}
	oa := Options{Space: a.w.id, Self: alice, Peer: bob, View: finder{a}}
	ob := Options{Space: a.w.id, Self: bob, Peer: alice, View: finder{b}}
	binary.BigEndian.PutUint64(oa.Nonce[:], nonce)
	var sides [2]*Session
	sides[0], _ = Initiate(oa)
	sides[1], _ = Accept(ob)
	inputs := [2][]Input{{Start{}}, {Start{}}}
	for len(inputs[0])+len(inputs[1]) > 0 {
		for i, s := range sides {
			todo := inputs[i]
			inputs[i] = nil
			for _, in := range todo {
				for _, out := range s.Step(epoch, in) {
					if f, ok := out.(Send); ok {
						inputs[1-i] = append(inputs[1-i], Frame{Bytes: f.Frame})
						inputs[i] = append(inputs[i][:0], Drained{})
					}
				}
			}
		}
	}
	for _, s := range sides {
		found += s.report.DueOut
	}
	return found
}

// BenchmarkFinding is line 3 of what the planner is held to: both machines of
// a session, from hello until both know what to send. Reading, encoding,
// verifying and storing records and the roots of the end are not in it.
func BenchmarkFinding(b *testing.B) {
	c := newCrowd(*million)
	for d := 1; d <= *largest; d *= 10 {
		b.Run(fmt.Sprintf("d=%d", d), func(b *testing.B) {
			r := rand.New(rand.NewPCG(uint64(d), 5))
			var pairs [8][2]*replica
			for i := range pairs {
				pairs[i][0], pairs[i][1] = apartBy(c, r, "scattered", d)
			}
			n := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				p := pairs[n%uint64(len(pairs))]
				if n++; find(p[0], p[1], n) < d*9/10 {
					b.Fatal("not found")
				}
			}
		})
	}
}
