package anabranch

import (
	"context"
	"errors"
	"iter"
	"slices"

	"anabranch/blob"
	"anabranch/internal/store"
	"anabranch/record"
)

// BlobInfo is one content that records of a space name.
type BlobInfo struct {
	BlobName
	Paths   []string     // of the records that name it, ascending, at most 16
	Here    bool         // whole
	Present uint64       // bytes that are here
	Wanted  bool         // it is being fetched, or will be when somebody has it
	From    []record.Key // who has some of it, as far as they were asked
}

// BlobStatus counts the content that records of a space name. Records are in
// sync or not whatever of it is here.
type BlobStatus struct {
	Named, Here, Missing  int
	NamedBytes, HereBytes uint64 // of those that are whole
	MissingBytes          uint64 // that are not here, of all that is not whole
	Wanted                int
	WantedBytes           uint64 // of MissingBytes, what is to be fetched
	Received, Sent, Twice int64  // bytes since this replica was opened; Twice: received though they were here
	Liars                 []record.Key
	Problem               error      // why something wanted is not fetched, the last one
	Largest               []BlobInfo // that are missing and wanted, at most ten
	Kept, Room            int64      // of all spaces: bytes on this disk, and what the quota leaves; Room -1: no quota
}

// Blobs yields every content that records at or below a path name, by name;
// "" is everything. It ends after the first error.
func (s *Space) Blobs(ctx context.Context, prefix string) iter.Seq2[BlobInfo, error] {
	return func(yield func(BlobInfo, error) bool) {
		view, err := s.snapshot(ctx)
		if err != nil {
			yield(BlobInfo{}, err)
			return
		}
		defer view.Close()
		rules, err := s.BlobPolicy()
		if err != nil {
			yield(BlobInfo{}, named(err))
			return
		}
		progress := s.blobs.snapshotProgress()
		for b, err := range view.BlobsNamed() {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(BlobInfo{}, named(err))
				return
			}
			info, err := s.blobInfo(view, rules, b, prefix)
			if err != nil {
				yield(BlobInfo{}, named(err))
				return
			}
			if len(info.Paths) == 0 {
				continue
			}
			if p, ok := progress[b.Name]; ok && !info.Here {
				info.Wanted = true
				for _, peer := range p.Sources {
					info.From = append(info.From, record.Key(peer))
				}
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *Space) blobInfo(view *store.Snapshot, rules []BlobRule, b store.NamedBlob, prefix string) (BlobInfo, error) {
	info := BlobInfo{BlobName: b.Name}
	for _, n := range b.By {
		v, err := view.Arrived(n)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return info, err
		}
		if prefix != "" && !record.Covers(prefix, v.Path) {
			continue
		}
		if len(info.Paths) < 16 && !slices.Contains(info.Paths, v.Path) {
			info.Paths = append(info.Paths, v.Path)
		}
		info.Wanted = info.Wanted || ruleFor(rules, v.Path).fetches(b.Size)
	}
	slices.Sort(info.Paths)
	has, err := s.rows.HasBlob(b.Name)
	if err != nil || has {
		info.Here, info.Present, info.Wanted = has, b.Size, false
		return info, err
	}
	if part, err := s.rows.Blob(b.Name); err == nil {
		info.Present = presentBytes(b.Name, part.Set())
		part.Close()
	}
	return info, nil
}

// presentBytes is how much of a content a set of groups is.
func presentBytes(name blob.Name, set *blob.Set) uint64 {
	if set == nil || set.Full() {
		return name.Size
	}
	n := set.Len() * blob.GroupBytes
	if last := name.Groups() - 1; set.Has(last) {
		begin, end := blob.Span{Begin: last, End: last + 1}.Bytes(name)
		n -= blob.GroupBytes - (end - begin)
	}
	return n
}

// BlobStatus says what of the content that records name is here, and who has
// the rest. Cost: a look-up for each content that is named.
func (s *Space) BlobStatus(ctx context.Context) (BlobStatus, error) {
	var out BlobStatus
	for b, err := range s.Blobs(ctx, "") {
		if err != nil {
			return out, err
		}
		out.Named++
		out.NamedBytes += b.Size
		if b.Here {
			out.Here++
			out.HereBytes += b.Size
			continue
		}
		out.Missing++
		out.MissingBytes += b.Size - b.Present
		if b.Wanted {
			out.Wanted++
			out.WantedBytes += b.Size - b.Present
			out.Largest = append(out.Largest, b)
			slices.SortFunc(out.Largest, func(x, y BlobInfo) int { return int(min(1, max(-1, int64(y.Size)-int64(x.Size)))) })
			out.Largest = out.Largest[:min(len(out.Largest), 10)]
		}
	}
	f := s.blobs
	f.mu.Lock()
	out.Received, out.Sent, out.Twice, out.Problem = f.got, f.sent, f.twice, f.failure
	for device := range f.liars {
		out.Liars = append(out.Liars, device)
	}
	f.mu.Unlock()
	slices.SortFunc(out.Liars, record.Key.Compare)
	out.Kept, out.Room = s.replica.store.BlobBytes()
	return out, nil
}

// WaitBlobs waits until all content that the policy wants is here. progress,
// which may be nil, is told now and then. It does not wait for records.
func (s *Space) WaitBlobs(ctx context.Context, progress func(BlobStatus)) error {
	for {
		s.blobs.mu.Lock()
		news := s.blobs.news
		s.blobs.mu.Unlock()
		st, err := s.BlobStatus(ctx)
		if err != nil {
			return err
		}
		if progress != nil {
			progress(st)
		}
		if st.Wanted == 0 {
			return nil
		}
		if err := s.blobs.pause(ctx, news); err != nil {
			return err
		}
	}
}

// VerifyBlobs reads and hashes all content that is here for this space again.
// What is found is named; FetchAgain has it fetched anew.
func (s *Space) VerifyBlobs(ctx context.Context, progress func(done, total uint64)) ([]store.Finding, error) {
	found, err := s.rows.VerifyBlobs(ctx, progress)
	return found, named(err)
}

// FetchAgain checks content that is here, and if some of it does not match the
// name, says what and has that fetched anew where it is wanted. Until then no
// space has the content whole; what is right of it stays. An empty text and no
// error: nothing is wrong with what is here.
func (s *Space) FetchAgain(ctx context.Context, name BlobName) (wrong string, err error) {
	wrong, err = s.rows.VerifyBlob(ctx, name)
	if wrong == "" || err != nil {
		return "", named(err)
	}
	if err := s.rows.DoubtBlob(ctx, name); err != nil {
		return wrong, named(err)
	}
	for _, other := range s.replica.all() {
		other.blobs.lookAgain()
	}
	return wrong, nil
}
