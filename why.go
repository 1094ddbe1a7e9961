package anabranch

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

// Place is where a record is kept: in the set, or outside of it.
type Place string

const (
	PlaceMember Place = "member" // in the set, under the root
	PlaceHeld   Place = "held"   // nothing known here authorises it; in no root
	PlaceDead   Place = "dead"   // its author removed it; in the trash, in no root
)

// Reason names the rule by which a record is where it is.
type Reason string

const (
	ByRootKey     Reason = "root_key"       // member: a root key of the space signed it
	ByGrant       Reason = "grant"          // member: a grant of its author covers it
	BySealList    Reason = "seal_list"      // member: its author was revoked, and the seal lists it
	NoGrant       Reason = "no_grant"       // held: no grant of its author is known
	NotCovered    Reason = "not_covered"    // held: its author's grants are for other paths
	NotEnough     Reason = "role_too_small" // held: its author's grants do not allow it
	Revoked       Reason = "revoked"        // held: its author was revoked, and no seal lists it
	UnknownIssuer Reason = "unknown_issuer" // held: the grant it was issued under is not known, or does not stand
	Swept         Reason = "swept"          // dead: a sweep of its author removed it
	Redundant     Reason = "redundant"      // dead: another sweep does what this one does
	Unclear       Reason = "unclear"        // none of these; the rules say so all the same
)

// Why explains one record: who wrote it, where it is kept and by which rule,
// and who is known to hold it.
type Why struct {
	*Record
	Device record.Key // whose grant names the author; zero if none is known
	Label  string     // what the device is called in the space: show it quoted
	Petname,
	Role string // of the author's greatest grant that stands; empty if none is known
	Place  Place
	Reason Reason
	By     []record.ID // the grants, seals or sweeps that decide
	Under  []string    // with NotCovered: the areas that the author may write in
	Caught *Caught     // what its author's device signed falsely, if it is known to have
	Forked bool        // another record stands under its lane and number, or may
	// Of a document in the set: what reading its path makes of it, and the
	// version that is read, which is itself if State is Current.
	State   VersionState
	Reads   record.ID
	Expired bool
	// Devices that agreed on a root that includes it, newest first, and the
	// other members, of whom it is not known.
	Holders []Holder
	Others  []Holder
}

// Holder is a member's device that was found to hold a record, or not known
// to.
type Holder struct {
	Device         record.Key
	Label, Petname string
	At             time.Time // of the comparison
	Root           Root
	Caught         *Caught // what it signed falsely, if it is known to have
}

// maxWhy bounds the records explained for one path.
const maxWhy = 1000

