package anabranch

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"slices"
	"time"

	"anabranch/gossip"
	"anabranch/internal/engine"
	"anabranch/record"
	"anabranch/space"
)

// judgeBatch is how many rumors are verified and committed together, when so
// many wait.
const judgeBatch = 256

// judgeRumors verifies and commits what peers spread, as many at once as
// wait, and tells the engine what became of each. Nothing is forwarded before
// that.
func (r *Replica) judgeRumors() {
	for {
		var batch []engine.Judge
		var out engine.Output
		select {
		case out = <-r.loop.judges:
		case <-r.ctx.Done():
			return
		}
		for out != nil {
			switch o := out.(type) {
			case engine.Judge:
				batch = append(batch, o)
			case engine.JudgeNote:
				r.judgeNote(o)
			}
			out = nil
			if len(batch) < judgeBatch {
				select {
				case out = <-r.loop.judges:
				default:
				}
			}
		}
		for len(batch) > 0 {
			id := batch[0].Space
			var these []engine.Judge
			batch = slices.DeleteFunc(batch, func(j engine.Judge) bool {
				if j.Space == id {
					these = append(these, j)
				}
				return j.Space == id
			})
			verdicts := make([]gossip.Verdict, len(these))
			for i := range verdicts {
				verdicts[i] = gossip.Lost
			}
			if s := r.spaceByID(id); s != nil {
				s.judge(these, verdicts)
			}
			for i, j := range these {
				r.tell(engine.Judged{Space: id, ID: j.ID, Verdict: verdicts[i]})
			}
		}
	}
}

// judge finds the verdicts on rumors. Those it leaves are lost.
func (s *Space) judge(rumors []engine.Judge, verdicts []gossip.Verdict) {
	view, err := s.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	here := func(id engine.ID) bool {
		n, err := view.Arrival(record.ID(id))
		return err == nil && n > 0
	}
	var batch [][]byte
	var places []int
	same := func(j engine.Judge) bool {
		v, err := view.Get(record.ID(j.ID))
		return err == nil && bytes.Equal(v.Bytes, j.Bytes)
	}
	for i, j := range rumors {
		switch {
		case j.Bytes == nil && here(j.ID):
			verdicts[i] = gossip.Accepted
		case j.Bytes != nil && here(j.ID) && same(j): // other bytes are verified, as those of anybody
			verdicts[i] = gossip.Known
		case j.Bytes != nil:
			batch = append(batch, j.Bytes)
			places = append(places, i)
		}
	}
	records, errs := record.VerifyBatch(s.ID(), batch)
	var good []*Record
	var of []int
	for k, i := range places {
		// A sweep means nothing without the sets it is about: it never
		// travels alone, and whoever sends one knows that.
		if errs[k] != nil || engine.ID(records[k].ID) != rumors[i].ID || records[k].Kind == record.Sweep {
			verdicts[i] = gossip.Rejected
			continue
		}
		good = append(good, records[k])
		of = append(of, i)
	}
	if len(good) == 0 {
		return
	}
	result, err := s.rows.Commit(context.Background(), good)
	if err != nil {
		return // our own disk is nobody's fault
	}
	for k, i := range of {
		switch result.Verdicts[k] {
		case space.Member:
			verdicts[i] = gossip.Accepted
		case space.Held:
			verdicts[i] = gossip.Undecided
		case space.Dead:
			verdicts[i] = gossip.Known
		default: // here before: a member by now, or held
			verdicts[i] = gossip.Undecided
			if s.isMember(good[k].ID) {
				verdicts[i] = gossip.Known
			}
		}
	}
}

func (s *Space) isMember(id record.ID) bool {
	view, err := s.rows.Snapshot()
	if err != nil {
		return false
	}
	defer view.Close()
	n, err := view.Arrival(id)
	return err == nil && n > 0
}

// Notes. Kind 1 says where a device can be reached: the addresses as in a
// ticket.
const noteAddrs = 1

// judgeNote checks a note's signature, and keeps what it says.
func (r *Replica) judgeNote(j engine.JudgeNote) {
	n, err := engine.ParseNote(j.Bytes)
	if err != nil {
		return // the engine has parsed it before
	}
	unsigned, signature := engine.SplitNote(j.Bytes)
	device := record.Key(n.Device)
	in := engine.NoteJudged{
		Space: j.Space, From: j.From, Bytes: j.Bytes,
		Good: record.VerifyMessage(device, engine.NoteMessage(j.Space, unsigned), signature),
		Age:  r.options.Clock().Sub(time.UnixMicro(int64(n.Time))),
	}
	if in.Good && n.Kind == noteAddrs && in.Age < engine.MaxNoteAge {
		if addrs, err := decodeAddrs(n.Body); err == nil {
			r.noted(device, addrs)
		}
	}
	r.tell(in)
}

// noted keeps where a member says it can be reached. The member has signed
// it; that somebody answers there with its key is for a connection to prove.
func (r *Replica) noted(device record.Key, addrs []string) {
	p := r.peer(device)
	p.mu.Lock()
	fresh := !slices.Equal(p.noted, addrs)
	p.noted = addrs
	p.mu.Unlock()
	if fresh {
		r.tell(engine.Found{Peer: engine.Peer(device)})
	}
}

// sayWhere tells the members of every space where this device can be reached.
func (r *Replica) sayWhere() {
	for _, s := range r.all() {
		r.sayWhereIn(s.ID())
	}
}

func (r *Replica) sayWhereIn(id record.SpaceID) {
	if r.loop == nil || r.options.Manual {
		return
	}
	unsigned := engine.AppendNote(nil, engine.ParsedNote{
		Kind: noteAddrs, Device: engine.Peer(r.Device()), Time: r.now(), Body: Ticket{Addrs: r.host.Addrs()}.encodeAddrs(),
	})
	signature := ed25519.Sign(r.device, engine.NoteMessage(id, unsigned))
	r.tell(engine.Note{Space: id, Bytes: append(unsigned, signature[:]...)})
}
