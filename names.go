package anabranch

import (
	"context"
	"fmt"
	"os"
	"unicode"
	"unicode/utf8"

	"anabranch/record"
	"anabranch/space"
)

// A device has two kinds of names. Its label is in the space, for everybody:
// what the device calls itself, or what an admin called it; it is shown
// quoted and never decides anything. Its petname is this replica's own, seen
// by nobody else, and a command may be given it.

// A label that names a device is a control record of the label type:
//
//	1 (names a device) | device key 32 | name, UTF-8, 1-64 bytes
const labelsDevice = 1

func newLabel(under record.ID, device record.Key, name string) record.ControlBody {
	body := append([]byte{labelsDevice}, device[:]...)
	return record.ControlBody{Type: record.LabelType, Under: under, Label: append(body, name...)}
}

// labels are the newest names of devices, by the control records that stand.
// A label counts for a device whose every grant lies in the label's area, so
// that the admin of a corner names nobody outside it.
func labels(state *space.State) map[record.Key]string {
	out := map[record.Key]string{}
	for _, v := range state.Control() { // oldest first, so the newest wins
		if device, name, ok := parseLabel(v); ok && within(state, device, v.Path) {
			out[device] = name
		}
	}
	return out
}

func parseLabel(v *Record) (record.Key, string, bool) {
	c, err := record.ParseControl(v.Payload)
	if err != nil || c.Type != record.LabelType || len(c.Label) < 1+32 || c.Label[0] != labelsDevice {
		return record.Key{}, "", false
	}
	name := string(c.Label[33:])
	return record.Key(c.Label[1:33]), name, checkLabel(name) == nil
}

func within(state *space.State, device record.Key, area string) bool {
	for _, g := range state.GrantsOfDevice(device) {
		if !record.Covers(area, g.Area) {
			return false
		}
	}
	return true
}

// checkLabel accepts what may be shown as a device's name.
func checkLabel(name string) error {
	if name == "" || len(name) > maxNameBytes || !utf8.ValidString(name) {
		return fmt.Errorf("%w: a device's name is 1 to %d bytes of UTF-8", ErrName, maxNameBytes)
	}
	for _, c := range name {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("%w: a device's name has no %q", ErrName, c)
		}
	}
	return nil
}

// ownLabel is what this device calls itself when it joins or makes a space.
func (r *Replica) ownLabel() string {
	name := r.options.DeviceName
	if name == "" {
		name, _ = os.Hostname()
	}
	if checkLabel(name) != nil {
		return ""
	}
	return name
}

// Label gives a device a name that every member sees. ErrNotAuthorised
// unless this device is an admin of the whole space.
func (s *Space) Label(ctx context.Context, device record.Key, name string) error {
	if err := checkLabel(name); err != nil {
		return err
	}
	issuer, err := s.issuer("/")
	if err != nil {
		return err
	}
	now := s.replica.now()
	view, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	for _, v := range view.State().Control() { // after whatever names it now, however that is dated
		if labelled, _, ok := parseLabel(v); ok && labelled == device {
			now = min(max(now, v.Time+1), record.MaxTime)
		}
	}
	view.Close()
	_, err = s.rows.Issue(ctx, s.author(), now, "/", newLabel(issuer.ID, device, name))
	return named(err)
}

func petnameFact(device record.Key) string { return "petname/" + device.String() }

// SetPetname gives a device this replica's own name; "" takes it away.
func (r *Replica) SetPetname(ctx context.Context, device record.Key, name string) error {
	if name == "" {
		return named(r.store.SetFact(ctx, petnameFact(device), nil))
	}
	if err := checkLabel(name); err != nil {
		return err
	}
	return named(r.store.SetFact(ctx, petnameFact(device), []byte(name)))
}

// Petname is this replica's own name for a device, "" if it has none.
func (r *Replica) Petname(device record.Key) string {
	name, _, err := r.store.Fact(petnameFact(device))
	if err != nil {
		return ""
	}
	return string(name)
}

// Forget drops what is remembered of a device here: its petname, its
// addresses, and when both last agreed. It takes no right away.
func (r *Replica) Forget(ctx context.Context, device record.Key) error {
	facts := []string{petnameFact(device), addrFact(device)}
	for _, s := range r.all() {
		facts = append(facts, agreedFact(s.ID(), device), partedFact(s.ID(), device))
	}
	for _, fact := range facts {
		if err := r.store.SetFact(ctx, fact, nil); err != nil {
			return named(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.peers[device]; p != nil {
		p.mu.Lock()
		clear(p.agreed)
		clear(p.failed)
		clear(p.parted)
		p.mu.Unlock()
	}
	return nil
}
