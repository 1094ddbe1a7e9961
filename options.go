package anabranch

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"anabranch/attest"
	"anabranch/internal/fetch"
	"anabranch/internal/mesh"
	"anabranch/internal/store"
)

// DefaultPort is the port a replica listens on unless told otherwise, in UDP
// and in TCP. If it is taken, a free one is used.
const DefaultPort = 4471

// Limits of the shell.
const (
	minFrameBytes   = 4 << 10
	maxFrameBytes   = 1 << 20
	sessionIdle     = 30 * time.Second // a session without a frame for this long is reset
	joinTimeout     = 15 * time.Second
	dialTimeout     = 10 * time.Second
	maxIncoming     = 64 // sessions, looks and questions that peers may have open here at a time
	maxIncomingEach = 8  // and one peer; a session in each of so many spaces
	maxJoins        = 4  // devices that may be joining at a time
	maxNameBytes    = 64
	maxTicketAddrs  = 4
	maxKnownAddrs   = 8
	sweepBacklog    = 256 // kills that are swept at once
)

// Options configures Open. The zero value is ready to use.
type Options struct {
	// StateDir holds what must not travel with the records: the device key
	// and the author keys. Default: "state" below the home.
	StateDir string
	// LeaseDir holds the lane lease, which neither a backup nor a clone of
	// the home may carry. Default: a folder of this user's below the
	// system's runtime directory.
	LeaseDir string
	// Listen are the addresses to accept peers on, as "ip:port" (QUIC, so
	// UDP); port 0 is any free one. Default: every interface, DefaultPort.
	Listen []string
	// NoNetwork opens the store alone: nothing listens, nothing is dialled.
	NoNetwork bool
	// NoDiscovery neither looks for members on the local network nor lets
	// them find this device there. Implied by Manual and by listening on
	// loopback alone.
	NoDiscovery bool
	// Peers are addresses tried for every member whose address is unknown.
	Peers []string
	// FrameBytes bounds one frame, both ways. Default 128 KiB, least 4 KiB,
	// most 1 MiB.
	FrameBytes int
	// SyncInterval is the mean time between sessions with one connected
	// peer when nothing else causes one; in a space of more than nine
	// members, with one of them drawn from the list. Default 30s; negative
	// turns it off.
	SyncInterval time.Duration
	// DeviceName is what this device calls itself to the members of a space
	// it makes or joins. Default: the host's name.
	DeviceName string
	// Manual fetches content from members that are connected, and otherwise
	// runs no session but those that Sync asks for, here or at a
	// peer; Join and Sync dial, and peers are answered.
	Manual bool
	// DialOnly answers no peer: what Sync, Plan, Diff and Ask do is all that
	// happens.
	DialOnly bool
	// SweepDelay is how long what was overwritten or deleted here waits
	// before it is swept. Default 10 minutes; negative sweeps only on Close.
	SweepDelay time.Duration
	// HistoryWindow is how long a removal by others can be undone by sealing
	// them: only older ones are left out when own parts of maps, sets and the
	// like are folded. Records of texts are folded when they are older, and what
	// has been deleted from a text for longer is dropped; versions from before
	// can be read if they were kept (Text.Keep). Default 30 days; negative: none.
	HistoryWindow time.Duration
	// TrashAge is how long a killed record stays in the local trash.
	// Default 7 days; negative keeps none.
	TrashAge time.Duration
	// HeldBytes bounds records of others whose authority is unknown here.
	// Default 64 MiB.
	HeldBytes int64
	// BlobBytes bounds the content of blobs kept here; 0: no bound. What would
	// pass it is not fetched, and putting it is ErrQuota.
	BlobBytes int64
	// BlobRate bounds the content moved, in bytes a second, each way; 0: no
	// bound. Records are not held back by it.
	BlobRate int64
	// OnEvent is told what happens with peers, from the goroutine it happens
	// in: it must not block, nor call Close.
	OnEvent func(Event)
	// Passphrase is asked for the passphrase of the keys, once, by Open and
	// only if they are locked with one (see Replica.SetPassphrase). What it
	// returns is overwritten; an error of its own ends Open.
	Passphrase func() ([]byte, error)
	// Clock defaults to time.Now. It orders reading and never decides
	// membership.
	Clock func() time.Time
	// Logger defaults to discarding.
	Logger *slog.Logger

	blobFetch fetch.Options // of this package's own tests

	// host replaces the network in this package's own tests.
	host func(key mesh.Key, gate func(mesh.Key, string) bool) (mesh.Host, error)

	// answers replaces this replica's honest answers in this package's own
	// tests: a device may say anything.
	answers func(s *Space, q question, view *store.Snapshot) (*Attestation, []attest.Hash, []byte, error)
	// noGossip does not offer the protocol of rumors, like older versions.
	noGossip bool
	// settle is how long a preview shows what nobody types any more and no
	// record has brought; 0 is previewSettle.
	settle time.Duration
}

