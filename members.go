package anabranch

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

// Member is one grant that stands: a device with a role in an area.
type Member struct {
	Device    record.Key
	Author    record.Key
	Role      record.Role
	Area      string
	Grant     record.ID
	InvitedBy record.Key // the inviter's device; zero for a root key
	Since     time.Time
	Revoked   bool
	Self      bool
	Label     string // what the device is called in the space: show it quoted
	Petname   string // this replica's own name for it
}

// Members are all grants that stand, oldest first, revoked ones among them.
func (s *Space) Members(ctx context.Context) ([]Member, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	grants := view.State().Members()
	called := labels(view.State())
	devices := map[record.ID]record.Key{}
	for _, g := range grants {
		devices[g.ID] = g.Device
	}
	out := make([]Member, len(grants))
	for i, g := range grants {
		out[i] = Member{
			Device:    g.Device,
			Author:    g.Author,
			Role:      g.Role,
			Area:      g.Area,
			Grant:     g.ID,
			InvitedBy: devices[g.Under],
			Since:     time.UnixMicro(int64(g.Time)).UTC(),
			Revoked:   g.Sealed,
			Self:      g.Device == s.replica.Device(),
			Label:     called[g.Device],
			Petname:   s.replica.Petname(g.Device),
		}
	}
	return out, nil
}

// RevokeOptions configures Revoke.
type RevokeOptions struct {
	// RootKey signs instead of this device: needed for the first device and
	// for whoever does not stand below this one.
	RootKey *RecoveryKey
	// AlsoInvited withdraws the grants of everybody that the device invited,
	// and of everybody they invited, too.
	AlsoInvited bool
	// Nothing lists nothing: all that the device ever wrote leaves the set.
	Nothing bool
}

// Revocation says what Revoke did.
type Revocation struct {
	Devices []record.Key // whose grants were withdrawn
	Grants  int          // how many
	Listed  int          // records, sweeps, grants and seals of theirs that stay
}

// Revoke withdraws every grant of a device: what is listed of its records
// stays, by default everything of it that is held here, and whatever else it
// wrote or will write is in nobody's set, however it is dated. Other members
// that have it refuse the device from then on.
//
// Errors worth matching: ErrNotFound, *NotAncestorError.
func (s *Space) Revoke(ctx context.Context, device record.Key, o RevokeOptions) (Revocation, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return Revocation{}, err
	}
	defer view.Close()
	tree := grantTree(view.State())
	targets := tree.of(device)
	if len(targets) == 0 {
		return Revocation{}, fmt.Errorf("%w: no grant of device %v that still holds", ErrNotFound, short(device))
	}
	if o.AlsoInvited {
		targets = tree.withDescendants(targets)
	}
	out := Revocation{Grants: len(targets)}
	var orders []sealOrder
	for _, g := range targets {
		order := sealOrder{area: "/", target: g.ID}
		if o.RootKey != nil {
			order.key = o.RootKey.key
			if !view.State().IsRoot(o.RootKey.Public()) {
				return Revocation{}, fmt.Errorf("%w: that recovery key is of another space", ErrNotAuthorised)
			}
		} else {
			own, ok := tree.ancestorOf(g, s.Author())
			if !ok {
				return Revocation{}, &NotAncestorError{Device: g.Device, Above: tree.devicesAbove(g)}
			}
			order.key, order.under, order.area = s.author(), own.ID, own.Area
		}
		var list []record.Prefix
		if !o.Nothing {
			if list, err = standing(ctx, view, g.Author); err != nil {
				return Revocation{}, err
			}
		}
		order.bodies = sealParts(order.under, g.ID, list)
		orders = append(orders, order)
		out.Listed += len(list)
		if !slices.Contains(out.Devices, g.Device) {
			out.Devices = append(out.Devices, g.Device)
		}
	}
	for i, order := range orders {
		if _, err := s.rows.Issue(ctx, order.key, s.replica.now(), order.area, order.bodies...); err != nil {
			out.Grants = i
			return out, fmt.Errorf("anabranch: revoke %v: %d of %d grants are withdrawn: %w", short(device), i, len(orders), err)
		}
	}
	if !o.Nothing {
		n, err := s.listOverlooked(ctx, view.Version(), orders)
		out.Listed += n
		if err != nil {
			return out, fmt.Errorf("anabranch: revoke %v: it is revoked, but records that arrived meanwhile are not listed: %w", short(device), err)
		}
	}
	s.replica.refreshReaders()
	return out, nil
}

