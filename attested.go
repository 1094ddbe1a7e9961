package anabranch

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"anabranch/attest"
	"anabranch/internal/store"
	"anabranch/record"
)

// Attestation is a device's signed word of what it held. See docs/proofs.md.
type Attestation = attest.Attestation

// Attested is the newest attestation of a device that this replica has seen,
// from the device itself or passed on by others.
type Attested struct {
	Device record.Key
	*Attestation
	// Equals: it is the root that is held here now.
	Equals bool
	// Equalled: it was the root that was held here when it came.
	Equalled bool
	Received time.Time
}

// Caught is evidence against a device.
type Caught struct {
	Device record.Key
	Author record.Key
	Reason attest.Reason
	At     time.Time
	Proof  []byte // for anybody to check; see attest.Check
}

// ErrCaught means that what a device signed is false. ProveAgainst has the
// evidence.
var ErrCaught = errors.New("anabranch: the device signed what cannot be true")

// witness is one space's own log of attestations, and what others attested.
type witness struct {
	mu     sync.Mutex // guards all below, and is held while the own log grows
	loaded bool
	own    ownLog
	others map[record.Key]*received // by author
	caught map[record.Key]*Caught   // by author, the first evidence of each
	told   map[record.Key]telling   // by device: what the last exchange told it
}

// telling is what one exchange said: the own root, and what is known of
// others.
type telling struct {
	root   Root
	others [8]byte
}

// ownLog is where this device's log stands: the fact of the same name.
type ownLog struct {
	Log   uint64
	Size  uint64
	Time  uint64 // of the newest attestation
	Count uint64 // of the newest leaf
	Trie  Root
}

// received is the newest attestation of an author: a fact, too.
type received struct {
	Bytes    []byte
	Equalled bool
	At       time.Time

	attestation *Attestation
}

func logFact(id record.SpaceID) string      { return "log/" + id.String() }
func attestedFact(id record.SpaceID) string { return "attested/" + id.String() + "/" }
func caughtFact(id record.SpaceID) string   { return "caught/" + id.String() + "/" }
func logHashFact(id record.SpaceID, log uint64, at int64) string {
	return "loghash/" + id.String() + "/" + strconv.FormatUint(log, 16) + "/" + strconv.FormatInt(at, 16)
}

// witnessFacts are the beginnings of the keys of all facts that a space's
// witness keeps.
func witnessFacts(id record.SpaceID) []string {
	return []string{logFact(id), attestedFact(id), caughtFact(id), "loghash/" + id.String() + "/"}
}

// load reads the facts, once. s.witness.mu is held.
func (s *Space) loadWitness() error {
	w := &s.witness
	if w.loaded {
		return nil
	}
	id, rows := s.ID(), s.replica.store
	b, ok, err := rows.Fact(logFact(id))
	if err != nil {
		return err
	}
	if ok {
		if err := json.Unmarshal(b, &w.own); err != nil {
			return fmt.Errorf("anabranch: log of %v: %w", id, err)
		}
	}
	last, ok := s.ownsLog()
	if w.own.Time = max(w.own.Time, last); !ok {
		w.own = ownLog{Time: w.own.Time} // another copy may have gone on with it
	}
	w.others, w.caught, w.told = map[record.Key]*received{}, map[record.Key]*Caught{}, map[record.Key]telling{}
	facts, err := rows.Facts(attestedFact(id))
	if err != nil {
		return err
	}
	for _, b := range facts {
		x := &received{}
		if json.Unmarshal(b, x) == nil {
			if x.attestation, err = attest.Decode(x.Bytes); err == nil {
				w.others[x.attestation.Author] = x
			}
		}
	}
	if facts, err = rows.Facts(caughtFact(id)); err != nil {
		return err
	}
	for _, b := range facts {
		c := &Caught{}
		if json.Unmarshal(b, c) == nil {
			w.caught[c.Author] = c
		}
	}
	w.loaded = true
	return nil
}

// logFile says, where no backup carries it, how far this copy of the store
// has come with its log. "" where copies cannot be told apart.
func (s *Space) logFile() string {
	place := s.replica.store.Place()
	if place == "" || s.replica.options.LeaseDir == "" {
		return ""
	}
	return filepath.Join(s.replica.options.LeaseDir, place+"-"+s.ID().String()[:16]+".log")
}