// Why explains a record, named by four or more characters of its ID, or
// everything at exactly one path, if what begins with a slash: every live
// version, entries and deltas, and what is held or in the trash, at most a
// thousand records. ErrNotFound if there is nothing: it was never here, or it
// is gone from the trash too.
//
// Cost: for a path, all held records and all trash are read.
func (s *Space) Why(ctx context.Context, what string) ([]Why, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	e := &explainer{space: s, view: view, state: view.State()}
	var found []*Record
	if strings.HasPrefix(what, "/") {
		found, err = e.at(ctx, what)
	} else {
		found, err = e.named(what)
	}
	if err != nil {
		return nil, err
	}
	if err := e.prepare(); err != nil {
		return nil, err
	}
	out := make([]Why, 0, len(found))
	for _, v := range found {
		w, err := e.explain(v)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// explainer explains records of one snapshot.
type explainer struct {
	caught map[record.Key]*Caught // by device
	space  *Space
	view   *store.Snapshot
	state  *space.State
	called map[record.Key]string
	forks  []Fork
	peers  []holding
}

// holding is what is known of a peer: what it agreed on, when, and at which
// version of this store; Version 0 if never.
type holding struct {
	Holder
	version uint64
	now     bool // the root is the one held now
}

// named finds the one record whose ID begins so.
func (e *explainer) named(prefix string) ([]*Record, error) {
	if len(prefix) < 4 || len(prefix) > 64 {
		return nil, fmt.Errorf("anabranch: an ID is given by 4 to 64 characters, not %d", len(prefix))
	}
	var id record.ID
	if _, err := hex.Decode(id[:], []byte(prefix + "0")[:(len(prefix)+1)/2*2]); err != nil {
		return nil, fmt.Errorf("anabranch: %q is not hexadecimal", prefix)
	}
	bits := 4 * len(prefix)
	count, _, err := e.view.Trie().Subtree(id, bits)
	if err != nil {
		return nil, err
	}
	var found []*Record
	if count == 1 {
		ids, err := e.view.Trie().IDs(id, bits)
		if err != nil {
			return nil, err
		}
		v, err := e.view.Get(ids[0])
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	for o, err := range e.view.Outside(id, bits) {
		if err != nil {
			return nil, err
		}
		if found = append(found, o.Record); len(found) > 1 {
			break
		}
	}
	switch {
	case count > 1 || len(found) > 1:
		return nil, fmt.Errorf("anabranch: several records begin with %s, give more of it", prefix)
	case len(found) == 0:
		return nil, fmt.Errorf("%w: no record %s… is here, in the set or outside: it never was, or it was removed and destroyed", ErrNotFound, prefix)
	}
	return found, nil
}

// at finds everything at a path, newest first.
func (e *explainer) at(ctx context.Context, path string) ([]*Record, error) {
	if err := record.CheckPath(path); err != nil {
		return nil, err
	}
	var found []*Record
	for v, err := range e.view.List(store.Query{Prefix: path, Order: store.Path}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if v.Path != path || len(found) == maxWhy {
			break // the path itself comes before what lies below it
		}
		found = append(found, v)
	}
	for o, err := range e.view.Outside(record.ID{}, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if o.Record.Path == path && o.Record.Data() && len(found) < maxWhy {
			found = append(found, o.Record)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: nothing is at %q, in the set or outside: it never was, or it was removed and destroyed", ErrNotFound, path)
	}
	slices.SortFunc(found, func(a, b *Record) int {
		if a.Time != b.Time {
			if a.Time > b.Time {
				return -1
			}
			return 1
		}
		return b.ID.Compare(a.ID)
	})
	return found, nil
}

// prepare gathers what is the same for every record.
func (e *explainer) prepare() error {
	e.called = labels(e.state)
	var err error
	if e.forks, err = e.view.Forks(); err != nil {
		return err
	}
	root, err := e.view.Root()
	if err != nil {
		return err
	}
	if _, e.caught, err = e.space.witnessed(e.view, Root(root)); err != nil {
		return err
	}
	r := e.space.replica
	for _, g := range e.state.Members() {
		if g.Sealed || g.Device == r.Device() || slices.ContainsFunc(e.peers, func(p holding) bool { return p.Device == g.Device }) {
			continue
		}
		last := e.space.lastAgreement(g.Device)
		h := holding{Holder: e.holder(g.Device), version: last.upTo(), now: last.Root == Root(root)}
		h.At, h.Root = last.At, last.Root
		e.peers = append(e.peers, h)
	}
	slices.SortFunc(e.peers, func(a, b holding) int { return b.At.Compare(a.At) })
	return nil
}

func (e *explainer) holder(device record.Key) Holder {
	return Holder{Device: device, Label: e.called[device], Petname: e.space.replica.Petname(device), Caught: e.caught[device]}
}

func (e *explainer) explain(v *Record) (Why, error) {
	w := Why{Record: v}
	for _, g := range e.state.GrantsOf(v.Author) {
		if w.Role == "" || !g.Sealed {
			w.Device, w.Role = g.Device, g.Role.String()
		}
	}
	if w.Device != (record.Key{}) {
		h := e.holder(w.Device)
		w.Label, w.Petname, w.Caught = h.Label, h.Petname, h.Caught
	}
	w.Forked = v.Data() && slices.ContainsFunc(e.forks, func(f Fork) bool {
		return f.Author == v.Author && f.Lane == v.Lane && f.Number <= v.Seq
	})
	e.judge(&w)
	if w.Place != PlaceMember {
		return w, nil
	}
	if v.Kind == record.Doc {
		if err := e.read(&w); err != nil {
			return w, err
		}
	}
	n, err := e.view.Arrival(v.ID)
	if err != nil {
		return w, err
	}
	for _, p := range e.peers {
		// What had arrived by the version that a session spoke of is in the
		// root that it ended with, unless it left since; it has not.
		if !p.At.IsZero() && (p.now || n != 0 && n <= p.version) {
			w.Holders = append(w.Holders, p.Holder)
		} else {
			w.Others = append(w.Others, p.Holder)
		}
	}
	return w, nil
}

// read says what reading its path makes of a document.
func (e *explainer) read(w *Why) error {
	now := e.space.replica.now()
	reading, err := e.view.Resolve(w.Path, now)
	if err != nil {
		return err
	}
	is := func(v *Record) bool { return v.ID == w.ID }
	switch {
	case reading.Doc != nil && reading.Doc.ID == w.ID:
		w.State = Current
	case slices.ContainsFunc(reading.Conflicts, is):
		w.State = Conflicting
	default:
		w.State = Replaced
	}
	if reading.Doc != nil {
		w.Reads = reading.Doc.ID
	}
	w.Expired = w.Expires != 0 && w.Expires <= now
	return nil
}

// judge says where a record is and by which rule, as the law does.
func (e *explainer) judge(w *Why) {
	verdict := e.state.Judge(w.Record)
	w.Place = map[space.Verdict]Place{space.Member: PlaceMember, space.Held: PlaceHeld, space.Dead: PlaceDead}[verdict]
	w.Reason = Unclear
	if e.state.IsRoot(w.Author) && verdict == space.Member {
		w.Reason = ByRootKey
		return
	}
	if w.Place == PlaceDead {
		e.dead(w)
		return
	}
	if w.Kind == record.Control {
		e.issued(w)
		return
	}
	e.granted(w)
}

// dead finds the sweeps that removed a record.
func (e *explainer) dead(w *Why) {
	for _, sweep := range e.state.Sweeps() {
		if sweep.Author != w.Author || sweep.Lane != w.Lane || sweep.ID == w.ID {
			continue
		}
		switch {
		case w.Kind == record.Sweep && sweep.Path == w.Path && sweep.Dots().Contains(w.Dots()):
			w.Reason = Redundant
		case w.Data() && record.Covers(sweep.Path, w.Path) && sweep.Dots().Has(w.Seq):
			w.Reason = Swept
		default:
			continue
		}
		w.By = append(w.By, sweep.ID)
	}
}

// granted finds the grants that admit a data record or a sweep, or why none
// does.
func (e *explainer) granted(w *Why) {
	var open, sealed []record.ID
	var covered, grants bool
	for _, g := range e.state.GrantsOf(w.Author) {
		grants = true
		if g.Role < record.Writer {
			continue
		}
		if !record.Covers(g.Area, w.Path) {
			w.Under = append(w.Under, g.Area)
			continue
		}
		covered = true
		if g.Sealed {
			sealed = append(sealed, e.sealsOf(g.ID)...)
		} else {
			open = append(open, g.ID)
		}
	}
	switch {
	case w.Place == PlaceMember && len(open) > 0:
		w.Reason, w.By = ByGrant, open
	case w.Place == PlaceMember:
		w.Reason, w.By = BySealList, sealed
	case !grants:
		w.Reason = NoGrant
	case covered:
		w.Reason, w.By = Revoked, sealed
	case len(w.Under) > 0:
		w.Reason = NotCovered
	default:
		w.Reason = NotEnough
	}
	if w.Reason != NotCovered {
		w.Under = nil
	}
}

// issued says why a control record stands, or does not.
func (e *explainer) issued(w *Why) {
	body, err := record.ParseControl(w.Payload)
	if err != nil {
		return
	}
	i := slices.IndexFunc(e.state.Members(), func(g space.GrantInfo) bool { return g.ID == body.Under && g.Author == w.Author })
	if i < 0 {
		w.Reason = UnknownIssuer
		return
	}
	g := e.state.Members()[i]
	switch {
	case w.Place == PlaceMember && !g.Sealed:
		w.Reason, w.By = ByGrant, []record.ID{g.ID}
	case w.Place == PlaceMember:
		w.Reason, w.By = BySealList, e.sealsOf(g.ID)
	case g.Role != record.Admin:
		w.Reason, w.By = NotEnough, []record.ID{g.ID}
	case !record.Covers(g.Area, w.Path):
		w.Reason, w.By, w.Under = NotCovered, []record.ID{g.ID}, []string{g.Area}
	case g.Sealed:
		w.Reason, w.By = Revoked, e.sealsOf(g.ID)
	}
}

// sealsOf are the standing seals on a grant.
func (e *explainer) sealsOf(grant record.ID) []record.ID {
	var out []record.ID
	for _, v := range e.state.Control() {
		if body, err := record.ParseControl(v.Payload); err == nil && body.Seal != nil && body.Seal.Target == grant {
			out = append(out, v.ID)
		}
	}
	return out
}
