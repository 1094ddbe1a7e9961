package session

import (
	"errors"
	"fmt"

	"anabranch/record"
	"anabranch/space"
)

// intake is the way of a record that arrived: stream, verification, commit.
// At most one batch is with the verifier and at most one with the store.
type intake struct {
	queue      [][]byte // canonical bytes, to be verified
	batch      [][]byte // being verified
	good       []*record.Verified
	bytes      int // in queue, batch, good and under commit
	underway   int // bytes under commit
	verifying  bool
	committing bool
	number     int         // records taken from the stream before the batch
	kind       record.Kind // in stepFail: what the exchange that failed was about
}

func (in *intake) idle() bool {
	return !in.verifying && !in.committing && len(in.queue) == 0 && len(in.good) == 0
}

// drop forgets what is not verified yet.
func (in *intake) drop() {
	in.queue, in.good = nil, nil
	in.bytes = in.underway
	for _, b := range in.batch {
		in.bytes += len(b)
	}
}

// stepKind is the kind of record that a step moves; 0 means data.
func stepKind(s step) record.Kind {
	switch s {
	case stepControl:
		return record.Control
	case stepSweeps:
		return record.Sweep
	}
	return 0
}

// data takes a piece of the peer's stream.
func (s *Session) data(piece []byte) {
	if len(piece) == 0 {
		s.fail(&FrameError{Frame: DataFrame, Reason: "empty"}, true)
		return
	}
	s.report.DataBytesIn += int64(len(piece))
	records, err := s.dec.write(piece)
	for _, r := range records {
		s.in.bytes += len(r)
		s.x.received += len(r)
	}
	s.in.queue = append(s.in.queue, records...)
	switch {
	case err != nil:
		s.fail(err, true)
	case s.step != stepData && s.x.received > maxSetBytes:
		s.fail(&LimitError{What: "bytes of " + s.step.String(), Limit: maxSetBytes}, true)
	}
}

// pump hands the shell what is due: a batch to the verifier, what it found
// good to the store.
func (s *Session) pump() {
	in := &s.in
	if !in.verifying && len(in.queue) > 0 {
		n, size := 0, 0
		for n < len(in.queue) && n < batchRecords && size < batchBytes {
			size += len(in.queue[n])
			n++
		}
		in.batch, in.queue = in.queue[:n:n], in.queue[n:]
		in.verifying = true
		s.out = append(s.out, Verify{Batch: in.batch})
	}
	if !in.committing && len(in.good) > 0 {
		for _, r := range in.good {
			in.underway += len(r.Bytes)
		}
		in.committing = true
		s.out = append(s.out, Commit{Records: in.good})
		in.good = nil
	}
}

func (s *Session) verified(v Verified) {
	in := &s.in
	if !in.verifying || len(v.Records) != len(in.batch) || len(v.Errs) != len(in.batch) {
		s.fail(fmt.Errorf("session: %d verdicts for a batch of %d", len(v.Records), len(in.batch)), false)
		in.verifying, in.batch = false, nil
		in.drop()
		return
	}
	for _, b := range in.batch {
		in.bytes -= len(b)
	}
	in.verifying, in.batch = false, nil
	for i, r := range v.Records {
		if err := v.Errs[i]; err != nil {
			s.fail(&RecordError{Number: in.number + i, Err: err}, true)
			continue
		}
		s.report.RecordsIn++
		s.report.RecordBytesIn += int64(len(r.Bytes))
		s.take(r, in.number+i)
	}
	in.number += len(v.Records)
}

var errKind = errors.New("session: its kind has no place in this step")

// take decides about one record whose signature holds.
func (s *Session) take(r *record.Verified, number int) {
	kind := stepKind(s.step)
	if s.step == stepFail {
		kind = s.in.kind
	}
	if r.Kind != kind && (kind != 0 || !r.Data()) {
		s.fail(&RecordError{Number: number, Err: fmt.Errorf("%w: %v", errKind, r.Kind)}, true)
		return
	}
	if wanted := s.expected(r.ID); s.initiator && !wanted && !s.x.pulled && s.step != stepFail {
		s.unwanted()
	}
	switch kind {
	case record.Control:
		s.save(r)
	case record.Sweep:
		s.takeSweep(r)
	default:
		s.takeData(r)
	}
}

// takeSweep keeps a sweep for the filter. It is committed last, with all the
// others, or not at all.
func (s *Session) takeSweep(r *record.Verified) {
	if s.step != stepSweeps {
		return
	}
	if _, twice := s.x.taken[r.ID]; twice {
		s.unwanted()
		return
	}
	if s.view.State().Judge(r) == space.Held {
		s.held()
		return
	}
	s.x.taken[r.ID] = struct{}{}
	s.sweeps = append(s.sweeps, r)
}

func (s *Session) takeData(r *record.Verified) {
	if s.step == stepFail {
		s.save(r)
		return
	}
	known, err := contains(s.view.Index(), r)
	if err != nil {
		s.fail(err, false)
		return
	}
	if known || s.x.arrived.has(r.ID) {
		s.unwanted()
		return
	}
	switch s.view.State().Judge(r) {
	case space.Member:
		s.x.arrived.add(r)
		s.save(r)
	case space.Held:
		s.held()
		s.save(r)
	default: // dead under sweeps that both sides know: the peer offers what it does not hold
		s.unwanted()
	}
}

func (s *Session) save(r *record.Verified) {
	if r.Data() {
		s.diff.in++
	}
	s.in.good = append(s.in.good, r)
	s.in.bytes += len(r.Bytes)
}

func (s *Session) unwanted() {
	s.report.Unwanted++
	if s.report.Unwanted > maxUnwanted {
		s.fail(&LimitError{What: "records that were not wanted", Limit: maxUnwanted}, true)
	}
}

func (s *Session) held() {
	s.report.Held++
	if s.report.Held > maxHeld {
		s.fail(&LimitError{What: "records of unknown authority", Limit: maxHeld}, false)
	}
}

func (s *Session) committed(c Committed) {
	in := &s.in
	if !in.committing {
		s.fail(errors.New("session: a commit that was not asked for"), false)
		return
	}
	in.committing = false
	in.bytes -= in.underway
	in.underway = 0
	if c.Err != nil {
		if s.step == stepApply {
			s.step = stepData // nothing was swept; the roots were equal all the same
		}
		in.drop()
		s.fail(fmt.Errorf("session: commit: %w", c.Err), false)
		return
	}
	switch s.step {
	case stepApply:
		s.report.Completed = true
		s.finish()
	case stepControl:
		if c.View == nil {
			s.fail(errors.New("session: no view after a commit of control records"), false)
			return
		}
		s.view = c.View
	}
}
