package mesh

import (
	"context"
	"fmt"
	"testing"
)

var twins = []string{QUIC, TCP, Memory}

// benchHosts returns two hosts on loopback over the transport.
func benchHosts(b *testing.B, transport string) (Host, Host) {
	b.Helper()
	var hosts [2]Host
	n := NewNetwork()
	for i := range hosts {
		if transport == Memory {
			hosts[i] = n.Host(publicOf(i), everyone)
			continue
		}
		h, err := New(Options{Key: deviceKey(i), Gate: everyone, Listen: []string{"127.0.0.1:0"}, Transports: []string{transport}})
		if err != nil {
			b.Fatal(err)
		}
		hosts[i] = h
	}
	b.Cleanup(func() {
		for _, h := range hosts {
			_ = h.Close()
		}
	})
	return hosts[0], hosts[1]
}

func benchOpen(b *testing.B, from, to Host, protocol string) Stream {
	b.Helper()
	s, err := from.Open(context.Background(), to.Self(), to.Addrs(), protocol)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkEcho(b *testing.B) {
	for _, transport := range twins {
		b.Run(transport, func(b *testing.B) {
			x, y := benchHosts(b, transport)
			y.Handle("echo", echo)
			s := benchOpen(b, x, y, "echo")
			defer s.Close()
			body := make([]byte, 64)
			for b.Loop() {
				if err := s.WriteFrame(body); err != nil {
					b.Fatal(err)
				}
				if _, err := s.ReadFrame(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen is a new stream on a standing connection, with one echo.
func BenchmarkOpen(b *testing.B) {
	for _, transport := range twins {
		b.Run(transport, func(b *testing.B) {
			x, y := benchHosts(b, transport)
			y.Handle("echo", echo)
			benchOpen(b, x, y, "echo").Close()
			body := make([]byte, 64)
			for b.Loop() {
				s := benchOpen(b, x, y, "echo")
				if err := s.WriteFrame(body); err != nil {
					b.Fatal(err)
				}
				if _, err := s.ReadFrame(); err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

// BenchmarkConnect is a dial with its handshake, a stream and the end of both.
func BenchmarkConnect(b *testing.B) {
	for _, transport := range []string{QUIC, TCP} {
		b.Run(transport, func(b *testing.B) {
			x, y := benchHosts(b, transport)
			y.Handle("echo", echo)
			for b.Loop() {
				benchOpen(b, x, y, "echo").Close()
				x.Disconnect(y.Self())
			}
		})
	}
}

func BenchmarkThroughput(b *testing.B) {
	for _, transport := range twins {
		for _, size := range []int{4 << 10, 128 << 10} {
			b.Run(fmt.Sprintf("%s/frame=%dKiB", transport, size>>10), func(b *testing.B) {
				x, y := benchHosts(b, transport)
				y.Handle("sink", func(s Stream) {
					defer s.Close()
					for {
						if _, err := s.ReadFrame(); err != nil {
							_ = s.WriteFrame(nil) // all has arrived
							return
						}
					}
				})
				s := benchOpen(b, x, y, "sink")
				body := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					if err := s.WriteFrame(body); err != nil {
						b.Fatal(err)
					}
				}
				s.CloseWrite()
				if _, err := s.ReadFrame(); err != nil {
					b.Fatal(err)
				}
				s.Close()
			})
		}
	}
}
