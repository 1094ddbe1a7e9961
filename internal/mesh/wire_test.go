package mesh

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// wire forwards UDP and TCP between dialers and a host, from one port, until it
// is told to lose everything. TCP connections then stay open and silent.
type wire struct {
	udp    *net.UDPConn
	tcp    net.Listener
	target string
	lost   atomic.Bool
	tasks  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	w := &wire{target: to}
	var err error
	for range 10 { // until a port is free in both
		if w.udp, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			t.Fatal(err)
		}
		if w.tcp, err = net.Listen("tcp4", w.addr()); err == nil {
			break
		}
		w.udp.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.tasks.Go(w.forwardUDP)
	w.tasks.Go(w.forwardTCP)
	return w
}

func (w *wire) addr() string { return w.udp.LocalAddr().String() }

func (w *wire) close() {
	w.udp.Close()
	w.tcp.Close()
	w.mu.Lock()
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.tasks.Wait()
}

func (w *wire) keep(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
}

func (w *wire) forwardUDP() {
	backs := make(map[string]net.Conn)
	b := make([]byte, 2048)
	for {
		n, from, err := w.udp.ReadFromUDP(b)
		if err != nil {
			return
		}
		back := backs[from.String()]
		if back == nil {
			if back, err = net.Dial("udp4", w.target); err != nil {
				return
			}
			backs[from.String()] = back
			w.keep(back)
			w.tasks.Go(func() {
				b := make([]byte, 2048)
				for {
					n, err := back.Read(b)
					if errors.Is(err, net.ErrClosed) {
						return
					}
					if err == nil && !w.lost.Load() {
						_, _ = w.udp.WriteToUDP(b[:n], from)
					}
				}
			})
		}
		if !w.lost.Load() {
			_, _ = back.Write(b[:n])
		}
	}
}

func (w *wire) forwardTCP() {
	for {
		front, err := w.tcp.Accept()
		if err != nil {
			return
		}
		back, err := net.Dial("tcp4", w.target)
		if err != nil {
			front.Close()
			continue
		}
		w.keep(front)
		w.keep(back)
		for _, ends := range [][2]net.Conn{{front, back}, {back, front}} {
			w.tasks.Go(func() {
				b := make([]byte, 32<<10)
				for {
					n, err := ends[0].Read(b)
					if err != nil {
						if !w.lost.Load() {
							ends[1].Close()
						}
						return
					}
					if !w.lost.Load() {
						_, _ = ends[1].Write(b[:n])
					}
				}
			})
		}
	}
}
