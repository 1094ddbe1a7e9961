package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"anabranch"
	"anabranch/record"
)

// facts is everything that doctor's checks look at. What could not be found
// out has its zero value, or an error beside it.
type facts struct {
	interrupted error

	home, keys, runtime fileFacts
	keyFiles            []fileFacts
	now                 time.Time
	written             error // of a file written into the home, and removed
	free                int64 // bytes on the home's file system; -1 not known
	openFiles           int64 // most that this process may open; -1 not known
	receive, send       int64 // most bytes of a UDP socket's buffers; -1 not known
	addrs               []net.Addr
	addrsErr            error

	running         bool // an up works on this home
	caller, program string

	listen []string         // wanted
	bound  map[string]error // of trying to bind these; nil with up

	opened   error // of opening the store
	failed   bool  // the disk failed meanwhile
	full     error // nothing can be written now
	holdings []anabranch.Holding
	holdErr  error // of asking for them
	device   record.Key
	actual   []string // addresses listened on
	spaces   []*spaceFacts
	unusable int
}

// fileFacts are of one file or folder.
type fileFacts struct {
	path    string
	missing bool
	err     error
	mode    fs.FileMode
	foreign bool // belongs to another user
	inside  bool // the runtime folder: below the home or the keys
}

// spaceFacts are of one space.
type spaceFacts struct {
	anabranch.SpaceStatus
	role   record.Role // of this device; 0: no member
	admins int         // other devices that are admins of everything
	peers  []peerFacts
}

type peerFacts struct {
	anabranch.PeerStatus
	addrs   []string
	failure error
}

// gather finds everything out. It changes nothing that lasts.
func (a *app) gather(ctx context.Context) *facts {
	f := &facts{now: time.Now(), running: a.shared != nil, program: fullVersion(), caller: a.caller}
	home, keys, err := a.directories()
	if err != nil {
		f.opened = err
		return f
	}
	f.home, f.keys, f.runtime = lookAt(home), lookAt(keys), lookAt(anabranch.RuntimeDir())
	f.runtime.inside = below(f.runtime.path, home) || below(f.runtime.path, keys)
	names, _ := filepath.Glob(filepath.Join(keys, "*.key"))
	for _, name := range names {
		f.keyFiles = append(f.keyFiles, lookAt(name))
	}
	f.written = tryWriting(home)
	f.free, f.openFiles = freeBytes(home), openFilesLimit()
	f.receive, f.send = kernelNumber("rmem_max"), kernelNumber("wmem_max")
	f.addrs, f.addrsErr = net.InterfaceAddrs()
	f.listen = addrsFrom("ANABRANCH_LISTEN")
	if len(f.listen) == 0 {
		f.listen = []string{net.JoinHostPort("0.0.0.0", strconv.Itoa(anabranch.DefaultPort))}
	}
	if !f.running {
		f.bound = tryBinding(f.listen)
	}
	err = a.with(ctx, false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
		return f.look(ctx, r)
	})
	if ctx.Err() != nil {
		f.interrupted = ctx.Err()
	}
	if !errors.Is(err, anabranch.ErrNoSpace) {
		f.opened = err
	}
	return f
}

func (f *facts) look(ctx context.Context, r *anabranch.Replica) error {
	f.device, f.actual, f.unusable = r.Device(), r.Addrs(), len(r.Unusable())
	f.full = r.Full()
	f.holdings, f.holdErr = r.Holdings()
	select {
	case <-r.Failed():
		f.failed = true
	default:
	}
	for _, s := range r.Spaces() {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		members, err := s.Members(ctx)
		if err != nil {
			return err
		}
		out := &spaceFacts{SpaceStatus: st}
		var admins []record.Key
		for _, m := range members {
			switch {
			case m.Revoked:
			case m.Self:
				out.role = max(out.role, m.Role)
			case m.Role == record.Admin && m.Area == "/" && !slices.Contains(admins, m.Device):
				admins = append(admins, m.Device)
			}
		}
		out.admins = len(admins)
		for _, p := range st.Peers {
			out.peers = append(out.peers, peerFacts{p, r.KnownAddrs(p.Device), failureOf(r, p)})
		}
		f.spaces = append(f.spaces, out)
	}
	return nil
}

// failureOf is the error behind what a peer's status says went wrong.
func failureOf(r *anabranch.Replica, p anabranch.PeerStatus) error {
	_, err := r.LastFailure(p.Device)
	if err == nil || err.Error() != p.LastError {
		return nil // of another space
	}
	return err
}

func lookAt(path string) fileFacts {
	f := fileFacts{path: path}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.missing = true
	case err != nil:
		f.err = err
	default:
		f.mode, f.foreign = info.Mode(), !ownFile(info)
	}
	return f
}

// tryWriting writes a file into a folder, as the store will; a folder that
// does not exist yet is not made for it.
func tryWriting(dir string) error {
	file, err := os.CreateTemp(dir, ".doctor-*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, 4096))
	return errors.Join(err, file.Sync(), file.Close(), os.Remove(file.Name()))
}

// tryBinding binds each address over UDP and TCP, and lets go of it.
func tryBinding(addrs []string) map[string]error {
	out := map[string]error{}
	for _, addr := range addrs {
		udp, err := net.ListenPacket("udp", addr)
		if err == nil {
			udp.Close()
			var tcp net.Listener
			if tcp, err = net.Listen("tcp", addr); err == nil {
				tcp.Close()
			}
		}
		out[addr] = err
	}
	return out
}

// kernelNumber is a limit of the network as Linux shows it; -1 elsewhere.
func kernelNumber(name string) int64 {
	b, err := os.ReadFile("/proc/sys/net/core/" + name)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func taken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// fullVersion tells two builds of this program apart.
func fullVersion() string {
	v := built()
	out := v.Version
	if v.Commit != "" {
		out += " " + v.Commit[:min(len(v.Commit), shortLen)]
	}
	return out
}
