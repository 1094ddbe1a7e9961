package mesh

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Tag stands for one device in one group for one epoch: eight bytes that those
// who hold the group's secret can compute, and that tell others nothing. They
// are made by the caller.
type Tag [8]byte

// EpochSeconds is how long a tag is in use.
const EpochSeconds = 600

// EpochOf returns the number of the epoch at a time.
func EpochOf(t time.Time) int64 { return t.Unix() / EpochSeconds }

// Limits on discovery, ours.
const (
	maxTags      = 62                     // announced, and read from one packet
	announceEach = time.Minute            // unasked
	answerGap    = time.Second            // least time between two packets, as RFC 6762 section 6 has it
	answerDelay  = 20 * time.Millisecond  // least wait before an answer, so that
	answerSpread = 100 * time.Millisecond // not everyone answers at once
	foundAgain   = 30 * time.Second       // before the same peer at the same address is reported anew
	maxFound     = 256                    // remembered for that
	maxForeign   = 9000                   // bytes of anybody's packet (RFC 6762 section 17); ours have maxPacket
	perSource    = 10                     // packets of ours read from one address in a second
	maxSources   = 64                     // addresses listened to in a second
)

// asking is when the question is sent, counted from Discover or Refresh.
var asking = []time.Duration{0, time.Second, 3 * time.Second}

// DiscoverOptions configures Discover.
type DiscoverOptions struct {
	// Port is where this host listens; Addrs shows it. Required.
	Port uint16
	// Tags returns what to announce in an epoch: one tag for each group this
	// device is in. At most maxTags are sent, filled up with meaningless ones
	// to hide how many there are. Required.
	Tags func(epoch int64) []Tag
	// Match says whose tag was heard. It is asked for the current epoch and
	// for those before and after it, up to 3*maxTags times for each packet,
	// and must be a look-up. It does not know this device's own tags.
	// Required.
	Match func(tag Tag, epoch int64) (peer Key, ok bool)
	// Found is called with a peer and the "ip:port" it announced itself
	// from, one call at a time, at most once in 30 s for the same two. It
	// must not block. Anybody near can repeat what a peer announced: only a
	// connection proves who is there. Required.
	Found func(peer Key, addr string)
	// Conn carries the packets instead of multicast, for tests.
	Conn net.PacketConn
	// Loopback takes part on loopback interfaces too, for tests.
	Loopback bool
	// Logger defaults to discarding.
	Logger *slog.Logger
}

