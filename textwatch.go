package anabranch

import (
	"context"
	"fmt"
	"iter"

	"anabranch/crdt/text"
	"anabranch/record"
)

// textSub is one subscriber: what it has not taken yet.
type textSub struct {
	queue  []TextChange
	runes  int           // of the text as the subscriber has it
	signal chan struct{} // cap 1
}

// textQueue bounds what waits for a subscriber; when full, one change replaces
// all of it.
const textQueue = 1024

// Subscribe yields the text as it is, as one patch from nothing, and then each
// change of it, until the context ends: its error comes last. Applied one after
// the other, the patches give the text. A subscriber that is slow gets many
// changes as one.
func (t *Text) Subscribe(ctx context.Context) iter.Seq2[TextChange, error] {
	return func(yield func(TextChange, error) bool) {
		d, err := t.space.acquire(t.path)
		if err != nil {
			yield(TextChange{}, err)
			return
		}
		defer t.space.texts.release(d)
		sub := &textSub{signal: make(chan struct{}, 1)}
		d.mu.Lock()
		if err := d.bring(ctx); err != nil {
			d.mu.Unlock()
			yield(TextChange{}, fmt.Errorf("anabranch: text %q: %w", t.path, err))
			return
		}
		d.subscribe(sub)
		d.mu.Unlock()
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if delete(d.subs, sub); len(d.subs) == 0 {
				d.doc.Watch(nil)
				d.changes = nil
			}
		}()
		t.space.texts.kick() // it looks for arrivals from here on
		for {
			d.mu.Lock()
			queue := sub.queue
			sub.queue = nil
			for _, c := range queue {
				for _, p := range c.Patches {
					sub.runes += len([]rune(p.Text)) - p.Delete
				}
			}
			d.mu.Unlock()
			for _, c := range queue {
				if !yield(c, nil) {
					return
				}
			}
			select {
			case <-sub.signal:
			case <-ctx.Done():
				yield(TextChange{}, ctx.Err())
				return
			case <-t.space.replica.ctx.Done():
				yield(TextChange{}, ErrClosed)
				return
			}
		}
	}
}

func (d *textDoc) subscribe(sub *textSub) {
	if d.subs == nil {
		d.subs = map[*textSub]bool{}
	}
	d.subs[sub] = true
	d.watch()
	sub.queue = []TextChange{{Origin: TextWhole, Patches: []TextPatch{{Text: d.doc.String()}}}}
	sub.signal <- struct{}{}
}

// watch gathers the document's patches, while somebody wants them.
func (d *textDoc) watch() {
	if len(d.subs) > 0 {
		d.doc.Watch(func(p text.Patch) { d.changes = append(d.changes, p) })
	}
}

// publish tells subscribers what was gathered. by is who is known to have
// caused it: characters that had waited may be those of others.
func (d *textDoc) publish(origin TextOrigin, by record.Key) {
	if len(d.changes) == 0 {
		return
	}
	var out []TextChange
	for begin := 0; begin < len(d.changes); {
		end := begin + 1
		for end < len(d.changes) && d.changes[end].Lane == d.changes[begin].Lane {
			end++
		}
		author, known := d.authors[d.changes[begin].Lane]
		if !known {
			author = by
		}
		out = append(out, TextChange{Origin: origin, Author: author, Patches: patches(d.changes[begin:end])})
		begin = end
	}
	d.changes = d.changes[:0]
	d.tell(out...)
}

// diffs tells subscribers how the document differs from the one before it.
func (d *textDoc) diffs(old *text.Doc) {
	old.Watch(nil)
	d.changes = nil
	d.fedAnew()
	if len(d.subs) == 0 {
		return
	}
	if ps := text.Diff(old, d.doc); len(ps) > 0 {
		d.tell(TextChange{Origin: TextRebuilt, Patches: patches(ps)})
	}
	d.watch()
}

// tell queues changes, after which the text is as it is now.
func (d *textDoc) tell(changes ...TextChange) {
	for sub := range d.subs {
		if len(sub.queue)+len(changes) > textQueue {
			sub.queue = append(sub.queue[:0], TextChange{Origin: TextRebuilt, Patches: []TextPatch{{Delete: sub.runes, Text: d.doc.String()}}})
		} else {
			sub.queue = append(sub.queue, changes...)
		}
		select {
		case sub.signal <- struct{}{}:
		default:
		}
	}
}
