package model

import (
	"math/rand/v2"
	"slices"

	"anabranch/record"
)

// Key returns the n-th key of the small worlds.
func Key(n int) record.Key { return record.Key{byte(n + 1)} }

var (
	areaPaths = []string{"/", "/", "/a", "/a", "/a/b", "/b"}
	dataPaths = []string{"/a", "/a/b", "/a/b", "/b"}
)

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// Scatter adds n records that bear on each other in every way the law speaks
// of, honest or not: grants under grants, seals in parts that are not always
// complete or entitled, data in one or two lanes of each author with colliding dots,
// sweeps of bits and of whole blocks. Key 0 is a root; authors are keys 0 to
// authors-1.
func (u *Universe) Scatter(rng *rand.Rand, authors, n int, seals bool) {
	// Some universes are narrow, so that records meet more often.
	lanes := 1 + rng.IntN(2)
	paths, swept := dataPaths[rng.IntN(3):], areaPaths[:1+rng.IntN(len(areaPaths))]
	pens, grantees := 2+rng.IntN(authors-1), 1+rng.IntN(authors-1)
	for range 2 {
		u.grant(rng, nil, 1+rng.IntN(authors-1), record.Admin, "/")
	}
	for len(u.Records) < n {
		author := rng.IntN(pens)
		switch x := rng.IntN(20); {
		case x < 4:
			issuer := u.someGrant(rng)
			if rng.IntN(2) == 0 {
				issuer = nil
			}
			u.grant(rng, issuer, 1+rng.IntN(grantees), pick(rng, []record.Role{1, 2, 2, 3, 3}), pick(rng, areaPaths))
		case x < 7 && seals:
			u.seal(rng, u.someIssuer(rng), u.someGrant(rng), pick(rng, areaPaths), 1+rng.Uint64N(50), true, func(*Record) bool { return rng.IntN(2) == 0 })
		case x == 7 && rng.IntN(2) == 0:
			u.label(rng, u.someGrant(rng))
		case x < 11:
			lane, block, bits, area := uint64(1+rng.IntN(lanes)), uint32(rng.IntN(5)/4), u.someBits(rng), pick(rng, swept)
			if s := u.someSweep(rng); s != nil && rng.IntN(2) == 0 { // one that overlaps another
				author, lane, block, area = int(s.Author[0])-1, s.Lane, s.Seq, s.Path
				switch {
				case rng.IntN(2) == 0:
					bits = s.Payload
				case len(bits) > 0 && len(s.Payload) > 0:
					bits[0] |= s.Payload[0]
				}
			}
			u.sweep(Key(author), lane, block, bits, area, uint64(1+rng.IntN(50)))
		default:
			lane, seq := uint64(1+rng.IntN(lanes)), u.Width*uint32(rng.IntN(5)/4)+1+rng.Uint32N(min(u.Width, 4))
			if s := u.someSweep(rng); s != nil && rng.IntN(2) == 0 { // one that may be swept
				author, lane, seq = int(s.Author[0])-1, s.Lane, u.Width*s.Seq+1+rng.Uint32N(min(u.Width, 4))
			}
			u.Make(Key(author), record.Record{
				Kind: pick(rng, []record.Kind{record.Entry, record.Doc, record.Doc, record.Delta, 9}),
				Time: uint64(1 + rng.IntN(50)), Lane: lane, Seq: seq, Path: pick(rng, paths), Payload: []byte{byte(rng.IntN(256))},
			})
		}
	}
	if author := Key(1 + rng.IntN(grantees)); seals && rng.IntN(2) == 0 {
		for _, g := range slices.Clone(u.Records) { // each grant of an author leaves open something else
			if g.Control.Grant != nil && g.Control.Grant.Author == author && rng.IntN(4) > 0 {
				u.seal(rng, nil, g, "/", 1+rng.Uint64N(50), true, func(*Record) bool { return rng.IntN(2) == 0 })
			}
		}
	}
}

// someGrant picks any grant of the universe; there is always one.
func (u *Universe) someGrant(rng *rand.Rand) *Record {
	return pick(rng, slices.DeleteFunc(slices.Clone(u.Records), func(r *Record) bool { return r.Control.Grant == nil }))
}