// listOverlooked lists, in further seals, what became a member after the
// lists were made and was put out by the seals: lists of one grant join.
func (s *Space) listOverlooked(ctx context.Context, after uint64, orders []sealOrder) (int, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer view.Close()
	var list []record.Prefix
	for a, err := range view.Since(after) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if a.Record == nil && a.Why == space.Held {
			list = append(list, a.Left.Prefix())
		}
	}
	if len(list) == 0 {
		return 0, nil
	}
	for _, order := range orders {
		bodies := sealParts(order.under, order.target, list)
		if _, err := s.rows.Issue(ctx, order.key, s.replica.now(), order.area, bodies...); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

type sealOrder struct {
	key    ed25519.PrivateKey
	under  record.ID
	target record.ID
	area   string
	bodies []record.ControlBody
}

// sealParts spells a seal in as many parts as its list needs.
func sealParts(under, target record.ID, list []record.Prefix) []record.ControlBody {
	slices.SortFunc(list, func(a, b record.Prefix) int { return bytes.Compare(a[:], b[:]) })
	list = slices.Compact(list)
	parts := max(1, (len(list)+record.MaxSealList-1)/record.MaxSealList)
	var id [16]byte
	rand.Read(id[:])
	bodies := make([]record.ControlBody, parts)
	for i := range bodies {
		part := list[min(len(list), i*record.MaxSealList):min(len(list), (i+1)*record.MaxSealList)]
		bodies[i] = record.ControlBody{
			Type:  record.SealType,
			Under: under,
			Seal:  &record.Seal{Target: target, SealID: id, Part: uint16(i + 1), Parts: uint16(parts), List: part},
		}
	}
	return bodies
}

// standing lists every member record of an author: its data, sweeps, grants
// and seals.
func standing(ctx context.Context, view *store.Snapshot, author record.Key) ([]record.Prefix, error) {
	var list []record.Prefix
	for v, err := range view.List(store.Query{Authors: []record.Key{author}, Order: store.Oldest, Everything: true}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v.ID.Prefix())
	}
	return list, nil
}

// grants is the tree of grants that stand.
type grants struct {
	all  []space.GrantInfo
	byID map[record.ID]space.GrantInfo
}

func grantTree(state *space.State) grants {
	t := grants{all: state.Members(), byID: map[record.ID]space.GrantInfo{}}
	for _, g := range t.all {
		t.byID[g.ID] = g
	}
	return t
}

// of lists the grants of a device that still hold.
func (t grants) of(device record.Key) []space.GrantInfo {
	var out []space.GrantInfo
	for _, g := range t.all {
		if g.Device == device && !g.Sealed {
			out = append(out, g)
		}
	}
	return out
}

// ancestorOf finds an unsealed admin grant of an author that is a proper
// ancestor of g.
func (t grants) ancestorOf(g space.GrantInfo, author record.Key) (space.GrantInfo, bool) {
	for under := g.Under; under != (record.ID{}); {
		up, ok := t.byID[under]
		if !ok {
			break
		}
		if up.Author == author && !up.Sealed && up.Role == record.Admin {
			return up, true
		}
		under = up.Under
	}
	return space.GrantInfo{}, false
}

func (t grants) devicesAbove(g space.GrantInfo) []record.Key {
	var out []record.Key
	for under := g.Under; under != (record.ID{}); {
		up, ok := t.byID[under]
		if !ok {
			break
		}
		if !up.Sealed {
			out = append(out, up.Device)
		}
		under = up.Under
	}
	return out
}

// withDescendants adds every unsealed grant issued, directly or not, under
// the given ones. Parents come before children in t.all by no promise, so
// it repeats until nothing is added.
func (t grants) withDescendants(roots []space.GrantInfo) []space.GrantInfo {
	in := map[record.ID]bool{}
	for _, g := range roots {
		in[g.ID] = true
	}
	for added := true; added; {
		added = false
		for _, g := range t.all {
			if !in[g.ID] && in[g.Under] {
				in[g.ID], added = true, true
			}
		}
	}
	out := slices.Clone(roots)
	for _, g := range t.all {
		if in[g.ID] && !g.Sealed && !slices.ContainsFunc(roots, func(r space.GrantInfo) bool { return r.ID == g.ID }) {
			out = append(out, g)
		}
	}
	return out
}

// issuer picks an unsealed admin grant of this device's author that covers
// an area.
func (s *Space) issuer(area string) (space.GrantInfo, error) {
	view, err := s.rows.Snapshot()
	if err != nil {
		return space.GrantInfo{}, err
	}
	defer view.Close()
	for _, g := range view.State().GrantsOf(s.Author()) {
		if !g.Sealed && g.Role == record.Admin && record.Covers(g.Area, area) {
			return g, nil
		}
	}
	return space.GrantInfo{}, fmt.Errorf("%w: inviting to %q needs an admin's grant that covers it", ErrNotAuthorised, area)
}
