package anabranch

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

// Record is one verified record with its ID and bytes.
type Record = record.Verified

// Space is one shared body of records as this replica holds it.
type Space struct {
	replica *Replica
	rows    *store.Space
	authors []ed25519.PrivateKey // this device's keys here; the last is in use
	name    string               // guarded by replica.mu
	witness witness
	blobs   *fetcher
	texts   texts
	live    lives
	docs    documents
}

// CreateSpace makes a space whose first member is this device, as an admin
// of everything, and gives it a local name. The recovery key is returned
// this once and kept nowhere: only with it can the first device be revoked.
func (r *Replica) CreateSpace(ctx context.Context, name string) (*Space, RecoveryKey, error) {
	r.making.Lock()
	defer r.making.Unlock()
	if err := r.checkName(name); err != nil {
		return nil, RecoveryKey{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, RecoveryKey{}, err
	}
	// From here on it is done whole: half a space would have no key.
	ctx = context.WithoutCancel(ctx)
	root := newKey()
	var random [16]byte
	rand.Read(random[:])
	genesis, err := space.NewGenesis(root, nil, random)
	if err != nil {
		return nil, RecoveryKey{}, err
	}
	id := genesis.ID()
	author := newKey()
	if err := r.keys.addAuthor(id, author); err != nil {
		return nil, RecoveryKey{}, fmt.Errorf("anabranch: create space: %w", err)
	}
	rows, err := r.store.Create(ctx, genesis.Encode())
	if err != nil {
		return nil, RecoveryKey{}, errors.Join(fmt.Errorf("anabranch: create space: %w", err), r.keys.dropAuthors(id))
	}
	granted, err := rows.Issue(ctx, root, r.now(), "/", newGrant(record.ID{}, record.Public(author), r.Device(), record.Admin))
	if err == nil && r.ownLabel() != "" {
		_, err = rows.Issue(ctx, author, r.now(), "/", newLabel(granted[0].ID, r.Device(), r.ownLabel()))
	}
	if err != nil {
		return nil, RecoveryKey{}, fmt.Errorf("anabranch: create space: %w", err)
	}
	s, err := r.adopt(ctx, rows, name)
	return s, RecoveryKey{key: root}, err
}

func newGrant(under record.ID, author, device record.Key, role record.Role) record.ControlBody {
	g := &record.Grant{Author: author, Device: device, Role: role}
	rand.Read(g.Random[:])
	return record.ControlBody{Type: record.GrantType, Under: under, Grant: g}
}

// adopt names a space that the store has just made and sets it going.
func (r *Replica) adopt(ctx context.Context, rows *store.Space, name string) (*Space, error) {
	if err := r.store.SetFact(ctx, nameFact(rows.ID()), []byte(name)); err != nil {
		return nil, fmt.Errorf("anabranch: name space: %w", err)
	}
	r.mu.Lock()
	_, known := r.spaces[rows.ID()]
	r.mu.Unlock()
	s, err := r.attach(rows)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if !known {
		r.wg.Go(s.tending())
	}
	return s, nil
}

// attach makes the handle of a space in the store, or renews it with the
// keys and the name that are on disk now.
func (r *Replica) attach(rows *store.Space) (*Space, error) {
	authors, err := r.keys.authors(rows.ID())
	if err != nil {
		return nil, err
	}
	for _, a := range authors {
		rows.KeepAuthor(record.Public(a))
	}
	name, _, err := r.store.Fact(nameFact(rows.ID()))
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.spaces[rows.ID()]
	if s == nil {
		s = &Space{replica: r, rows: rows, texts: texts{kicks: make(chan struct{}, 1)}}
		s.blobs = newFetcher(s)
		r.spaces[rows.ID()] = s
	}
	s.authors, s.name = authors, string(name)
	return s, nil
}

func nameFact(id record.SpaceID) string { return "name/" + id.String() }

// checkName accepts a local name for a new space.
func (r *Replica) checkName(name string) error {
	switch {
	case name == "" || len(name) > maxNameBytes:
		return fmt.Errorf("%w: a space's name has 1 to %d bytes", ErrName, maxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: a space's name is valid UTF-8", ErrName)
	}
	for _, c := range name {
		if c < 0x20 || c == 0x7F || c == '/' {
			return fmt.Errorf("%w: a space's name has no %q", ErrName, c)
		}
	}
	for _, s := range r.all() {
		if s.Name() == name {
			return fmt.Errorf("%w: %q", ErrNameTaken, name)
		}
	}
	return nil
}

// ID names the space everywhere: the hash of its genesis.
func (s *Space) ID() record.SpaceID { return s.rows.ID() }

// Name is this replica's own name for the space. No peer ever sees it.
func (s *Space) Name() string {
	s.replica.mu.Lock()
	defer s.replica.mu.Unlock()
	return s.name
}

// Author is the key this device writes under here.
func (s *Space) Author() record.Key {
	if key := s.author(); key != nil {
		return record.Public(key)
	}
	return record.Key{}
}

// keys are this device's author keys here, oldest first.
func (s *Space) keys() []ed25519.PrivateKey {
	s.replica.mu.Lock()
	defer s.replica.mu.Unlock()
	return slices.Clone(s.authors)
}

func (s *Space) author() ed25519.PrivateKey {
	s.replica.mu.Lock()
	defer s.replica.mu.Unlock()
	if len(s.authors) == 0 {
		return nil
	}
	return s.authors[len(s.authors)-1]
}

// tending is tend from now on. When it returns, content can be asked for.
func (s *Space) tending() func() {
	if s.replica.host != nil {
		s.blobs.begin()
	}
	var told uint64 // the engine hears of what comes after this version
	if view, err := s.rows.Snapshot(); err == nil {
		told = view.Version()
		view.Close()
	}
	return func() { s.tend(told) }
}

// tend tells the engine what has changed here, and sweeps what has become superfluous here, lazily: at 256 kills, or
// when the oldest has waited for SweepDelay; Close sweeps the rest.
func (s *Space) tend(told uint64) {
	r := s.replica
	r.wg.Go(s.tendTexts)
	var waiting time.Time // since when kills wait; zero if none do
	floor := 0            // kills that the last sweep could not write, of a sealed key
	for {
		changed := s.rows.Changed()
		if s.rows.Dropped() {
			return
		}
		n := s.rows.PendingKills()
		switch {
		case n == 0:
			waiting, floor = time.Time{}, 0
		case waiting.IsZero():
			waiting = time.Now()
		}
		lazily := r.options.SweepDelay >= 0
		due := n > floor && time.Since(waiting) >= r.options.SweepDelay
		if lazily && (n >= floor+sweepBacklog || due) {
			if err := s.sweep(r.ctx); err != nil && r.ctx.Err() == nil {
				r.log.Warn("sweep failed", "space", s.ID(), "err", err)
			}
			waiting = time.Now()
			n = s.rows.PendingKills()
			floor = n
		}
		told = s.changes(told)
		var timer <-chan time.Time
		if lazily && n > floor {
			timer = time.After(max(time.Second, r.options.SweepDelay-time.Since(waiting)))
		}
		select {
		case <-changed:
		case <-timer:
		case <-r.ctx.Done():
			return
		}
	}
}

// sweep writes what waits to be swept, under each key of this device: one
// that was invited again keeps the records of its earlier keys.
func (s *Space) sweep(ctx context.Context) error {
	if s.rows.PendingKills() == 0 {
		return nil
	}
	for _, key := range s.keys() {
		_, err := s.rows.Sweep(ctx, key, s.replica.now())
		if err != nil && !errors.Is(err, ErrNotAuthorised) { // sealed meanwhile: what waits stays as it is
			return err
		}
	}
	return nil
}
