package anabranch

import (
	"context"
	"errors"
	"maps"
	"time"

	"anabranch/blob"
	"anabranch/internal/fetch"
	"anabranch/internal/mesh"
	"anabranch/internal/store"
	"anabranch/record"
)

// demand waits until a span is here, and has it fetched before all else. The
// first time that a reader does so, ease must follow.
func (f *fetcher) demand(ctx context.Context, name blob.Name, span blob.Span, first bool) error {
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	if !running {
		return ErrContentMissing
	}
	ahead := blob.Span{Begin: span.Begin, End: min(name.Groups(), span.End+256)} // 4 MiB, for who reads on
	asked := f.call(func() {
		if first {
			f.readers[name]++
		}
		if has, err := f.space.rows.HasBlob(name); err == nil && !has {
			f.want(name, true)
			f.step(f.space.replica.ctx, fetch.Urge{Name: name, Span: ahead})
		}
	})
	if !asked {
		return ErrContentMissing
	}
	for {
		f.mu.Lock()
		news := f.news
		f.mu.Unlock()
		b, err := f.space.rows.Blob(name)
		if err == nil {
			has := b.Has(span)
			b.Close()
			if has {
				return nil
			}
		} else if !errors.Is(err, store.ErrNotHere) {
			return err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ended:
			return ErrContentMissing
		}
	}
}

// ease says that a reader is done. What only readers wanted is fetched no
// more when none is left; what is here of it stays.
func (f *fetcher) ease(name blob.Name) {
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	if running {
		f.call(func() {
			f.step(f.space.replica.ctx, fetch.Eased{Name: name})
			if f.readers[name]--; f.readers[name] <= 0 {
				delete(f.readers, name)
				if !f.paths[name] {
					f.unwant(name)
				}
			}
		})
	}
}

// tendLinks keeps a stream to every member that is connected, while anything
// is wanted.
func (f *fetcher) tendLinks(ctx context.Context) {
	now := time.Now()
	for p, l := range f.links {
		select {
		case <-l.done:
			delete(f.links, p)
			if l.joined {
				f.step(ctx, fetch.Left{Peer: p})
			}
			b := f.backoff[p]
			b.wait = min(max(2*b.wait, blobRelink), blobRelinkTop)
			if l.joined {
				b.wait = blobRelink
			}
			b.after = now.Add(b.wait)
			f.backoff[p] = b
		default:
		}
	}
	if len(f.machine.Wanted()) > 0 {
		f.linkAll(ctx)
	}
}

// linkAll opens what streams are missing.
func (f *fetcher) linkAll(ctx context.Context) {
	s := f.space
	var readers map[record.Key]bool
	now := time.Now()
	for _, info := range s.replica.host.Peers() {
		p := fetch.Peer(info.Key)
		if f.links[p] != nil || now.Before(f.backoff[p].after) {
			continue
		}
		if readers == nil {
			view, err := s.rows.Snapshot()
			if err != nil {
				return
			}
			readers = readersOf(view)
			view.Close()
		}
		if device := record.Key(info.Key); readers[device] && !now.Before(s.replica.peer(device).blockedUntil()) {
			f.links[p] = openBlobLink(ctx, f, mesh.Key(device))
		}
	}
}

// sources are who has something of a content, as far as is known.
func (f *fetcher) snapshotProgress() map[blob.Name]fetch.Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.progress)
}

// pause waits for news, but not for every piece of them.
func (f *fetcher) pause(ctx context.Context, news <-chan struct{}) error {
	select {
	case <-time.After(blobLook):
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-news:
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
