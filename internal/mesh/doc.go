// Package mesh carries frames between devices that know each other's keys.
//
// A Host owns one device's presence on the network: it listens, dials,
// keeps one connection per peer and hands out streams of length-prefixed
// frames. It knows no protocol of ours: a protocol is a name
// and a function that is given the stream, and the frames are bytes.
//
// # Identity and the gate
//
// The network identity of a device is its Ed25519 key; every connection is
// encrypted (TLS 1.3 inside QUIC, Noise on TCP) and both ends have proved their keys before
// anything else is said. The Gate is then asked about the peer's key: once for
// the connection (does any protocol admit this key?) and again for every
// stream. A stranger gets no stream, no list of protocols and no description
// of this program; what it does learn is that a libp2p host with this key
// answers here. While an invitation is open the gate may admit strangers to
// the one protocol that completes invitations, and to nothing else.
//
// The dialling side finishes its handshake before the listening side has
// judged it, so a connection that stands is not yet an admission. Open
// therefore returns only when the far side has accepted the protocol by name,
// and Peers lists a connection we dialled only from then on.
//
// # Two implementations
//
// New makes a Host on real sockets. It is go-libp2p assembled by hand from
// its swarm, its QUIC and TCP transports, its resource manager and its
// in-memory address book: none of the services meant for a public network of
// hundreds of peers (peer identification, NAT probing, relay search, local
// multicast) is linked in or running.
// NewNetwork makes hosts that meet in memory, over links that tests can delay,
// partition and cut at an exact byte. One test suite runs over both.
//
// # Two transports
//
// One address, "ip:port", stands for QUIC on that UDP port and for TCP on that
// TCP port. Open tries QUIC first and gives it 250 ms, so that a network that
// swallows UDP costs no more than that; when both connect, both ends let the
// TCP connection go. QUIC survives a change of address and a router that
// forgets; TCP passes where UDP does not and is the faster one where the
// network is faster than a processor.
//
// Every connection is watched: one that has been silent for 15 s is pinged,
// and closed when it misses two pings of 2 s. An idle connection costs about 55
// bytes a second each way over QUIC and 10 over TCP, IP headers included.
//
// On loopback, two hosts in one process on two busy cores (medians):
//
//	                         QUIC       TCP        memory
//	connect, open, close     3.8 ms     2.4 ms
//	open and echo            235 µs     165 µs     25 µs
//	echo on an open stream   45 µs      29 µs      4 µs
//	one stream, 128 KiB      168 MB/s   248 MB/s   400 MB/s
//
// # Finding peers nearby
//
// Discover announces a device on the local networks, and finds others, by tags
// that only those who share a secret can read; the caller makes them.
// WatchNetwork tells when to try everything anew: then call Host.Probe,
// Discovery.Refresh and redial.
//
// # Frames
//
// A frame on a stream is
//
//	length  unsigned LEB128 varint, 1 to 3 bytes, shortest form only
//	body    length bytes
//
// The length is checked against the limit before the body is allocated.
// Nothing else is on a stream, except the libp2p multistream negotiation of
// the protocol name that Open performs at its start.
package mesh
