package anabranch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"anabranch/record"
)

// Ticket admits one device to one space, once. It names the inviter and
// where to find it, and carries a secret; it does not name the space, so
// that a ticket which falls into wrong hands after use tells nothing.
//
//	version 1 | device key 32 | secret 16 | expiry 8 (seconds since 1970)
//	| n 1 (0-4) | n x (family 1 (4 or 6) | address 4 or 16 | port 2) | checksum 4
//
// As text: "anabranch-ticket-" and base32.
type Ticket struct {
	Inviter record.Key
	Expires time.Time
	Addrs   []string // "ip:port"
	secret  [16]byte
}

const (
	ticketPrefix  = "anabranch-ticket-"
	ticketVersion = 1
	maxTicketText = 400
)

// String is the ticket as text. It is a secret until it is used.
func (t Ticket) String() string { return ticketPrefix + base32Text.EncodeToString(t.encode()) }

func (t Ticket) encode() []byte {
	b := append([]byte{ticketVersion}, t.Inviter[:]...)
	b = append(b, t.secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.Unix()))
	return withChecksum(append(b, t.encodeAddrs()...))
}

// encodeAddrs is a count and the first few addresses, as in the ticket.
func (t Ticket) encodeAddrs() []byte {
	out := []byte{0}
	for _, a := range t.Addrs {
		ap, err := netip.ParseAddrPort(a)
		if err != nil || out[0] == maxTicketAddrs {
			continue
		}
		ip := ap.Addr().Unmap()
		family := byte(6)
		if ip.Is4() {
			family = 4
		}
		out = append(out, family)
		out = append(out, ip.AsSlice()...)
		out = binary.BigEndian.AppendUint16(out, ap.Port())
		out[0]++
	}
	return out
}

// ParseTicket reads a ticket's text, spaces and line ends ignored. Errors
// wrap ErrTicket.
func ParseTicket(text string) (Ticket, error) {
	text = strings.ToLower(strings.Join(strings.Fields(text), ""))
	if len(text) > maxTicketText {
		return Ticket{}, fmt.Errorf("%w: %d characters are too many for one", ErrTicket, len(text))
	}
	rest, ok := strings.CutPrefix(text, ticketPrefix)
	if !ok {
		return Ticket{}, fmt.Errorf("%w: it does not begin with %q", ErrTicket, ticketPrefix)
	}
	raw, err := base32Text.DecodeString(rest)
	if err != nil {
		return Ticket{}, fmt.Errorf("%w: a character does not belong in one", ErrTicket)
	}
	b, ok := cutChecksum(raw)
	if !ok {
		return Ticket{}, fmt.Errorf("%w: incomplete or altered, its checksum does not match", ErrTicket)
	}
	t, err := decodeTicket(b)
	if err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	if t.String() != text {
		return Ticket{}, fmt.Errorf("%w: not the one spelling of its content", ErrTicket)
	}
	return t, nil
}

func decodeTicket(b []byte) (Ticket, error) {
	const fixed = 1 + 32 + 16 + 8 + 1
	if len(b) < fixed {
		return Ticket{}, errors.New("cut off")
	}
	if b[0] != ticketVersion {
		return Ticket{}, fmt.Errorf("%w: version %d, this program reads %d", ErrIncompatible, b[0], ticketVersion)
	}
	t := Ticket{Inviter: record.Key(b[1:33]), secret: [16]byte(b[33:49])}
	seconds := binary.BigEndian.Uint64(b[49:57])
	if seconds > 1<<40 {
		return Ticket{}, fmt.Errorf("expiry %d is no time", seconds)
	}
	t.Expires = time.Unix(int64(seconds), 0).UTC()
	var err error
	t.Addrs, err = decodeAddrs(b[57:])
	return t, err
}

func decodeAddrs(b []byte) ([]string, error) {
	if len(b) < 1 {
		return nil, errors.New("cut off before the addresses")
	}
	n := int(b[0])
	if n > maxTicketAddrs {
		return nil, fmt.Errorf("%d addresses, at most %d", n, maxTicketAddrs)
	}
	b = b[1:]
	var addrs []string
	for range n {
		if len(b) < 1 {
			return nil, errors.New("cut off in an address")
		}
		size := 4
		if b[0] == 6 {
			size = 16
		} else if b[0] != 4 {
			return nil, fmt.Errorf("address family %d", b[0])
		}
		if len(b) < 1+size+2 {
			return nil, errors.New("cut off in an address")
		}
		ip, _ := netip.AddrFromSlice(b[1 : 1+size])
		addrs = append(addrs, netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[1+size:])).String())
		b = b[1+size+2:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes too many", len(b))
	}
	return addrs, nil
}

// id names a ticket to its inviter without giving the secret away.
func (t Ticket) id() [8]byte {
	h := sha256.Sum256(append([]byte("anabranch ticket id 1"), t.secret[:]...))
	return [8]byte(h[:8])
}

// mac proves knowledge of the ticket's secret for one purpose.
func (t Ticket) mac(label string, parts ...[]byte) [16]byte {
	h := hmac.New(sha256.New, t.secret[:])
	h.Write([]byte(label))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		h.Write(p)
	}
	return [16]byte(h.Sum(nil)[:16])
}
