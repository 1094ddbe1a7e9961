package store

import (
	"crypto/ed25519"
	"runtime"
	"sync"
	"sync/atomic"

	"anabranch/reconcile"
	"anabranch/record"
)

// unsigned is a record written here to which everything is known but its
// signature. Signing costs as much as all the rest of a write, so the drafts
// of a group are signed together, on every core, after their order is fixed.
type unsigned struct {
	work *work
	key  ed25519.PrivateKey
	n    uint64
	v    *record.Verified // completed by sign; nobody else looks at ID and bytes before
}

// signTogether is the number of drafts from which on they are shared among
// cores: below, waking a goroutine costs as much.
const signTogether = 4

// sign signs the drafts and writes the rows that hang on their signatures.
func (c *commit) sign() {
	drafts := c.drafts
	if len(drafts) == 0 {
		return
	}
	var next atomic.Int64
	run := func() {
		for i := int(next.Add(1)) - 1; i < len(drafts); i = int(next.Add(1)) - 1 {
			d := &drafts[i]
			v, err := record.Sign(d.work.space.id, d.key, d.v.Record)
			if err != nil {
				panic(err) // write has checked the fields
			}
			*d.v = *v
		}
	}
	var workers sync.WaitGroup
	if len(drafts) >= signTogether {
		for range runtime.GOMAXPROCS(0) - 1 {
			workers.Go(run)
		}
	}
	run()
	workers.Wait()
	items := make(map[*work][]reconcile.Item)
	for _, d := range drafts {
		d.work.name(d.v, d.n)
		items[d.work] = append(items[d.work], item(d.v))
	}
	for w, list := range items {
		w.apply(list, +1)
		clear(w.drafts)
	}
	c.drafts = c.drafts[:0]
}

// draftKey is the key that signs the draft with an arrival number.
func (w *work) draftKey(n uint64) ed25519.PrivateKey {
	for _, d := range w.c.drafts {
		if d.work == w && d.n == n {
			return d.key
		}
	}
	return nil
}
