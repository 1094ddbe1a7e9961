package anabranch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"anabranch/record"
)

// InviteOptions configures Invite. The zero value invites a writer to
// everything, for a day.
type InviteOptions struct {
	Role record.Role   // default Writer
	Area string        // default "/"
	TTL  time.Duration // default 24 h
	// Addrs are the addresses put into the ticket. Default: those this
	// replica listens on, or is known to listen on when it runs.
	Addrs []string
}

// invitation is what the inviter remembers of a ticket, as a fact in its
// store. Only the inviter completes it, so that single use is exact.
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

const invitePrefix = "invite/"

func inviteFact(id [8]byte) string { return invitePrefix + hex.EncodeToString(id[:]) }

// Invite makes a single-use ticket to this space. Whoever joins with it must
// reach this replica, and no other, while it is open.
//
// ErrNotAuthorised unless this device is an admin of the area.
func (s *Space) Invite(ctx context.Context, o InviteOptions) (Ticket, error) {
	if o.Role == 0 {
		o.Role = record.Writer
	}
	if o.Area == "" {
		o.Area = "/"
	}
	if o.TTL == 0 {
		o.TTL = 24 * time.Hour
	}
	switch {
	case o.Role > record.Admin:
		return Ticket{}, fmt.Errorf("anabranch: invite: no such role %d", o.Role)
	case o.TTL < 0 || o.TTL > 366*24*time.Hour:
		return Ticket{}, fmt.Errorf("anabranch: invite: a ticket lives for at most a year, not %v", o.TTL)
	}
	if err := record.CheckPath(o.Area); err != nil {
		return Ticket{}, fmt.Errorf("anabranch: invite: area: %w", err)
	}
	if _, err := s.issuer(o.Area); err != nil {
		return Ticket{}, err
	}
	r := s.replica
	addrs := o.Addrs
	if len(addrs) == 0 {
		addrs = r.Addrs()
	}
	if len(addrs) == 0 {
		addrs = r.likelyAddrs()
	}
	t := Ticket{
		Inviter: r.Device(),
		Expires: r.options.Clock().Add(o.TTL).Truncate(time.Second).UTC(),
		Addrs:   addrs[:min(len(addrs), maxTicketAddrs)],
	}
	rand.Read(t.secret[:])
	fact, err := json.Marshal(invitation{
		Space:   s.ID().String(),
		Secret:  hex.EncodeToString(t.secret[:]),
		Role:    uint8(o.Role),
		Area:    o.Area,
		Expires: t.Expires.Unix(),
	})
	if err != nil {
		return Ticket{}, err
	}
	if err := r.store.SetFact(ctx, inviteFact(t.id()), fact); err != nil {
		return Ticket{}, fmt.Errorf("anabranch: invite: %w", err)
	}
	r.mu.Lock()
	r.inviting = max(r.inviting, t.Expires.Unix())
	r.mu.Unlock()
	return t, nil
}

// lastInvitation is when the last open ticket expires, in seconds since 1970.
// It forgets those that expired more than a month ago.
func (r *Replica) lastInvitation() int64 {
	facts, err := r.store.Facts(invitePrefix)
	if err != nil {
		return 0
	}
	now := r.options.Clock().Unix()
	var last int64
	for key, value := range facts {
		var inv invitation
		if json.Unmarshal(value, &inv) != nil {
			continue
		}
		// A used ticket stays open for its user, whose answer may be lost.
		last = max(last, inv.Expires)
		if now > inv.Expires+30*24*3600 {
			if err := r.store.SetFact(r.ctx, key, nil); err != nil {
				r.log.Warn("old invitation not forgotten", "err", err)
			}
		}
	}
	return last
}
