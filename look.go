package anabranch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

// lookProtocol tells what a session would do and what two devices differ in,
// and moves no record.
const lookProtocol = "/anabranch/look/1"

// Plan is what a session with a device would do now: which method, how many
// records differ, how many bytes of frames that would take beside records.
// The device makes the choice, as it would in a session.
type Plan = session.Forecast

// Difference is what two devices hold alone, as found by comparing IDs.
type Difference struct {
	Device record.Key
	Plan           // what a session would have done, and both roots
	Lacks  []Stray // held here, and not by the device
	Has    []record.ID
	Rounds int   // times the device was asked
	Bytes  int64 // of all frames, both ways
}

// Stray is a record that only one side holds.
type Stray struct {
	ID     record.ID
	Kind   record.Kind
	Path   string
	Time   uint64
	Author record.Key
	Size   int // of its payload, in bytes
}

// Plan asks a member's device what a session with it would do now. No record
// is moved, and nothing is concluded but whether the roots are equal.
//
// Errors worth matching: those of Sync.
func (s *Space) Plan(ctx context.Context, device record.Key) (Plan, error) {
	d, err := s.look(ctx, device, false)
	return d.Plan, err
}

// Diff compares what is held here with what a member's device holds, by IDs,
// control records and sweeps included, and moves no record. What the device
// has is known by ID only: nobody can check what else it would say of it. It
// costs some 150 bytes and a share of some four round trips for each record
// that differs.
//
// Errors worth matching: those of Sync.
func (s *Space) Diff(ctx context.Context, device record.Key) (Difference, error) {
	return s.look(ctx, device, true)
}

func (s *Space) look(ctx context.Context, device record.Key, compare bool) (Difference, error) {
	d := Difference{Device: device}
	err := s.lookInto(ctx, &d, compare)
	if err != nil {
		err = fmt.Errorf("anabranch: look at %v: %w", short(device), named(err))
	}
	return d, err
}

func (s *Space) lookInto(ctx context.Context, d *Difference, compare bool) error {
	r := s.replica
	switch {
	case r.host == nil || !r.Online():
		return ErrOffline
	case d.Device == r.Device():
		return errors.New("that is this device")
	case !s.mayRead(d.Device):
		return fmt.Errorf("%w: device %v", ErrNotMember, short(d.Device))
	}
	var views views
	defer views.close()
	snap, err := s.rows.Snapshot()
	if err != nil {
		return err
	}
	look, frame, err := session.NewLook(s.sessionOptions(d.Device, views.keep(snap)))
	if err != nil {
		return err
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stream, err := r.host.Open(dialing, mesh.Key(d.Device), r.addrsOf(d.Device), lookProtocol)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Reset)()
	if frame, err = d.ask(stream, frame); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	if d.Plan, err = look.Forecast(frame); err != nil || !compare || d.Equal() {
		return err
	}
	next, err := look.Compare()
	for err == nil && next != nil {
		if frame, err = d.ask(stream, next); err == nil {
			next, err = look.Step(frame)
		}
	}
	if err != nil {
		stream.Reset()
		return errors.Join(ctx.Err(), err)
	}
	ours, theirs := look.Found()
	d.Has = theirs
	return d.name(snap, ours)
}

// ask writes a frame and reads the answer to it.
func (d *Difference) ask(stream mesh.Stream, frame []byte) ([]byte, error) {
	if err := stream.SetDeadline(time.Now().Add(sessionIdle)); err != nil {
		return nil, err
	}
	if err := stream.WriteFrame(frame); err != nil {
		return nil, err
	}
	answer, err := stream.ReadFrame()
	d.Rounds++
	read, written := stream.Traffic()
	d.Bytes = read + written
	return answer, err
}

func (d *Difference) name(snap *store.Snapshot, ids []record.ID) error {
	for _, id := range ids {
		r, err := snap.Get(id)
		switch {
		case errors.Is(err, store.ErrNotFound): // it died since
			d.Lacks = append(d.Lacks, Stray{ID: id})
		case err != nil:
			return err
		default:
			d.Lacks = append(d.Lacks, Stray{id, r.Kind, r.Path, r.Time, r.Author, len(r.Payload)})
		}
	}
	return nil
}

// show answers a look until the peer has seen enough. Whoever names no space
// of ours, or may not read it, learns nothing.
func (r *Replica) show(stream mesh.Stream, device record.Key) error {
	if err := stream.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	first, err := stream.ReadFrame()
	if err != nil {
		return err
	}
	hello, err := session.ParseHello(first)
	s := r.spaceOf(hello, device)
	if err != nil || s == nil || time.Now().Before(r.peer(device).blockedUntil()) {
		return stream.WriteFrame(session.Refusal())
	}
	var views views
	defer views.close()
	snap, err := s.rows.Snapshot()
	if err != nil {
		return err
	}
	shown, answer, err := session.Show(s.sessionOptions(device, views.keep(snap)), first)
	for err == nil {
		if err = stream.WriteFrame(answer); err != nil {
			return err
		}
		if err = stream.SetDeadline(time.Now().Add(sessionIdle)); err != nil {
			return err
		}
		frame, gone := stream.ReadFrame()
		if gone != nil || !s.mayRead(device) { // enough was seen, or it may see no more
			return nil
		}
		answer, err = shown.Answer(frame)
	}
	return err
}
