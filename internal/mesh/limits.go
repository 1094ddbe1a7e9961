package mesh

import (
	"math"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Our own limits. The library's defaults allow 8 connections and 0.2 new ones
// a second per IPv4 address, outbound included: the ninth device of a
// household behind one router would be refused.
const (
	maxConns       = 256       // in all, both directions; a device keeps about 32
	maxHandshakes  = 128       // inbound connections whose key is not yet known; one address has at most half
	maxPeerConns   = 8         // with one peer; two when both sides dial at once
	maxPeerStreams = 128       // with one peer, per direction
	maxStreams     = 4096      // in all
	maxUnnamed     = 256       // streams that have not named their protocol yet
	maxMemory      = 128 << 20 // bytes of receive windows granted beyond the initial ones

	maxConnsPerIP   = 64 // one household behind one address
	maxConnsPerSite = 256
	acceptPerIP     = 5 // new connections a second from one address, after a burst
	acceptBurst     = 64
	acceptPerSite   = 20
	acceptTotal     = 100 // a second, from everywhere but the near ranges
	acceptAllBurst  = 256

	negotiateTimeout = 10 * time.Second // to name a protocol on a new stream
	maxAddrs         = 8                // listed by Addrs
	maxDialAddrs     = 16               // tried by one Open
)

// nearPrefixes are loopback, private, link-local and carrier-grade ranges:
// addresses that no stranger on the internet can send from. They are exempt
// from the per-address limits; those per peer and in all still hold.
var nearPrefixes = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}

// newResources builds the resource manager that QUIC and the swarm consult
// before they accept, dial, open or grow anything.
func newResources() (network.ResourceManager, error) {
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: maxConns, ConnsInbound: maxConns, ConnsOutbound: maxConns,
			Streams: maxStreams, StreamsInbound: maxStreams, StreamsOutbound: maxStreams,
			Memory: maxMemory,
		},
		Transient: rcmgr.ResourceLimits{
			Conns: 2 * maxHandshakes, ConnsInbound: maxHandshakes, ConnsOutbound: maxHandshakes,
			Streams: 2 * maxUnnamed, StreamsInbound: maxUnnamed, StreamsOutbound: maxUnnamed,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: maxPeerConns, ConnsInbound: maxPeerConns, ConnsOutbound: maxPeerConns,
			Streams: 2 * maxPeerStreams, StreamsInbound: maxPeerStreams, StreamsOutbound: maxPeerStreams,
		},
	}.Build(rcmgr.InfiniteLimits)

	var near4, near6 []rcmgr.NetworkPrefixLimit
	var nearRates []rate.PrefixLimit
	for _, p := range nearPrefixes {
		nearRates = append(nearRates, rate.PrefixLimit{Prefix: p}) // no rate: unlimited
		if p.Addr().Is4() {
			near4 = append(near4, rcmgr.NetworkPrefixLimit{Network: p, ConnCount: math.MaxInt})
		} else {
			near6 = append(near6, rcmgr.NetworkPrefixLimit{Network: p, ConnCount: math.MaxInt})
		}
	}
	accept := &rate.Limiter{
		NetworkPrefixLimits: nearRates,
		GlobalLimit:         rate.Limit{RPS: acceptTotal, Burst: acceptAllBurst},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: acceptPerIP, Burst: acceptBurst}}},
			IPv6SubnetLimits: []rate.SubnetLimit{
				{PrefixLength: 56, Limit: rate.Limit{RPS: acceptPerIP, Burst: acceptBurst}},
				{PrefixLength: 48, Limit: rate.Limit{RPS: acceptPerSite, Burst: 2 * acceptBurst}},
			},
			GracePeriod: time.Minute,
		},
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(near4, near6),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: maxConnsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: maxConnsPerIP}, {PrefixLength: 48, ConnCount: maxConnsPerSite}},
		),
		rcmgr.WithConnRateLimiters(accept),
	)
}
