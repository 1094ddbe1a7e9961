package store

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"path/filepath"
	"testing"

	"anabranch/reconcile"
	"anabranch/record"
)

var reconcileItems = flag.Int("reconcile-items", 100_000, "records of each of the two stores of BenchmarkReconcileStores")

// twoStores hold the same records on disk but for what is dealt out. Nobody
// looks at signatures, so there are none.
type twoStores struct {
	b      *testing.B
	spaces [2]*Space
	seq    uint32
}

// write makes n records at times that at gives, and lets both have them, or
// the first and the second in turn.
func (s *twoStores) write(n int, dealt bool, at func(i uint32) uint64) (made [2][]*record.Verified) {
	const batch = 4096
	commit := func(k int, rs []*record.Verified) {
		for len(rs) > 0 {
			part := rs[:min(batch, len(rs))]
			if _, err := s.spaces[k].Commit(ctx, part); err != nil {
				s.b.Fatal(err)
			}
			rs = rs[len(part):]
		}
	}
	for range n {
		s.seq++
		r := record.Record{
			Kind: record.Entry, Author: pub(rootKey), Time: at(s.seq), Lane: 1, Seq: s.seq, Path: "/log",
			Payload: binary.BigEndian.AppendUint32(nil, s.seq),
		}
		v, err := record.Restore(s.spaces[0].id, r.Append(nil))
		if err != nil {
			s.b.Fatal(err)
		}
		k := int(s.seq % 2)
		made[k] = append(made[k], v)
		if !dealt && len(made[0])+len(made[1]) == batch {
			s.share(made, commit)
			made = [2][]*record.Verified{}
		}
	}
	if !dealt {
		s.share(made, commit)
		return made
	}
	for k := range made {
		commit(k, made[k])
	}
	return made
}

func (s *twoStores) share(made [2][]*record.Verified, commit func(int, []*record.Verified)) {
	for k := range s.spaces {
		commit(k, made[0])
		commit(k, made[1])
	}
}

// BenchmarkReconcileStores is the CPU of both sides of a conversation between
// two stores on disk, over the indexes of their snapshots, as bench/ measures
// it in memory: both sides together, collector included. For the table in
// docs/reconcile.md:
//
//	go test ./internal/store -run '^$' -bench ReconcileStores -benchtime 20x -reconcile-items 1000000
func BenchmarkReconcileStores(b *testing.B) {
	n := *reconcileItems
	s := &twoStores{b: b}
	dir := b.TempDir()
	for k, name := range []string{"a", "b"} {
		store, err := Open(filepath.Join(dir, name), Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer store.Close()
		s.spaces[k] = createSpace(b, store)
	}
	const begin, width = 1_600_000_000_000_000, 100_000_000_000_000
	scattered := func(i uint32) uint64 {
		h := sha256.Sum256(binary.BigEndian.AppendUint32(nil, i))
		return begin + binary.BigEndian.Uint64(h[:])%width
	}
	newest := func(i uint32) uint64 { return begin + width + uint64(i)*1000 }
	s.write(n, false, scattered)
	for _, work := range []struct {
		name   string
		differ int
		at     func(uint32) uint64
		frames []int
	}{
		{"nothing differs", 0, scattered, []int{0}},
		{"100 scattered", 100, scattered, []int{0}},
		{"100 newest", 100, newest, []int{0}},
		{"10 000 scattered", 10_000, scattered, []int{0, 65_536}},
	} {
		if work.differ > n/2 {
			continue
		}
		made := s.write(work.differ, true, work.at)
		mine, theirs := snapshot(b, s.spaces[0]), snapshot(b, s.spaces[1])
		for _, frame := range work.frames {
			name := work.name
			if frame > 0 {
				name += ", frames of 64 KiB"
			}
			b.Run(name, func(b *testing.B) {
				o := reconcile.Options{FrameBytes: frame}
				in, err := reconcile.NewInitiator(mine.Index(), o)
				if err != nil {
					b.Fatal(err)
				}
				out, err := reconcile.NewResponder(theirs.Index(), o)
				if err != nil {
					b.Fatal(err)
				}
				if have, need := talk(b, in, out, mine, theirs); have != len(made[0]) || need != len(made[1]) {
					b.Fatalf("%d and %d found, of %d and %d", have, need, len(made[0]), len(made[1]))
				}
				used := processTime()
				for b.Loop() {
					talk(b, in, out, mine, theirs)
				}
				b.ReportMetric(float64((processTime()-used).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			})
		}
		for k := range s.spaces { // now both have them
			if _, err := s.spaces[k].Commit(ctx, made[1-k]); err != nil && len(made[1-k]) > 0 {
				b.Fatal(err)
			}
		}
	}
}

// talk runs one conversation, and counts what it found.
func talk(b *testing.B, in *reconcile.Initiator, out *reconcile.Responder, mine, theirs *Snapshot) (have, need int) {
	in.Reset(mine.Index(), 1)
	out.Reset(theirs.Index(), 1)
	found := [2]map[reconcile.ID]bool{{}, {}}
	msg, err := in.Start()
	for msg != nil && err == nil {
		var answer []byte
		if answer, err = out.Respond(msg); err != nil {
			break
		}
		var h, n []reconcile.ID
		msg, h, n, err = in.Step(answer)
		for _, id := range h {
			found[0][id] = true
		}
		for _, id := range n {
			found[1][id] = true
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return len(found[0]), len(found[1])
}
