package anabranch

import (
	"context"
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"anabranch/internal/mesh"
	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

// The join protocol: one question and one answer on a stream of its own,
// inside the encrypted link between the two devices.
//
//	ask     version 1 | ticket id 8 | author key 32 | mac 16 | name length 1 | name | addresses
//	answer  status 1 | ... on refusal nothing more
//	        mac 16 | genesis length 2 | genesis | n 1 | n x (length 4 | record)
//
// The records are the grants from the root down to the new one. Both macs
// are keyed with the ticket's secret over both devices, so neither side can
// be stood in for, and the author key cannot be swapped on the way.
const (
	joinProtocol = "/anabranch/join/1"
	joinVersion  = 1
	maxChain     = 64 // grants from the root to a new member

	joinOK      = 0
	joinUnknown = 1
	joinExpired = 2
	joinUsed    = 3
	joinFailed  = 4
)

var joinReasons = map[byte]string{
	joinUnknown: "the inviter does not know this ticket; it may have been altered, or made by another device",
	joinExpired: "it has expired; ask for a new one",
	joinUsed:    "another device has used it; ask for a new one",
	joinFailed:  "the inviter could not complete it just now; try again, or ask for a new one",
}

// Join uses a ticket: it asks the inviter, becomes a member, and gives the
// space a local name ("" makes one from its ID). The records follow by sessions, which Join does not
// wait for. A join whose answer was lost can be repeated.
//
// Errors worth matching: ErrTicket, ErrUnreachable, ErrNameTaken,
// *UnknownRuleError.
func (r *Replica) Join(ctx context.Context, t Ticket, name string) (*Space, error) {
	if r.host == nil {
		return nil, ErrOffline
	}
	if name != "" {
		if err := r.checkName(name); err != nil {
			return nil, err
		}
	}
	if t.Inviter == r.Device() {
		return nil, fmt.Errorf("%w: this device made it; it is for another one", ErrTicket)
	}
	if !r.options.Clock().Before(t.Expires) {
		return nil, fmt.Errorf("%w: %s", ErrTicket, joinReasons[joinExpired])
	}
	defer r.callStranger(t.Inviter)() // until its grant is known here
	author, err := r.keys.joining(t.secret[:])
	if err != nil {
		return nil, fmt.Errorf("anabranch: join: %w", err)
	}
	genesis, chain, err := r.askToJoin(ctx, t, record.Public(author))
	if err != nil {
		return nil, fmt.Errorf("anabranch: join: %w", named(err))
	}
	r.making.Lock()
	defer r.making.Unlock()
	ctx = context.WithoutCancel(ctx) // the inviter has let us in: it is done whole
	id := genesis.ID()
	if err := r.keys.addAuthor(id, author); err != nil {
		return nil, fmt.Errorf("anabranch: join: %w", err)
	}
	rows, err := r.store.Create(ctx, genesis.Encode())
	if err != nil {
		return nil, fmt.Errorf("anabranch: join: %w", err)
	}
	if _, err := rows.Commit(ctx, chain); err != nil {
		return nil, fmt.Errorf("anabranch: join: %w", err)
	}
	if err := r.rememberAddrs(ctx, t.Inviter, t.Addrs); err != nil {
		return nil, fmt.Errorf("anabranch: join: %w", err)
	}
	if s, err := r.Space(id.String()); err == nil && s.Name() != "" {
		name = s.Name() // invited again to a space held here: it keeps its name
	}
	if name == "" || r.checkName(name) != nil && !r.isCalledSpace(id, name) {
		name = "space-" + id.String()[:8] // none given, or taken while we asked
	}
	s, err := r.adopt(ctx, rows, name)
	if err != nil {
		return nil, err
	}
	if err := r.keys.joined(t.secret[:]); err != nil {
		r.log.Warn("join: key file left behind", "err", err)
	}
	r.refreshReaders()
	r.wakePeers()
	return s, nil
}

// isCalledSpace reports whether a space here has a name already.
func (r *Replica) isCalledSpace(id record.SpaceID, name string) bool {
	s, err := r.Space(name)
	return err == nil && s.ID() == id
}

func (r *Replica) askToJoin(ctx context.Context, t Ticket, author record.Key) (*space.Genesis, []*Record, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	stream, err := r.host.Open(ctx, mesh.Key(t.Inviter), t.Addrs, joinProtocol)
	if errors.Is(err, mesh.ErrRefused) {
		// With no ticket open, it opens its door to nobody.
		return nil, nil, fmt.Errorf("%w: the inviter has no open ticket for this device: it has been used, has expired, or was withdrawn", ErrTicket)
	}
	if err != nil {
		return nil, nil, err
	}
	defer stream.Close()
	deadline, _ := ctx.Deadline()
	if err := stream.SetDeadline(deadline); err != nil {
		return nil, nil, err
	}
	self := r.Device()
	id := t.id()
	mac := t.mac("anabranch join 1", self[:], t.Inviter[:], author[:])
	ask := append([]byte{joinVersion}, id[:]...)
	ask = append(ask, author[:]...)
	ask = append(ask, mac[:]...)
	label := r.ownLabel()
	ask = append(ask, byte(len(label)))
	ask = append(ask, label...)
	ask = append(ask, Ticket{Addrs: r.Addrs()}.encodeAddrs()...)
	if err := stream.WriteFrame(ask); err != nil {
		return nil, nil, err
	}
	answer, err := stream.ReadFrame()
	if err != nil {
		return nil, nil, fmt.Errorf("no answer from the inviter, who may have no open ticket: %w", err)
	}
	if len(answer) == 0 || answer[0] != joinOK {
		reason := "no reason given"
		if len(answer) > 0 && joinReasons[answer[0]] != "" {
			reason = joinReasons[answer[0]]
		}
		return nil, nil, fmt.Errorf("%w: %s", ErrTicket, reason)
	}
	genesis, chain, err := r.readWelcome(t, author, answer[1:])
	if err != nil {
		return nil, nil, fmt.Errorf("the inviter's answer: %w", err)
	}
	return genesis, chain, nil
}

// readWelcome checks everything that the inviter says: its mac, the genesis,
// and that the grants make this device a member.
func (r *Replica) readWelcome(t Ticket, author record.Key, b []byte) (*space.Genesis, []*Record, error) {
	if len(b) < 16 {
		return nil, nil, errors.New("cut off")
	}
	self := r.Device()
	want := t.mac("anabranch welcome 1", self[:], t.Inviter[:], author[:], b[16:])
	if !hmac.Equal(want[:], b[:16]) {
		return nil, nil, errors.New("its mac does not match the ticket")
	}
	b = b[16:]
	if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
		return nil, nil, errors.New("cut off in the genesis")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	genesis, err := space.DecodeGenesis(b[2:n])
	if err != nil {
		return nil, nil, err
	}
	b = b[n:]
	if len(b) < 1 || b[0] > maxChain {
		return nil, nil, errors.New("cut off before the grants, or too many of them")
	}
	count := int(b[0])
	b = b[1:]
	state := space.NewState(genesis.Roots)
	var chain []*Record
	for range count {
		if len(b) < 4 || uint64(len(b)) < 4+uint64(binary.BigEndian.Uint32(b)) {
			return nil, nil, errors.New("cut off in a grant")
		}
		n := 4 + int(binary.BigEndian.Uint32(b))
		v, err := record.Verify(genesis.ID(), b[4:n])
		if err != nil {
			return nil, nil, err
		}
		if v.Kind != record.Control {
			return nil, nil, fmt.Errorf("a %v where a grant belongs", v.Kind)
		}
		chain = append(chain, v)
		b = b[n:]
	}
	if len(b) != 0 {
		return nil, nil, fmt.Errorf("%d bytes too many", len(b))
	}
	state.Insert(chain...)
	if !state.MayRead(self) || !state.MayRead(t.Inviter) {
		return nil, nil, errors.New("its grants make no member of this device, or none of the inviter")
	}
	return genesis, chain, nil
}

// serveJoin answers a device that comes with a ticket. An unknown ticket and
// a wrong mac are answered alike.
func (r *Replica) serveJoin(stream mesh.Stream, device record.Key) {
	defer stream.Close()
	ctx, cancel := context.WithTimeout(r.ctx, joinTimeout)
	defer cancel()
	if err := stream.SetDeadline(time.Now().Add(joinTimeout)); err != nil {
		stream.Reset()
		return
	}
	ask, err := stream.ReadFrame()
	if err != nil {
		stream.Reset()
		return
	}
	status, welcome, err := r.answerJoin(ctx, device, stream.RemoteAddr(), ask)
	if err != nil {
		r.log.Warn("join not completed", "peer", device, "err", err)
	}
	if err := stream.WriteFrame(append([]byte{status}, welcome...)); err != nil {
		r.log.Info("join: answer not delivered, the device may ask again", "err", err)
	}
	if err := stream.CloseWrite(); err == nil {
		stream.ReadFrame() // until the peer has read and closed, or the deadline
	}
	r.wakePeers()
}

func (r *Replica) answerJoin(ctx context.Context, device record.Key, remote string, ask []byte) (byte, []byte, error) {
	const fixed = 1 + 8 + 32 + 16
	if len(ask) < fixed+1 || ask[0] != joinVersion || len(ask) < fixed+1+int(ask[fixed]) {
		return joinUnknown, nil, errors.New("malformed question")
	}
	author := record.Key(ask[9:41])
	label := string(ask[fixed+1 : fixed+1+int(ask[fixed])])
	addrs, err := decodeAddrs(ask[fixed+1+len(label):])
	if err != nil {
		return joinUnknown, nil, err
	}
	// One join at a time: use of a ticket is decided and written once.
	r.joinMu.Lock()
	defer r.joinMu.Unlock()
	ticket := [8]byte(ask[1:9])
	inv, known := r.tickets.get(ticket)
	if !known {
		return joinUnknown, nil, nil
	}
	secret, err := hex.DecodeString(inv.Secret)
	if err != nil || len(secret) != 16 {
		return joinUnknown, nil, errors.New("invitation on disk is damaged")
	}
	self := r.Device()
	t := Ticket{Inviter: self, secret: [16]byte(secret)}
	want := t.mac("anabranch join 1", device[:], self[:], author[:])
	if !hmac.Equal(want[:], ask[41:fixed]) {
		return joinUnknown, nil, nil
	}
	if inv.Device != "" && (inv.Device != device.String() || inv.Author != author.String()) {
		return joinUsed, nil, nil
	}
	if inv.Device == "" && r.options.Clock().Unix() >= inv.Expires {
		return joinExpired, nil, nil
	}
	id, err := record.ParseSpaceID(inv.Space)
	if err != nil {
		return joinFailed, nil, err
	}
	rows, ok := r.store.Space(id)
	if !ok {
		return joinFailed, nil, errors.New("the invitation's space is gone")
	}
	s, err := r.Space(id.String())
	if err != nil {
		return joinFailed, nil, err
	}
	if inv.Device == "" {
		if _, err := s.issuer(inv.Area); err != nil {
			return joinFailed, nil, err
		}
		inv.Device, inv.Author = device.String(), author.String()
		if err := r.tickets.put(ticket, inv); err != nil {
			return joinFailed, nil, err
		}
	}
	granted, err := s.grant(ctx, inv, author, device, label)
	if err != nil {
		return joinFailed, nil, err
	}
	if granted {
		defer r.options.OnEvent(Event{Kind: Joined, Device: device, Space: s, Addr: remote, Words: t.Words(device)})
	}
	r.refreshReaders() // before the answer: the device may call at once
	if info, ok := r.connection(device); ok && info.Transport != mesh.TCP {
		addrs = append(addrs, remote) // a TCP caller's port is not where it listens
	}
	if len(addrs) > 0 {
		if err := r.rememberAddrs(ctx, device, addrs); err != nil {
			r.log.Warn("join: address not remembered", "err", err)
		}
	}
	body, err := welcome(rows, author, device)
	if err != nil {
		return joinFailed, nil, err
	}
	mac := t.mac("anabranch welcome 1", device[:], self[:], author[:], body)
	return joinOK, append(mac[:], body...), nil
}

// grant gives an invited device what its ticket says, and its name, unless
// an earlier answer to the same device did.
func (s *Space) grant(ctx context.Context, inv invitation, author, device record.Key, label string) (bool, error) {
	view, err := s.rows.Snapshot()
	if err != nil {
		return false, err
	}
	known := len(view.State().GrantsOf(author)) > 0
	view.Close()
	if known {
		return false, nil
	}
	issuer, err := s.issuer(inv.Area)
	if err != nil {
		return false, err
	}
	bodies := []record.ControlBody{newGrant(issuer.ID, author, device, record.Role(inv.Role))}
	if checkLabel(label) == nil {
		bodies = append(bodies, newLabel(issuer.ID, device, label))
	}
	_, err = s.rows.Issue(ctx, s.author(), s.replica.now(), inv.Area, bodies...)
	return err == nil, err
}

// welcome is the genesis and the grants from the root down to the newest one
// of an author, and the inviter's own among them.
func welcome(rows *store.Space, author, device record.Key) ([]byte, error) {
	view, err := rows.Snapshot()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	tree := grantTree(view.State())
	var chain []*Record
	for _, g := range tree.all {
		if g.Author == author && g.Device == device && !g.Sealed {
			chain = append(chain, g.Record)
			for under := g.Under; under != (record.ID{}); {
				up, ok := tree.byID[under]
				if !ok {
					return nil, errors.New("a grant above is missing")
				}
				chain = append(chain, up.Record)
				under = up.Under
			}
			break
		}
	}
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("%d grants from the root to the new member, 1 to %d fit", len(chain), maxChain)
	}
	slices.Reverse(chain)
	genesis := rows.Genesis().Encode()
	b := binary.BigEndian.AppendUint16(nil, uint16(len(genesis)))
	b = append(b, genesis...)
	b = append(b, byte(len(chain)))
	for _, v := range chain {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v.Bytes)))
		b = append(b, v.Bytes...)
	}
	return b, nil
}
