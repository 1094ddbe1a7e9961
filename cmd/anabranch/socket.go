package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

// A running `up` is the only process that may write. It listens on a socket
// that its user alone can reach, and any other command on the same home
// sends its command line there, is run inside, and prints what comes back: so
// every command works alike whether `up` runs or not.
//
// The caller sends an order as one JSON line, then packets; the other side
// sends packets alone, the last of them the exit code. A packet is
//
//	kind 1 | length 4, big-endian, at most 64 KiB | bytes
type order struct {
	Schema   string   `json:"schema"`
	Args     []string `json:"args"`
	Dir      string   `json:"dir"`   // relative names are meant from here
	Space    string   `json:"space"` // ANABRANCH_SPACE of the caller
	Asking   bool     `json:"asking"`
	Terminal bool     `json:"terminal"`
	Shown    bool     `json:"shown"`
	Colour   bool     `json:"colour"`
	Version  string   `json:"version"`
}

const (
	orderSchema  = "anabranch.order/1"
	maxOrder     = 1 << 20
	maxPacket    = 64 << 10
	maxOrders    = 32 // commands run at a time
	orderTimeout = 10 * time.Second
	lastWords    = 2 * time.Second // for a caller to take what a command says when up stops

	packetIn        = 1 // caller: bytes of its standard input; none: the end of it
	packetInterrupt = 2 // caller: Ctrl-C
	packetOut       = 3 // bytes for standard output
	packetErr       = 4 // bytes for standard error
	packetExit      = 5 // exit code, 1 byte
	packetWant      = 6 // the command reads its standard input: send it
)

// here marks commands that never go to a running `up`.
const here = "here"

func runsHere(cmd *cobra.Command) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[here] = "yes"
	return cmd
}

// socketName is where the `up` of a home listens: in the runtime directory,
// because a socket's name must be short and must not outlive the boot.
func socketName(home string) string {
	h := sha256.Sum256([]byte(resolve(home)))
	return filepath.Join(anabranch.RuntimeDir(), hex.EncodeToString(h[:8])+".sock")
}

// forward sends a command to the `up` that runs on this home, if one does.
// What it returns then is the command's end: a *saidError with its exit
// code, or errDone.
func (a *app) forward(cmd *cobra.Command) error {
	if a.shared != nil || cmd.Annotations[here] != "" || completing(cmd) {
		return nil
	}
	home, _, err := directories(a.home)
	if err != nil {
		return nil // the command itself will say so
	}
	conn, err := net.DialTimeout("unix", socketName(home), time.Second)
	if err != nil {
		return nil // nothing runs there
	}
	defer conn.Close()
	if err := ownedByUs(conn); err != nil {
		return fmt.Errorf("the socket of a running up: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	line, err := json.Marshal(order{
		Schema:   orderSchema,
		Args:     a.args,
		Dir:      dir,
		Space:    os.Getenv("ANABRANCH_SPACE"),
		Asking:   a.asking,
		Terminal: a.terminal,
		Shown:    a.shown,
		Colour:   a.colour,
		Version:  fullVersion(),
	})
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("the running up does not take the command: %w", err)
	}
	to := &packets{w: conn}
	stop := context.AfterFunc(cmd.Context(), func() { to.send(packetInterrupt, nil) })
	defer stop()
	code, err := a.receive(conn, to)
	if err != nil {
		return fmt.Errorf("the running up went away: %w", err)
	}
	if code == exitOK {
		return errDone
	}
	return &saidError{code: code}
}

// holder says which process holds a home, as far as its socket tells.
func (a *app) holder() string {
	home, _, err := directories(a.home)
	if err != nil {
		return ""
	}
	conn, err := net.DialTimeout("unix", socketName(home), time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if pid := processAt(conn); pid != 0 {
		return fmt.Sprintf("process %d holds it", pid)
	}
	return ""
}

// errUpStops is why a command that runs inside an up ends with it.
var errUpStops = errors.New("the running up has stopped")

// errDone ends a command that has been run elsewhere, well.
var errDone = errors.New("done elsewhere")

// receive prints what comes back until the exit code. Input is read only
// when the command wants it: a loop in a shell has its own use for it.
func (a *app) receive(conn io.Reader, to *packets) (int, error) {
	pump := sync.OnceFunc(func() {
		go to.pump(packetIn, a.stdin) // ends with the connection, or with this process
	})
	for {
		kind, b, err := readPacket(conn)
		if err != nil {
			return 0, err
		}
		switch kind {
		case packetOut:
			_, err = a.stdout.Write(b)
		case packetErr:
			_, err = a.stderr.Write(b)
		case packetWant:
			pump()
		case packetExit:
			if len(b) == 1 {
				return int(b[0]), nil
			}
			err = errors.New("exit without a code")
		}
		if err != nil {
			return 0, err
		}
	}
}

// serve runs the commands of other processes until the context ends.
func (a *app) serve(ctx context.Context, r *anabranch.Replica) (stop func(), err error) {
	home, _, err := directories(a.home)
	if err != nil {
		return nil, err
	}
	name := socketName(home)
	// The store is locked, so whatever stands there is left from before.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket: %w", err)
	}
	listener, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), listener.Close())
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // stop alone ends them, with its reason
	var running sync.WaitGroup
	running.Go(func() {
		places := make(chan struct{}, maxOrders)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			select {
			case places <- struct{}{}:
			default:
				conn.Close()
				continue
			}
			running.Go(func() {
				defer func() { <-places }()
				defer conn.Close()
				defer context.AfterFunc(ctx, func() {
					conn.SetReadDeadline(time.Now())
					conn.SetWriteDeadline(time.Now().Add(lastWords))
				})()
				a.attend(ctx, r, conn)
			})
		}
	})
	return func() {
		cancel(errUpStops)
		listener.Close() // removes the socket
		running.Wait()
	}, nil
}