// someSweep picks any sweep of the universe, or nil.
func (u *Universe) someSweep(rng *rand.Rand) *Record {
	sweeps := slices.DeleteFunc(slices.Clone(u.Records), func(r *Record) bool { return r.Kind != record.Sweep })
	if len(sweeps) == 0 {
		return nil
	}
	return pick(rng, sweeps)
}

// someIssuer picks a grant to act under, or nil for the root key.
func (u *Universe) someIssuer(rng *rand.Rand) *Record {
	if rng.IntN(2) == 0 {
		return nil
	}
	return u.someGrant(rng)
}

// someBits picks a sweep's payload: nil for whole blocks.
func (u *Universe) someBits(rng *rand.Rand) []byte {
	if rng.IntN(5) == 0 {
		return nil
	}
	b := byte(1 + rng.IntN(1<<min(u.Width, 4)-1))
	return []byte{b}
}

func (u *Universe) grant(rng *rand.Rand, issuer *Record, grantee int, role record.Role, area string) *Record {
	g := &record.Grant{Author: Key(grantee), Device: Key(100 + grantee), Role: role, Random: [16]byte{byte(rng.IntN(256)), byte(rng.IntN(256))}}
	return u.issue(issuer, area, 1+rng.Uint64N(50), record.ControlBody{Type: record.GrantType, Grant: g})
}

// seal adds the parts of a seal on a grant, one of them sometimes missing,
// that list the records which pass. A vandal adds a part beside them.
func (u *Universe) seal(rng *rand.Rand, issuer, target *Record, path string, time uint64, vandal bool, list func(*Record) bool) {
	id := [16]byte{byte(rng.IntN(256)), byte(rng.IntN(256))}
	parts := 1 + rng.IntN(5)/3
	missing := -1
	if parts > 1 && rng.IntN(3) == 0 {
		missing = rng.IntN(parts)
	}
	lists := make([][]record.Prefix, parts)
	for _, r := range u.Records {
		if list(r) {
			i := rng.IntN(parts)
			lists[i] = append(lists[i], r.ID.Prefix())
		}
	}
	for i, l := range lists {
		if i != missing {
			u.sealPart(issuer, target, path, time, id, i+1, parts, l)
		}
	}
	if vandal && rng.IntN(3) == 0 { // a second part of one number, perhaps on a path where the issuer has no say
		again := slices.DeleteFunc(slices.Clone(u.Records), func(*Record) bool { return rng.IntN(3) > 0 })
		var l []record.Prefix
		for _, r := range again {
			l = append(l, r.ID.Prefix())
		}
		u.sealPart(issuer, target, pick(rng, areaPaths), time, id, 1+rng.IntN(parts), parts, l)
	}
}

func (u *Universe) sealPart(issuer, target *Record, path string, time uint64, id [16]byte, part, parts int, list []record.Prefix) *Record {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b record.Prefix) int { return slices.Compare(a[:], b[:]) })
	s := &record.Seal{Target: target.ID, SealID: id, Part: uint16(part), Parts: uint16(parts), List: slices.Compact(list)}
	return u.issue(issuer, path, time, record.ControlBody{Type: record.SealType, Seal: s})
}

func (u *Universe) label(rng *rand.Rand, issuer *Record) *Record {
	return u.issue(issuer, pick(rng, areaPaths), 1+rng.Uint64N(50), record.ControlBody{Type: record.LabelType, Label: []byte{byte(rng.IntN(256))}})
}

// issue adds a control record under a grant, or by root key 0 under none.
func (u *Universe) issue(issuer *Record, path string, time uint64, body record.ControlBody) *Record {
	author := u.Roots[0]
	if issuer != nil {
		author, body.Under = issuer.Control.Grant.Author, issuer.ID
	}
	return u.Make(author, record.Record{Kind: record.Control, Time: time, Path: path, Payload: body.Payload()})
}

func (u *Universe) sweep(author record.Key, lane uint64, block uint32, bits []byte, area string, time uint64) *Record {
	return u.Make(author, record.Record{Kind: record.Sweep, Time: time, Lane: lane, Seq: block, Path: area, Payload: bits})
}
