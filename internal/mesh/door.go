package mesh

import (
	"maps"
	"slices"
	"sync"
)

// door holds what a host offers and to whom: the handlers, the gate, and the
// protocols being opened from our side. Both twins stand behind one.
type door struct {
	gate Gate

	mu       sync.RWMutex
	handlers map[string]func(Stream)
	opening  map[Key][]string // a protocol occurs once per Open under way
	handling sync.WaitGroup   // goroutines serving inbound streams
	closed   bool             // no more of them
}

func newDoor(gate Gate, handlers map[string]func(Stream)) *door {
	d := &door{gate: gate, handlers: make(map[string]func(Stream)), opening: make(map[Key][]string)}
	for p, fn := range handlers {
		d.handle(p, fn)
	}
	return d
}

func (d *door) handle(protocol string, fn func(Stream)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if fn == nil {
		delete(d.handlers, protocol)
		return
	}
	d.handlers[protocol] = fn
}

// expect notes that we are opening the protocol to the peer, so that the
// connection-level check admits a peer we only ever ask. The function returned
// forgets it.
func (d *door) expect(peer Key, protocol string) (done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opening[peer] = append(d.opening[peer], protocol)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		ps := d.opening[peer]
		i := slices.Index(ps, protocol)
		if ps = slices.Delete(ps, i, i+1); len(ps) == 0 {
			delete(d.opening, peer)
		} else {
			d.opening[peer] = ps
		}
	}
}

// admitsAny is the connection-level question: is there any protocol that the
// peer may speak with us?
func (d *door) admitsAny(peer Key) bool {
	d.mu.RLock()
	protocols := slices.Concat(slices.Collect(maps.Keys(d.handlers)), d.opening[peer])
	d.mu.RUnlock()
	return slices.ContainsFunc(protocols, func(p string) bool { return d.gate(peer, p) })
}

// offered returns the protocols the peer may open, in order.
func (d *door) offered(peer Key) []string {
	d.mu.RLock()
	protocols := slices.Sorted(maps.Keys(d.handlers))
	d.mu.RUnlock()
	return slices.DeleteFunc(protocols, func(p string) bool { return !d.gate(peer, p) })
}

// handler returns the function for a stream, or nil when the peer may not
// have one.
func (d *door) handler(peer Key, protocol string) func(Stream) {
	d.mu.RLock()
	fn := d.handlers[protocol]
	d.mu.RUnlock()
	if fn == nil || !d.gate(peer, protocol) {
		return nil
	}
	return fn
}

// enter counts a goroutine that serves an inbound stream; false means that the
// host is closing. Every true is followed by one leave.
func (d *door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.handling.Add(1)
	return true
}

func (d *door) leave() { d.handling.Done() }

// shut lets nobody in any more and reports whether it was open.
func (d *door) shut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := !d.closed
	d.closed = true
	return was
}

func (d *door) isShut() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.closed
}