// attend runs one command of another process.
func (a *app) attend(ctx context.Context, r *anabranch.Replica, conn net.Conn) {
	if ownedByUs(conn) != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(orderTimeout))
	o, err := readOrder(conn)
	if err != nil {
		refuse(conn, err)
		return
	}
	conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, feed := io.Pipe()
	defer in.Close() // the reader below then ends
	back := &packets{w: conn}
	served := &app{
		stdin:    &wanted{from: in, want: sync.OnceFunc(func() { back.send(packetWant, nil) })},
		stdout:   stream{back, packetOut},
		stderr:   stream{back, packetErr},
		asking:   o.Asking,
		terminal: o.Terminal,
		shown:    o.Shown,
		colour:   o.Colour,
		caller:   o.Version,
		shared:   r,
		served:   a.home,
		dir:      o.Dir,
		space:    o.Space,
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer feed.CloseWithError(io.ErrUnexpectedEOF)
		for {
			kind, b, err := readPacket(conn)
			switch {
			case err != nil, kind == packetInterrupt:
				cancel() // the caller is gone, or wants to be
				return
			case kind == packetIn && len(b) == 0:
				feed.Close()
			case kind == packetIn:
				// A command that reads no input leaves it lying: only the
				// caller's own pipe waits for that.
				if _, err := feed.Write(b); err != nil && !errors.Is(err, io.ErrClosedPipe) {
					return
				}
			}
		}
	})
	code := served.run(ctx, o.Args)
	back.send(packetExit, []byte{byte(code)})
	in.Close()
	conn.Close()
	reading.Wait()
}

// refuse answers an order that cannot be read.
func refuse(conn net.Conn, err error) {
	conn.SetWriteDeadline(time.Now().Add(lastWords))
	back := &packets{w: conn}
	words := &app{stdout: io.Discard, stderr: stream{back, packetErr}}
	words.say("error: the running up does not understand the command: %s", plain(err))
	words.say("hint: run the same version of anabranch as it")
	back.send(packetExit, []byte{exitIncompatible})
}

func readOrder(conn io.Reader) (order, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxOrder { // byte by byte: what follows are packets
		if _, err := io.ReadFull(conn, one); err != nil {
			return order{}, err
		}
		if one[0] == '\n' {
			var o order
			d := json.NewDecoder(bytes.NewReader(line))
			d.DisallowUnknownFields() // what it would ask for is not done, so it is said
			err := d.Decode(&o)
			if err == nil && o.Schema != orderSchema {
				err = fmt.Errorf("order of schema %q", o.Schema)
			}
			return o, err
		}
		line = append(line, one[0])
	}
	return order{}, errors.New("order too long")
}

func readPacket(r io.Reader) (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxPacket {
		return 0, nil, fmt.Errorf("packet of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return head[0], b, err
}

// packets writes packets to a connection, whole ones from any goroutine.
type packets struct {
	mu sync.Mutex // held for one packet
	w  io.Writer
}

func (p *packets) send(kind byte, b []byte) error {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(b)))
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.w.Write(append(head, b...))
	return err
}

// pump sends everything that a reader gives, and then its end.
func (p *packets) pump(kind byte, from io.Reader) {
	b := make([]byte, maxPacket)
	for {
		n, err := from.Read(b)
		if n > 0 && p.send(kind, b[:n]) != nil {
			return
		}
		if err != nil {
			p.send(kind, nil)
			return
		}
	}
}

// wanted is the input of a command that runs for another process: it asks
// for it when it is first read.
type wanted struct {
	from io.Reader
	want func()
}

func (w *wanted) Read(b []byte) (int, error) {
	w.want()
	return w.from.Read(b)
}

// stream is one of the two outputs of a command that runs for another
// process.
type stream struct {
	to   *packets
	kind byte
}

func (s stream) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		n := min(len(b)-sent, maxPacket)
		if err := s.to.send(s.kind, b[sent:sent+n]); err != nil {
			return sent, err
		}
		sent += n
	}
	return len(b), nil
}
