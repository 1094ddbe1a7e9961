package anabranch

import "anabranch/internal/engine"

// SpreadStats is what this replica did in gossip since it was opened: how
// fresh records went round, and what they cost.
type SpreadStats struct {
	Published uint64 // records written here that went out as rumors
	Accepted  uint64 // records that came as rumors and were new
	Copies    uint64 // of rumors that came, the announced ones included
	Needless  uint64 // of them, those that were here already
	Announced uint64 // IDs told to peers that get no copy at once
	FramesOut uint64
	BytesOut  uint64
	Sessions  uint64 // begun here, because the engine found them due
	Charges   uint64 // of peers
	Neighbors int    // in all spaces
	Eager     int    // of them, those that get rumors at once
}

// CopiesPerRecord is how many copies of each new record came as a rumor: 1 is
// the least. 0 if none has come.
func (s SpreadStats) CopiesPerRecord() float64 {
	if s.Accepted == 0 {
		return 0
	}
	return float64(s.Copies) / float64(s.Accepted)
}

// Spread says how gossip goes; all zeros without a network.
func (r *Replica) Spread() SpreadStats {
	var out SpreadStats
	spaces := r.all()
	r.ask(func(e *engine.Engine) {
		st := e.Stats()
		out.Sessions, out.Charges = st.Begun, st.Charges
		for _, s := range spaces {
			g, neighbors, eager := e.Gossip(s.ID())
			out.Published += g.Published
			out.Accepted += g.Accepted
			out.Copies += g.Copies
			out.Needless += g.Duplicates
			out.Announced += g.Offered
			out.FramesOut += g.FramesOut
			out.BytesOut += g.BytesOut
			out.Neighbors += len(neighbors)
			out.Eager += len(eager)
		}
	})
	return out
}