func (o *DiscoverOptions) validate() error {
	var errs []error
	if o.Port == 0 {
		errs = append(errs, errors.New("mesh: Port is missing"))
	}
	if o.Tags == nil || o.Match == nil || o.Found == nil {
		errs = append(errs, errors.New("mesh: Tags, Match and Found are required"))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(errs...)
}

// Discovery announces this device on the local networks and finds others
// there, by multicast DNS (RFC 6762; the layout stands at packet) over IPv4.
//
// An announcement holds a port and tags, and is found at the address it came
// from: no name, no key and no list of addresses is ever sent, and what is
// sent changes every epoch. Who listens learns that some device here runs this
// program. Answers go to the group and never to who asked, one in a second at
// most, so nobody can be made a target of them.
//
// Networks that keep their devices apart, and firewalls set for public places,
// let none of this through: it is one way among several.
type Discovery struct {
	o       DiscoverOptions
	air     air
	secret  [32]byte // of the meaningless tags and the instance names
	refresh chan struct{}
	asked   chan struct{} // somebody wants an answer; cap 1
	done    chan struct{}
	running sync.WaitGroup

	found   map[finding]time.Time // owned by listen, like all below
	second  int64                 // that sources counts
	sources map[netip.Addr]int
}

// finding is one peer at one place.
type finding struct {
	peer Key
	addr netip.AddrPort
}

// air is where the packets are: multicast, or what a test puts in its place.
type air interface {
	// read returns the next packet and its sender; after close, an error.
	read(b []byte) (n int, from netip.AddrPort, err error)
	// near reports whether the sender is on a network we take part in.
	near(from netip.Addr) bool
	// send gives the packet to everyone; what fails is tried again later.
	send(b []byte)
	// rescan looks for networks that have come or gone.
	rescan()
	close() error
}

// Discover begins to announce and to listen. It fails when the system gives no
// multicast socket, and not for want of a network: those may come later.
func Discover(o DiscoverOptions) (*Discovery, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	d := &Discovery{
		o:       o,
		refresh: make(chan struct{}, 1),
		asked:   make(chan struct{}, 1),
		done:    make(chan struct{}),
		found:   make(map[finding]time.Time),
		sources: make(map[netip.Addr]int),
	}
	if _, err := rand.Read(d.secret[:]); err != nil {
		return nil, fmt.Errorf("mesh: discovery: %w", err)
	}
	if o.Conn != nil {
		d.air = connAir{o.Conn}
	} else {
		air, err := newMulticast(o.Loopback, o.Logger)
		if err != nil {
			return nil, fmt.Errorf("mesh: discovery: %w", err)
		}
		d.air = air
	}
	d.running.Go(d.listen)
	d.running.Go(d.speak)
	return d, nil
}

// Refresh looks for networks anew and asks who is there. It is to be called
// when the network has changed, or when a peer that was here has gone.
func (d *Discovery) Refresh() { signal(d.refresh) }

// Close ends it and returns when its goroutines have ended. It must not be
// called twice, nor from Found.
func (d *Discovery) Close() error {
	close(d.done)
	err := d.air.close()
	d.running.Wait()
	return err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// speak sends everything that is sent.
func (d *Discovery) speak() {
	began := time.Now()
	asks := asking
	announce := began.Add(announceEach)
	var answer, sent time.Time // zero: none
	d.air.rescan()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.done:
			return
		case <-d.refresh:
			d.air.rescan()
			began, asks = time.Now(), asking
		case <-d.asked:
			if answer.IsZero() {
				answer = time.Now().Add(answerDelay + mrand.N(answerSpread))
			}
		case <-timer.C:
		}
		now := time.Now()
		next := announce
		if len(asks) > 0 {
			next = earlier(next, began.Add(asks[0]))
		}
		if !answer.IsZero() {
			next = earlier(next, answer)
		}
		if quiet := sent.Add(answerGap); next.Before(quiet) {
			next = quiet
		}
		if next.After(now) {
			timer.Reset(next.Sub(now))
			continue
		}
		asksNow := len(asks) > 0 && !began.Add(asks[0]).After(now)
		if asksNow {
			asks = asks[1:]
		}
		if !announce.After(now) {
			d.air.rescan()
			announce = now.Add(announceEach)
		}
		d.announce(now, asksNow)
		answer, sent = time.Time{}, now // whatever it was sent for, it answers
		timer.Reset(time.Millisecond)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// announce sends our tags, with the question who else is here or without.
func (d *Discovery) announce(now time.Time, ask bool) {
	epoch := EpochOf(now)
	tags := d.o.Tags(epoch)
	tags = slices.Clone(tags[:min(len(tags), maxTags)])
	if len(tags) == 0 && !ask {
		return
	}
	for i := 0; len(tags) < 4 || len(tags)&(len(tags)-1) != 0 && len(tags) < maxTags; i++ {
		tags = append(tags, d.noise(epoch, i))
	}
	slices.SortFunc(tags, func(a, b Tag) int { return slices.Compare(a[:], b[:]) })
	b, err := packet{ask: ask, name: d.noise(epoch, -1), announcement: announcement{port: d.o.Port, tags: tags}}.encode()
	if err != nil {
		d.o.Logger.Warn("announcement not made", "err", err)
		return
	}
	d.air.send(b)
}

// noise is eight bytes that mean nothing, the same all through an epoch.
func (d *Discovery) noise(epoch int64, i int) Tag {
	mac := hmac.New(sha256.New, d.secret[:])
	_ = binary.Write(mac, binary.BigEndian, []int64{epoch, int64(i)}) // a hash takes everything
	return Tag(mac.Sum(nil))
}

// listen reads everything that is sent.
func (d *Discovery) listen() {
	b := make([]byte, maxForeign)
	for {
		n, from, err := d.air.read(b)
		select {
		case <-d.done:
			return
		default:
		}
		switch {
		case err == nil && n <= maxPacket:
			d.hear(b[:n], from, time.Now())
		case err != nil: // such as a network that has gone
			d.o.Logger.Debug("nothing read", "err", err)
			select {
			case <-d.done:
				return
			case <-time.After(time.Second):
			}
		}
	}
}

// hear takes in one packet. Most of what is on the air is not ours and is told
// by a search for the service's name; ours are counted for each sender.
func (d *Discovery) hear(b []byte, from netip.AddrPort, now time.Time) {
	if !isOurs(b) || !d.air.near(from.Addr()) || !d.admit(from.Addr(), now) {
		return
	}
	p, err := parsePacket(b)
	if err != nil {
		d.o.Logger.Debug("malformed announcement", "from", from.String(), "err", err)
		return
	}
	epoch := EpochOf(now)
	if p.name == d.noise(epoch, -1) || p.name == d.noise(epoch-1, -1) {
		return // it is our own
	}
	if p.ask {
		signal(d.asked)
	}
	for _, tag := range p.tags {
		for _, e := range []int64{epoch, epoch - 1, epoch + 1} {
			if peer, ok := d.o.Match(tag, e); ok {
				d.report(finding{peer, netip.AddrPortFrom(from.Addr(), p.port)}, now)
				break
			}
		}
	}
}

// admit counts what one address sends, and how many addresses there are.
func (d *Discovery) admit(from netip.Addr, now time.Time) bool {
	if s := now.Unix(); s != d.second {
		d.second = s
		clear(d.sources)
	}
	n, known := d.sources[from]
	if n >= perSource || !known && len(d.sources) >= maxSources {
		return false
	}
	d.sources[from]++
	return true
}

// report tells of a finding unless that was done a moment ago.
func (d *Discovery) report(f finding, now time.Time) {
	if last, ok := d.found[f]; ok && now.Sub(last) < foundAgain {
		return
	}
	if len(d.found) >= maxFound {
		for old, at := range d.found {
			if now.Sub(at) >= foundAgain {
				delete(d.found, old)
			}
		}
		if len(d.found) >= maxFound { // a flood with true tags: wait
			return
		}
	}
	d.found[f] = now
	d.o.Found(f.peer, f.addr.String())
}
