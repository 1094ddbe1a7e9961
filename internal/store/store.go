package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"anabranch/record"
	"anabranch/space"
)

// Store is one replica's records, all spaces in one database. Its methods may
// be called from any goroutine.
type Store struct {
	options  Options
	log      *slog.Logger
	engine   engine
	dir      string // empty in memory
	id       [16]byte
	stranger record.ID // random: stands for the ID of a record that is not signed yet
	lease    *lease    // nil: none; used by the committer only
	blobs    *blobs

	requests chan *request  // full means writers wait
	lost     error          // a batch that did not become durable; nothing after it does
	tasks    sync.WaitGroup // compactions
	tasksCtx context.Context
	endTasks context.CancelFunc
	stop     chan struct{} // closed by Close
	stopped  chan struct{} // closed when the committer has ended and its last group is answered
	closing  sync.Once
	closeErr error

	// gate is held for reading during every read below a snapshot and for
	// writing while the engine is closed.
	gate   sync.RWMutex
	closed atomic.Bool

	mu       sync.Mutex // guards what follows and every Space's published state
	spaces   map[record.SpaceID]*Space
	unusable map[record.SpaceID]error
	view     *sharedView
	views    map[*sharedView]struct{} // not yet closed

	warm *warm // of the indexes

	authors    authors
	looked     time.Time // at the space on the disk; committer only
	nearlyFull error     // what was found; committer only

	next  uint32                    // number of the next space; committer only
	built map[record.SpaceID]*Space // those published and those on their way there; committer only
}

// Open opens or creates the store in a directory. Errors worth matching:
// ErrLocked, ErrNewer, ErrDamaged, ErrFailed.
//
// Cost: every control record and sweep is read, and every held and dead
// record; of members, what arrived since the last checkpoint, which is at most
// 16 384 or every 64th: some milliseconds at a million. About four bytes of
// memory per member.
func Open(dir string, o Options) (*Store, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	e, err := openDisk(dir, o)
	if err != nil {
		return nil, err
	}
	return open(dir, e, o)
}

// OpenMemory opens a new store in memory. Nothing of it outlives Close.
func OpenMemory(o Options) (*Store, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	return open("", newMemory(), o)
}

func open(dir string, e engine, o Options) (*Store, error) {
	s := &Store{
		options:  o,
		log:      o.Logger,
		engine:   e,
		dir:      dir,
		requests: make(chan *request, groupRequests),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
		spaces:   make(map[record.SpaceID]*Space),
		built:    make(map[record.SpaceID]*Space),
		unusable: make(map[record.SpaceID]error),
		views:    make(map[*sharedView]struct{}),
		warm:     newWarm(o.CacheBytes),
	}
	s.name(s.stranger[:])
	s.tasksCtx, s.endTasks = context.WithCancel(context.Background())
	type loaded struct{ err error }
	done := make(chan loaded, 1)
	go func() { done <- loaded{s.load()} }()
	var err error
	select {
	case l := <-done:
		err = l.err
	case <-e.failed():
		err = e.failure()
	case <-e.full():
		err = e.shortage()
		e.giveUp()
	}
	if err != nil {
		e.close()
		if dir != "" {
			err = fmt.Errorf("open %s: %w", dir, err)
		}
		return nil, err
	}
	go s.commitLoop()
	return s, nil
}

// load checks the format, makes a new store's first rows, and rebuilds what
// is kept in memory.
func (s *Store) load() error {
	if err := s.loadMeta(); err != nil {
		return err
	}
	if err := s.authors.load(s.engine); err != nil {
		return err
	}
	lo := []byte{tableSpace}
	err := each(s.engine, lo, successor(lo), func(x row) error {
		if len(x.key) != 5 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		number := binary.BigEndian.Uint32(x.key[1:])
		s.next = max(s.next, number+1)
		if len(x.value) < 32 {
			return damagedRow(x.key, "%d bytes", len(x.value))
		}
		id := record.SpaceID(x.value[:32])
		g, err := space.DecodeGenesis(x.value[32:])
		var unknown *space.UnknownRuleError
		switch {
		case errors.As(err, &unknown):
			s.unusable[id] = err
			return nil
		case err != nil:
			return damagedRow(x.key, "%v", err)
		case g.ID() != id:
			return damagedRow(x.key, "the genesis of %v is stored as that of %v", g.ID(), id)
		}
		sp := newSpace(s, number, g)
		if err := sp.load(s.engine); err != nil {
			return fmt.Errorf("space %v: %w", id, err)
		}
		s.spaces[id], s.built[id] = sp, sp
		return nil
	})
	if err != nil {
		return err
	}
	if s.blobs, err = openBlobs(s); err != nil {
		return err
	}
	s.view = s.share()
	s.lease = openLease(s)
	return s.goOn()
}

func (s *Store) loadMeta() error {
	format, err := s.engine.get(metaFormat)
	if err != nil {
		return err
	}
	if format == nil && s.engine.shortage() != nil {
		return s.engine.shortage()
	}
	if format == nil {
		lo := []byte{0}
		if rows, _, err := s.engine.chunk(lo, []byte{0xFF}, 1); err != nil || len(rows) > 0 {
			return errors.Join(err, damagedRow(metaFormat, "absent"))
		}
		s.name(s.id[:])
		return s.engine.commit([]change{{metaFormat, u32(nil, Format)}, {metaStore, s.id[:]}})
	}
	if len(format) != 4 {
		return damagedRow(metaFormat, "%d bytes", len(format))
	}
	if n := binary.BigEndian.Uint32(format); n > Format {
		return fmt.Errorf("%w: its format is %d, this version reads %d", ErrNewer, n, Format)
	} else if n != Format {
		return damagedRow(metaFormat, "format %d never existed", n)
	}
	id, err := s.engine.get(metaStore)
	if err != nil {
		return err
	}
	if len(id) != len(s.id) {
		return damagedRow(metaStore, "%d bytes", len(id))
	}
	copy(s.id[:], id)
	return nil
}

