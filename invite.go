package anabranch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
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
	for _, a := range o.Addrs {
		if _, err := netip.ParseAddrPort(a); err != nil {
			return Ticket{}, fmt.Errorf("anabranch: invite: address %q is not of the form ip:port", a)
		}
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
	err := r.tickets.put(t.id(), invitation{
		Space:   s.ID().String(),
		Secret:  hex.EncodeToString(t.secret[:]),
		Role:    uint8(o.Role),
		Area:    o.Area,
		Expires: t.Expires.Unix(),
	})
	if err != nil {
		return Ticket{}, fmt.Errorf("anabranch: invite: %w", err)
	}
	return t, nil
}

// Withdraw makes a ticket of this replica worthless. A device that has used
// it stays a member: see Revoke.
func (r *Replica) Withdraw(t Ticket) error {
	if err := r.tickets.drop(t.id()); err != nil {
		return fmt.Errorf("anabranch: withdraw ticket: %w", err)
	}
	return nil
}
