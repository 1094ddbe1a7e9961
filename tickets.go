package anabranch

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"anabranch/record"
)

// invitation is what the inviter remembers of a ticket. Only the inviter
// completes it, so that single use is exact.
type invitation struct {
	Space   string `json:"space"`
	Secret  string `json:"secret"`
	Role    uint8  `json:"role"`
	Area    string `json:"area"`
	Expires int64  `json:"expires"` // seconds since 1970
	// Set when it has been used; only the same device with the same author
	// key is answered again, with the same grant.
	Device string `json:"device,omitempty"`
	Author string `json:"author,omitempty"`
}

// invitations are the tickets of this replica, a file each in a folder below
// the state folder. They are not in the store, because a copy of a store
// would carry their secrets, and a restored one would know used tickets as
// unused.
type invitations struct {
	dir  string
	keys *keyring // locks the files when it is locked

	mu  sync.Mutex // guards all
	all map[[8]byte]invitation
}

// ticketsFolder is below the state folder.
const ticketsFolder = "tickets"

// keepExpired is how long an expired ticket can still be told from an
// unknown one.
const keepExpired = 30 * 24 * time.Hour

func openInvitations(keys *keyring, now time.Time) (*invitations, error) {
	b := &invitations{dir: filepath.Join(keys.dir, ticketsFolder), keys: keys, all: map[[8]byte]invitation{}}
	if err := makePrivate(b.dir); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		id, err := hex.DecodeString(name)
		if !ok || err != nil || len(id) != 8 {
			continue
		}
		content, err := keys.readSecret(filepath.Join(b.dir, f.Name()))
		if err != nil {
			return nil, err
		}
		var inv invitation
		if err := json.Unmarshal(content, &inv); err != nil {
			return nil, fmt.Errorf("ticket %s: %w", f.Name(), err)
		}
		if now.Unix() > inv.Expires+int64(keepExpired/time.Second) {
			if err := os.Remove(filepath.Join(b.dir, f.Name())); err != nil {
				return nil, err
			}
			continue
		}
		b.all[[8]byte(id)] = inv
	}
	return b, nil
}

func (b *invitations) get(id [8]byte) (invitation, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	inv, ok := b.all[id]
	return inv, ok
}

// put keeps a ticket, durably: it is on disk before it is handed out, and
// marked as used before its grant is.
func (b *invitations) put(id [8]byte, inv invitation) error {
	content, err := json.Marshal(inv)
	if err != nil {
		return err
	}
	if err := b.keys.writeSecret(filepath.Join(b.dir, hex.EncodeToString(id[:])+".json"), content); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[id] = inv
	return nil
}

// drop withdraws a ticket.
func (b *invitations) drop(id [8]byte) error {
	b.mu.Lock()
	delete(b.all, id)
	b.mu.Unlock()
	err := os.Remove(filepath.Join(b.dir, hex.EncodeToString(id[:])+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// dropSpace withdraws every ticket to a space.
func (b *invitations) dropSpace(id record.SpaceID) error {
	b.mu.Lock()
	var of [][8]byte
	for ticket, inv := range b.all {
		if inv.Space == id.String() {
			of = append(of, ticket)
		}
	}
	b.mu.Unlock()
	for _, ticket := range of {
		if err := b.drop(ticket); err != nil {
			return err
		}
	}
	return nil
}

// admit reports whether a device may try to join: anybody while a ticket is
// open, and after that who used one, whose answer may have been lost.
func (b *invitations) admit(device record.Key, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, inv := range b.all {
		if now.Unix() < inv.Expires && (inv.Device == "" || inv.Device == device.String()) {
			return true
		}
	}
	return false
}