// Close ends the store and gives its directory back. Requests that wait are
// answered with ErrClosed; open snapshots answer ErrClosed from then on.
// After a failed write it returns that error and leaves the engine's blocked
// goroutines behind; they write nothing any more.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		close(s.stop)
		s.endTasks()
		s.blobs.closeAll()
		select {
		case <-s.stopped:
		case <-s.engine.full():
			s.engine.giveUp() // the committer waits for space
		case <-s.engine.failed():
		}
		if s.engine.failure() != nil {
			s.closeErr = s.engine.close()
			return
		}
		// The gate waits for reads in progress. One of them may hang if the
		// disk fails now, so it is taken aside.
		alone := make(chan struct{})
		go func() {
			s.tasks.Wait()
			if err := s.keepAll(); err != nil {
				s.log.Warn("no checkpoint at the end", "err", err)
			}
			s.gate.Lock()
			defer s.gate.Unlock()
			s.mu.Lock()
			defer s.mu.Unlock()
			for v := range s.views {
				v.view.close()
			}
			clear(s.views)
			close(alone)
		}()
		select {
		case <-alone:
		case <-s.engine.full():
			s.engine.giveUp()
		case <-s.engine.failed():
		}
		s.lease.close()
		s.closeErr = s.engine.close()
	})
	return s.closeErr
}

// Full is not nil while writes wait for space on the disk, while there is
// less than the reserve, or while the store is open for reading only because
// there was no space. Writers are answered with it. It wraps ErrFull and
// syscall.ENOSPC (or EDQUOT). Except in the last case, writing goes on by
// itself when there is space.
func (s *Store) Full() error {
	if err := s.engine.shortage(); err != nil {
		return err
	}
	return s.belowReserve()
}

// Failed is closed at the first write that the disk refuses.
func (s *Store) Failed() <-chan struct{} { return s.engine.failed() }

// Err is the error behind Failed, nil before. It wraps ErrFailed.
func (s *Store) Err() error { return s.engine.failure() }

// Create adds a space, named by its genesis. One that is already here is
// returned as it is. Errors worth matching: *space.UnknownRuleError.
func (s *Store) Create(ctx context.Context, genesis []byte) (*Space, error) {
	g, err := space.DecodeGenesis(genesis)
	if err != nil {
		return nil, err
	}
	id := g.ID()
	if sp, ok := s.Space(id); ok {
		return sp, nil
	}
	err = s.add(ctx, 0, func(c *commit) error {
		if s.built[id] != nil {
			return nil
		}
		sp := newSpace(s, s.next, g)
		s.next++
		c.tx.set(spaceRow(sp.number), append(id[:], genesis...))
		c.tx.set(metaGeneration(sp.number), u64(nil, s.randomNumber()))
		c.created[id], s.built[id] = sp, sp
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("create space %v: %w", id, err)
	}
	sp, _ := s.Space(id)
	return sp, nil
}

// Spaces lists the usable spaces, by ID.
func (s *Store) Spaces() []*Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Space, 0, len(s.spaces))
	for _, sp := range s.spaces {
		out = append(out, sp)
	}
	slices.SortFunc(out, func(a, b *Space) int { return cmp.Compare(a.id.String(), b.id.String()) })
	return out
}

// Space returns a usable space.
func (s *Store) Space(id record.SpaceID) (*Space, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp, ok := s.spaces[id]
	return sp, ok
}

// Unusable names the spaces that are here and that this version cannot judge,
// with the reason: their genesis has a rule that it does not know.
func (s *Store) Unusable() map[record.SpaceID]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[record.SpaceID]error, len(s.unusable))
	for id, err := range s.unusable {
		out[id] = err
	}
	return out
}

// randomNumber is a random number from 1 on.
func (s *Store) randomNumber() uint64 {
	for {
		if n := s.options.Random(); n != 0 {
			return n
		}
	}
}

// name fills a name, a multiple of eight bytes long.
func (s *Store) name(b []byte) {
	for ; len(b) > 0; b = b[8:] {
		binary.BigEndian.PutUint64(b, s.options.Random())
	}
}

func systemRandom() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// authors numbers the author keys of a store, so that rows are short. Readers
// look numbers up while the committer adds some; a number without rows does
// no harm.
type authors struct {
	mu      sync.RWMutex
	numbers map[record.Key]uint32
	keys    map[uint32]record.Key
	next    uint32
}

func (a *authors) load(r reader) error {
	a.numbers = make(map[record.Key]uint32)
	a.keys = make(map[uint32]record.Key)
	lo := []byte{tableAuthor}
	return each(r, lo, successor(lo), func(x row) error {
		if len(x.key) != 5 || len(x.value) != 32 {
			return damagedRow(x.key, "layout")
		}
		n, k := binary.BigEndian.Uint32(x.key[1:]), record.Key(x.value)
		if _, twice := a.numbers[k]; twice {
			return damagedRow(x.key, "author %v has two numbers", k)
		}
		a.numbers[k], a.keys[n] = n, k
		a.next = max(a.next, n+1)
		return nil
	})
}

func (a *authors) number(k record.Key) (uint32, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	n, ok := a.numbers[k]
	return n, ok
}

func (a *authors) key(n uint32) (record.Key, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	k, ok := a.keys[n]
	return k, ok
}

func (a *authors) add(k record.Key) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.next
	a.next++
	a.numbers[k], a.keys[n] = n, k
	return n
}

func (a *authors) remove(k record.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.keys, a.numbers[k])
	delete(a.numbers, k)
}