// ownsLog reports whether the log in the store is as this very copy left it,
// and the time of the newest attestation, of which the store knows only those
// that made the log grow. The witness is locked, or not shared yet.
func (s *Space) ownsLog() (last uint64, ok bool) {
	name := s.logFile()
	if name == "" {
		return 0, false
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	var log, size uint64
	if n, err := fmt.Sscanf(string(b), logLease, &log, &size, &last); n != 3 || err != nil {
		return 0, false
	}
	return last, log == s.witness.own.Log && size == s.witness.own.Size
}

// logLease is what a log's file says: log, size, and the time of the newest
// attestation.
const logLease = "anabranch log 1\n%016x %d %d\n"

// lease writes the log's file, before what it covers is signed.
func (s *Space) leaseLog(own ownLog) error {
	name := s.logFile()
	if name == "" {
		return nil
	}
	return os.WriteFile(name, fmt.Appendf(nil, logLease, own.Log, own.Size, own.Time), 0o600)
}

// log is the device's log as attest works on it.
func (s *Space) ownLogTree() *attest.Log {
	w := &s.witness
	return &attest.Log{Size: w.own.Size, Stored: func(at []int64) ([]attest.Hash, error) {
		out := make([]attest.Hash, len(at))
		for i, p := range at {
			b, ok, err := s.replica.store.Fact(logHashFact(s.ID(), w.own.Log, p))
			if err != nil {
				return nil, err
			}
			if !ok || len(b) != len(out[i]) {
				return nil, fmt.Errorf("%w: the log of attestations lacks its hash %d", ErrDamaged, p)
			}
			out[i] = attest.Hash(b)
		}
		return out, nil
	}}
}

// Attest signs what is held here now, in the device's own log. The log is on
// disk before Attest returns: one write, and none if the set is that of the
// newest entry.
func (s *Space) Attest(ctx context.Context) (*Attestation, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	a, _, err := s.attest(ctx, view, nil, nil)
	return a, err
}

// attest signs what a snapshot holds, and an answer out of it. grown is asked
// for with the log and the size at which the asker knew it.
func (s *Space) attest(ctx context.Context, view *store.Snapshot, answer *attest.Answer, since *logPlace) (*Attestation, []attest.Hash, error) {
	author := s.author()
	if author == nil {
		return nil, nil, ErrNotMember
	}
	_, trie, err := view.Trie().Subtree([32]byte{}, 0)
	if err != nil {
		return nil, nil, err
	}
	w := &s.witness
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := s.loadWitness(); err != nil {
		return nil, nil, err
	}
	a := &Attestation{Space: s.ID(), Count: view.Count(), Trie: trie, Answer: answer}
	if err := s.logged(ctx, a); err != nil {
		return nil, nil, fmt.Errorf("anabranch: attest: %w", named(err))
	}
	tree := s.ownLogTree()
	if a.Head, err = tree.Head(a.Size); err != nil {
		return nil, nil, fmt.Errorf("anabranch: attest: %w", err)
	}
	a.Sign(author)
	var grown []attest.Hash
	if since != nil && since.Log == a.Log && since.Size > 0 && since.Size <= a.Size {
		if grown, err = tree.Grown(since.Size, a.Size); err != nil {
			return nil, nil, fmt.Errorf("anabranch: attest: %w", err)
		}
	}
	return a, grown, nil
}

// logged gives an attestation its place in the log, which grows if the set is
// another one than the newest entry's. The witness is locked.
func (s *Space) logged(ctx context.Context, a *Attestation) error {
	own := s.witness.own
	if own.Log == 0 {
		var b [8]byte
		rand.Read(b[:])
		own = ownLog{Log: max(1, binary.BigEndian.Uint64(b[:])), Time: own.Time}
	}
	own.Time = max(s.replica.now(), own.Time+1)
	a.Time, a.Log = own.Time, own.Log
	if own.Size > 0 && own.Count == a.Count && own.Trie == Root(a.Trie) {
		a.Size = own.Size
		s.witness.own = own
		return s.leaseLog(own)
	}
	before := s.witness.own
	s.witness.own = own
	tree := s.ownLogTree()
	first, hashes, err := tree.Append(a.Leaf())
	if err == nil {
		own.Size, own.Count, own.Trie = tree.Size, a.Count, Root(a.Trie)
		err = s.keepLog(ctx, own, first, hashes)
	}
	if err != nil {
		s.witness.own = before
		return err
	}
	s.witness.own = own
	a.Size = own.Size
	return nil
}

// keepLog writes the log: first, where no backup carries it, how long it will
// be, so that a copy of the store at an earlier length begins a log of its own.
func (s *Space) keepLog(ctx context.Context, own ownLog, first int64, hashes []attest.Hash) error {
	if err := s.leaseLog(own); err != nil {
		return err
	}
	b, err := json.Marshal(own)
	if err != nil {
		return err
	}
	ops := []store.FactOp{{Key: logFact(s.ID()), Value: b}}
	for i, h := range hashes {
		ops = append(ops, store.FactOp{Key: logHashFact(s.ID(), own.Log, first+int64(i)), Value: slices.Clone(h[:])})
	}
	return s.replica.store.SetFacts(context.WithoutCancel(ctx), ops...)
}

// Attestations returns the newest attestation of every other device that has
// a standing grant, by device.
func (s *Space) Attestations(ctx context.Context) ([]Attested, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	root, err := view.Root()
	if err != nil {
		return nil, err
	}
	of, _, err := s.witnessed(view, Root(root))
	if err != nil {
		return nil, err
	}
	out := make([]Attested, 0, len(of))
	for _, a := range of {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(x, y Attested) int { return x.Device.Compare(y.Device) })
	return out, nil
}

// witnessed is, by device, the newest that it has attested and what it was
// caught at.
func (s *Space) witnessed(view *store.Snapshot, root Root) (map[record.Key]*Attested, map[record.Key]*Caught, error) {
	w := &s.witness
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := s.loadWitness(); err != nil {
		return nil, nil, err
	}
	attested, caught := map[record.Key]*Attested{}, map[record.Key]*Caught{}
	for author, x := range w.others {
		grants := view.State().GrantsOf(author)
		if len(grants) == 0 {
			continue
		}
		a := &Attested{
			Device: grants[0].Device, Attestation: x.attestation,
			Equals: Root(x.attestation.Root()) == root, Equalled: x.Equalled, Received: x.At,
		}
		if old := attested[a.Device]; old == nil || old.Time < a.Time {
			attested[a.Device] = a
		}
	}
	for _, c := range w.caught {
		caught[c.Device] = &Caught{c.Device, c.Author, c.Reason, c.At, c.Proof}
	}
	return attested, caught, nil
}

// Evidence returns what this replica can show against devices.
func (s *Space) Evidence() ([]Caught, error) {
	w := &s.witness
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := s.loadWitness(); err != nil {
		return nil, err
	}
	var out []Caught
	for _, c := range w.caught {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(x, y Caught) int { return x.Author.Compare(y.Author) })
	return out, nil
}

// hear keeps an attestation that is newer than what is known of its author,
// and evidence if the two cannot both be true. The author must have been
// granted a key by what is known here, or be a root key: whoever else signs
// something costs no space.
func (s *Space) hear(ctx context.Context, view *store.Snapshot, a *Attestation) error {
	if a.Space != s.ID() || a.Author == s.Author() {
		return nil
	}
	if len(view.State().GrantsOf(a.Author)) == 0 && !view.State().IsRoot(a.Author) {
		return nil
	}
	root, err := view.Root()
	if err != nil {
		return err
	}
	w := &s.witness
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := s.loadWitness(); err != nil {
		return err
	}
	old := w.others[a.Author]
	if old != nil {
		if why := attest.Contradiction(old.attestation, a); why != "" {
			return s.catchLocked(ctx, view, &attest.File{Attestation: a, Reason: attest.TwoStories, Other: old.attestation})
		}
		if old.attestation.Time >= a.Time {
			return nil
		}
	}
	x := &received{Bytes: a.Encode(), Equalled: a.Root() == root, At: s.replica.options.Clock(), attestation: a}
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := s.replica.store.SetFact(ctx, attestedFact(s.ID())+a.Author.String(), b); err != nil {
		return err
	}
	w.others[a.Author] = x
	return nil
}

// catch keeps evidence against a device and returns ErrCaught with what it
// shows; another error if it shows nothing.
func (s *Space) catch(ctx context.Context, view *store.Snapshot, f *attest.File) error {
	s.witness.mu.Lock()
	defer s.witness.mu.Unlock()
	if err := s.loadWitness(); err != nil {
		return err
	}
	return s.catchLocked(ctx, view, f)
}

func (s *Space) catchLocked(ctx context.Context, view *store.Snapshot, f *attest.File) error {
	f.Kind = attest.Against
	if err := s.sealFile(view, f); err != nil {
		return err
	}
	proof := f.Encode()
	found, err := attest.Check(proof, s.ID()) // as anybody would
	if err != nil {
		return err
	}
	author := f.Attestation.Author
	if s.witness.caught[author] == nil {
		c := &Caught{Device: found.Device, Author: author, Reason: f.Reason, At: s.replica.options.Clock(), Proof: proof}
		b, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := s.replica.store.SetFact(ctx, caughtFact(s.ID())+author.String(), b); err != nil {
			return err
		}
		s.witness.caught[author] = c
		s.replica.log.Warn("a device signed what cannot be true", "space", s.ID(), "peer", found.Device, "reason", f.Reason.String())
	}
	return fmt.Errorf("%w: device %v: %v: %s", ErrCaught, short(found.Device), f.Reason, found.Detail)
}

// sealFile gives a file the genesis and the grants of those who speak in it.
func (s *Space) sealFile(view *store.Snapshot, f *attest.File, authors ...record.Key) error {
	f.Genesis = s.rows.Genesis().Encode()
	chain, err := attest.Chain(view.State(), append(authors, f.Attestation.Author)...)
	if err != nil {
		return err
	}
	for _, g := range chain {
		f.Chain = append(f.Chain, g.Bytes)
	}
	return nil
}
