package sim

import (
	"context"
	"maps"
	"slices"

	"anabranch/internal/model"
	"anabranch/record"
	"anabranch/space"
)

// keeps demands that everything a replica acknowledged is a member there, or
// dead or held by the law.
func (c *checker) keeps(r *replica, check string) {
	w := c.w
	view, err := r.rows.Snapshot()
	if err != nil {
		w.violate(check, "replica %d: %v", r.i, err)
		return
	}
	defer view.Close()
	law := view.State()
	author := record.Public(r.key)
	for _, id := range sortedIDs(r.know.acked) {
		v := r.know.acked[id]
		if r.know.members[id] || w.plan.Sealed && r.know.dead[id] {
			continue // a seal may ask for what was destroyed before: docs/membership.md
		}
		switch law.Judge(v) {
		case space.Dead:
			if v.Kind != record.Sweep && !law.Listed(id) {
				r.know.dead[id] = true
			}
			continue
		case space.Held:
			if v.Author != author || !v.Data() {
				continue // others' are kept within a bound
			}
			found := false
			for range view.Outside(id, 256) {
				found = true
			}
			if found {
				continue
			}
		}
		if v.Kind == record.Sweep && law.SweptUnion(v.Author, v.Lane, v.Path, v.Seq).Contains(v.Dots()) {
			continue
		}
		w.violate(check, "replica %d lost %v %v number %d, which it had acknowledged", r.i, v.Kind, id, v.Seq)
		return
	}
}

// finish looks at a world that has converged: fate, law and rebuild.
func (c *checker) finish() {
	w := c.w
	rs := w.present()
	if len(rs) == 0 {
		return
	}
	for _, r := range w.replicas {
		if r.out && r.up && r.honest() {
			c.keeps(r, "C1") // what it wrote is its own, in nobody's set
		}
	}
	for _, r := range rs {
		c.keeps(r, "C1")
		if root := r.root(); root != rs[0].root() {
			w.violate("C2", "replicas %d and %d hold the same and differ in their roots", r.i, rs[0].i)
		}
	}
	c.law(rs)
	c.book.finish(rs)
	for i, r := range rs {
		if !w.plan.Checked && i != int(w.plan.Seed)%len(rs) {
			continue
		}
		report, err := r.rows.Verify(context.Background(), nil)
		switch {
		case err != nil:
			w.violate("C9", "replica %d: verify: %v", r.i, err)
		case len(report.Findings) > 0:
			w.violate("C9", "replica %d: %v, and %d more", r.i, report.Findings[0], len(report.Findings)-1)
		}
	}
}

// law compares the set with what the model makes of what there is. While
// nothing is sealed that is everything that anybody present ever
// acknowledged, destroyed since or not: V(P(A) ∪ P(B)) = V(A ∪ B).
//
// A seal makes a filter of time: it can bring back what a sweep of the sealed
// author had killed, and of that only what somebody still has, or list what
// some have destroyed. So the law promises then that replicas which exchanged
// what stands end equal, and that the set is the model's of everything that
// is there: what they hold as members, and what they hold beside the set.
// That nobody destroyed what it may not is C1's and C8's, replica by replica.
func (c *checker) law(rs []*replica) {
	w := c.w
	known := make(map[record.ID]*record.Verified)
	for _, r := range rs {
		if !w.plan.Sealed {
			maps.Copy(known, r.know.acked)
		} else if err := r.beside(known); err != nil {
			w.violate("C9", "replica %d: what it holds beside the set: %v", r.i, err)
			return
		}
		for id := range r.know.members {
			known[id] = c.issued[id].v
		}
	}
	if len(known) > model.MaxRecords {
		return
	}
	if w.plan.Sealed {
		w.sometimes("a sealed set that is the model's")
	}
	u := model.NewUniverse([]record.Key{record.Public(w.root)}, 4096)
	var k model.Set
	for _, id := range sortedIDs(known) {
		k = k.With(u.Add(known[id]))
	}
	want := make(map[record.ID]bool)
	for _, v := range u.In(u.V(k)) {
		want[v.ID] = true
		if !rs[0].know.members[v.ID] {
			w.violate("C7", "%v %v number %d of %v is in the model's set and in nobody's", v.Kind, v.ID, v.Seq, v.Author)
			return
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(rs[0].know.members), record.ID.Compare) {
		if !want[id] {
			w.violate("C7", "%v %v is in the set and not in the model's", c.issued[id].v.Kind, id)
			return
		}
	}
}

// beside adds what a replica holds and does not count.
func (r *replica) beside(known map[record.ID]*record.Verified) error {
	view, err := r.rows.Snapshot()
	if err != nil {
		return err
	}
	defer view.Close()
	for o, err := range view.Outside(record.ID{}, 0) {
		if err != nil {
			return err
		}
		if o.Where == space.Held {
			known[o.Record.ID] = o.Record
		}
	}
	return nil
}
