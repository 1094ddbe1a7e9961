package anabranch

import (
	"sync"

	"anabranch/internal/mesh"
	"anabranch/record"
)

// gate bounds how many streams that peers have opened are answered at a
// time: so many of all of them, and so many of one device, so that none can
// take every place. It remembers a device as long as it is inside.
type gate struct {
	each, all int

	mu     sync.Mutex
	inside map[record.Key]int // never 0
	taken  int                // of all places
}

func newGate(each, all int) *gate {
	return &gate{each: each, all: all, inside: map[record.Key]int{}}
}

// admit is serve behind the gate: a stream for which there is no place is
// reset before anything of it is read, and its peer comes again.
func (g *gate) admit(serve func(mesh.Stream, record.Key)) func(mesh.Stream) {
	return func(stream mesh.Stream) {
		device := record.Key(stream.Peer())
		if !g.enter(device) {
			stream.Reset()
			return
		}
		defer g.leave(device)
		serve(stream, device)
	}
}

func (g *gate) enter(device record.Key) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taken >= g.all || g.inside[device] >= g.each {
		return false
	}
	g.taken++
	g.inside[device]++
	return true
}

func (g *gate) leave(device record.Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken--
	if g.inside[device]--; g.inside[device] == 0 {
		delete(g.inside, device)
	}
}

// places is how many are taken, by one device and by all.
func (g *gate) places(device record.Key) (its, all int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside[device], g.taken
}

// answering serves a stream that one exchange is all of: it is closed when
// answer has returned, and reset if that failed.
func (r *Replica) answering(what string, answer func(mesh.Stream, record.Key) error) func(mesh.Stream, record.Key) {
	return func(stream mesh.Stream, device record.Key) {
		if err := answer(stream, device); err != nil {
			r.log.Debug("a peer was not answered to the end", "asks", what, "peer", device, "err", err)
			stream.Reset()
			return
		}
		stream.Close()
	}
}