// validate fills defaults and reports every mistake at once.
func (o *Options) validate(dir string) error {
	var errs []error
	if dir == "" {
		errs = append(errs, errors.New("home: no directory given"))
	}
	if o.StateDir == "" {
		o.StateDir = filepath.Join(dir, "state")
	}
	if o.LeaseDir == "" {
		o.LeaseDir = RuntimeDir()
	}
	if len(o.Listen) == 0 {
		o.Listen = []string{net.JoinHostPort("0.0.0.0", strconv.Itoa(DefaultPort))}
	}
	for _, a := range append(append([]string{}, o.Listen...), o.Peers...) {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			errs = append(errs, fmt.Errorf("address %q: %w", a, err))
			continue
		}
		if net.ParseIP(host) == nil {
			errs = append(errs, fmt.Errorf("address %q: %q is no IP address", a, host))
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			errs = append(errs, fmt.Errorf("address %q: port %q", a, port))
		}
	}
	if o.FrameBytes == 0 {
		o.FrameBytes = 128 << 10
	}
	if o.FrameBytes < minFrameBytes || o.FrameBytes > maxFrameBytes {
		errs = append(errs, fmt.Errorf("frame bytes: %d is outside %d..%d", o.FrameBytes, minFrameBytes, maxFrameBytes))
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = 30 * time.Second
	}
	if o.HistoryWindow == 0 {
		o.HistoryWindow = 30 * 24 * time.Hour
	}
	if o.SweepDelay == 0 {
		o.SweepDelay = 10 * time.Minute
	}
	if o.TrashAge == 0 {
		o.TrashAge = 7 * 24 * time.Hour
	}
	if o.HeldBytes == 0 {
		o.HeldBytes = 64 << 20
	}
	if o.DeviceName != "" {
		if err := checkLabel(o.DeviceName); err != nil {
			errs = append(errs, err)
		}
	}
	if o.HeldBytes < 0 {
		errs = append(errs, fmt.Errorf("held bytes: %d is negative", o.HeldBytes))
	}
	if o.BlobBytes < 0 || o.BlobRate < 0 {
		errs = append(errs, fmt.Errorf("blobs: %d bytes at %d a second: neither is negative", o.BlobBytes, o.BlobRate))
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(errs) > 0 {
		return fmt.Errorf("anabranch: options: %w", errors.Join(errs...))
	}
	return nil
}

// RuntimeDir is this user's folder for what backups and clones do not carry
// and a reboot ends: the lane lease, the socket of a running program.
func RuntimeDir() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		return filepath.Join(d, "anabranch")
	}
	if uid := os.Getuid(); uid >= 0 {
		return filepath.Join(os.TempDir(), fmt.Sprintf("anabranch-%d", uid))
	}
	return filepath.Join(os.TempDir(), "anabranch") // Windows: a user's own
}
