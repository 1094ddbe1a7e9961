package anabranch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"anabranch/crdt/text"
	"anabranch/record"
)

// TextTyping is what somebody on another device types this moment and has not
// signed: it is in the preview alone, and may never become a record.
const TextTyping TextOrigin = "typing"

const (
	previewSettle = 3 * time.Second // for a record to bring what was shown before; then it goes
	previewGrown  = 1 << 20         // runes shown that are in no record; more are left out until then
	previewLoose  = 1024            // deltas remembered that nobody types any more
	feedParts     = 1024            // records that wait for a preview; more, and it begins anew
)

// Preview is Subscribe for the text as it will be: with what connected members
// are typing, before they have signed it. Its patches give the text with those
// characters. What is shown so is in no record, no version and no answer of
// other calls; it comes from the device alone whose member it is, and goes again
// if no record has brought it three seconds after it was last heard.
//
// It costs a second copy of the document, and devices that are connected learn
// that this one watches the text. Only changes of the text are yielded: see
// Presence for who is there.
func (t *Text) Preview(ctx context.Context) iter.Seq2[TextChange, error] {
	return func(yield func(TextChange, error) bool) {
		d, err := t.space.acquire(t.path)
		if err != nil {
			yield(TextChange{}, err)
			return
		}
		defer t.space.texts.release(d)
		feed := &textFeed{signal: make(chan struct{}, 1), anew: true}
		l, err := t.listen(feed.signal)
		if err != nil {
			yield(TextChange{}, err)
			return
		}
		defer l.unlisten(feed.signal)
		d.mu.Lock()
		err = d.bring(ctx)
		d.mu.Unlock()
		if err != nil {
			yield(TextChange{}, fmt.Errorf("anabranch: text %q: %w", t.path, err))
			return
		}
		d.feed(feed, true)
		defer d.feed(feed, false)
		t.space.texts.kick() // it looks for arrivals from here on
		p := &preview{live: l, types: map[record.Key]*liveState{}, patience: t.space.replica.options.settle}
		if p.patience == 0 {
			p.patience = previewSettle
		}
		for {
			for _, c := range p.step(d, feed) {
				if !yield(c, nil) {
					return
				}
			}
			var timer <-chan time.Time
			if !p.settle.IsZero() {
				timer = time.After(time.Until(p.settle))
			}
			select {
			case <-feed.signal:
			case <-timer:
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

// textFeed is what a document tells a preview of it.
type textFeed struct {
	signal chan struct{} // cap 1
	deaf   bool          // it wants to know that something changed, not what

	// Guarded by the document's mutex.
	parts []textPart
	anew  bool // begin with all that the document holds
}

type textPart struct {
	text.Delta
	author record.Key
}

// feed adds or removes one.
func (d *textDoc) feed(f *textFeed, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !on {
		delete(d.feeds, f)
		return
	}
	if d.feeds == nil {
		d.feeds = map[*textFeed]bool{}
	}
	d.feeds[f] = true
}

// hears reports whether somebody wants to know what arrives.
func (d *textDoc) hears() bool {
	if len(d.subs) > 0 {
		return true
	}
	for f := range d.feeds {
		if !f.deaf {
			return true
		}
	}
	return false
}

// stir tells feeds that something changed.
func (d *textDoc) stir() {
	for f := range d.feeds {
		poke(f.signal)
	}
}

// fed gives previews what was joined.
func (d *textDoc) fed(v *record.Verified) {
	for f := range d.feeds {
		if f.deaf || f.anew {
			continue
		}
		parts, _ := textParts(v) // it was joined, and so is well formed
		for _, p := range parts {
			f.parts = append(f.parts, textPart{text.Delta{Lane: p.Lane, Body: p.Body}, v.Author})
		}
		if len(f.parts) > feedParts {
			f.parts, f.anew = nil, true
		}
	}
}

// fedAnew tells previews that the document was made anew.
func (d *textDoc) fedAnew() {
	for f := range d.feeds {
		f.parts, f.anew = nil, true
	}
	d.stir()
}

// preview is the text with what others type. It belongs to one goroutine.
type preview struct {
	live   *liveText
	doc    *text.Doc
	types  map[record.Key]*liveState // what was last joined of each device
	loose  []loosePart               // oldest first
	grown  int                       // runes that live deltas have brought since doc was made
	wrong  bool                      // doc holds what no record will say
	settle time.Time                 // when that is to be made good; zero: there is nothing
	out    []TextChange

	patience time.Duration // until then
}

// loosePart is what was joined, is typed no more, and may be in no record yet.
type loosePart struct {
	text.Delta
	at time.Time
}

// step brings the preview up to date and returns what changed.
func (p *preview) step(d *textDoc, feed *textFeed) []TextChange {
	p.out = nil
	now := time.Now()
	typing := p.live.typing()
	for device, was := range p.types {
		if typing[device] != was {
			p.part(now, was)
		}
	}
	d.mu.Lock()
	parts, anew := feed.parts, feed.anew
	feed.parts, feed.anew = nil, false
	own := textPart{author: d.author, Delta: text.Delta{Lane: d.doc.Lane()}}
	volatile := d.volatile()
	if !p.settle.IsZero() && !now.Before(p.settle) {
		anew = p.settled(now, d.doc) || anew
	}
	var all []text.Delta
	if anew {
		all = d.doc.All()
	}
	d.mu.Unlock()
	old := p.doc
	if anew {
		p.doc, p.grown, p.wrong = text.New(0), 0, false
		for _, x := range all {
			p.doc.Apply(x.Lane, x.Body)
		}
	}
	for _, x := range parts {
		p.join(TextRemote, x)
	}
	for _, b := range volatile {
		own.Body = b
		p.join(TextLocal, own)
	}
	if anew {
		for _, x := range p.loose {
			p.doc.Apply(x.Lane, x.Body)
		}
	}
	for _, device := range slices.SortedFunc(maps.Keys(typing), record.Key.Compare) {
		if s := typing[device]; anew || p.types[device] != s {
			p.show(device, s)
		}
	}
	p.types = typing
	p.settle = time.Time{}
	if len(p.loose) > 0 {
		p.settle = p.loose[0].at.Add(p.patience)
	} else if p.wrong {
		p.settle = now.Add(p.patience)
	}
	switch {
	case old == nil:
		p.out = []TextChange{{Origin: TextWhole, Patches: []TextPatch{{Text: p.doc.String()}}}}
	case anew:
		p.out = nil
		if ps := text.Diff(old, p.doc); len(ps) > 0 {
			p.out = []TextChange{{Origin: TextRebuilt, Patches: patches(ps)}}
		}
	}
	return p.out
}

// part notes that nobody types something any more.
func (p *preview) part(now time.Time, was *liveState) {
	for _, b := range was.deltas {
		if len(p.loose) == previewLoose {
			p.wrong = true // not known to be right
			return
		}
		p.loose = append(p.loose, loosePart{text.Delta{Lane: laneName(was.author, was.lane), Body: b}, now})
	}
}

// settled forgets what was loose for long, and reports whether the preview shows
// what the document does not say by now.
func (p *preview) settled(now time.Time, doc *text.Doc) (anew bool) {
	anew = p.wrong
	for len(p.loose) > 0 && now.Sub(p.loose[0].at) >= p.patience {
		x := p.loose[0]
		anew = anew || !doc.Holds(x.Lane, x.Body)
		p.loose = p.loose[1:]
	}
	return anew
}

// show joins what a device types. What cannot be is left out.
func (p *preview) show(device record.Key, s *liveState) {
	for _, b := range s.deltas {
		if p.grown > previewGrown || p.doc.Parked() > previewLoose {
			p.wrong = true
			return
		}
		before := p.doc.Len()
		_, err := p.apply(TextTyping, textPart{text.Delta{Lane: laneName(s.author, s.lane), Body: b}, s.author})
		p.grown += max(0, p.doc.Len()-before)
		if format := (*text.FormatError)(nil); errors.As(err, &format) {
			p.live.charge(device, err)
			return
		}
	}
}

// join joins what a record says, or will say. It may find something else in its
// place, which was typed and never signed.
func (p *preview) join(origin TextOrigin, x textPart) {
	res, err := p.apply(origin, x)
	p.wrong = p.wrong || err != nil || len(res.Refused) > 0
}

func (p *preview) apply(origin TextOrigin, x textPart) (text.Result, error) {
	var ps []TextPatch
	p.doc.Watch(func(q text.Patch) { ps = append(ps, TextPatch{q.Pos, q.Delete, q.Text}) })
	res, err := p.doc.Apply(x.Lane, x.Body)
	p.doc.Watch(nil)
	if len(ps) > 0 {
		p.out = append(p.out, TextChange{Origin: origin, Author: x.author, Patches: ps})
	}
	return res, err
}
