package anabranch

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"anabranch/crdt"
)

// KeptVersion is a version of a text that stays readable on this device when
// its records are folded.
type KeptVersion struct {
	Name    string
	Version TextVersion
	Time    uint64 // microseconds since 1970: when it was kept
	state   []byte
}

const (
	factKept = "kept"
	maxName  = 256 // bytes of a kept version's name
)

// Keep keeps a version of the text under a name, on this device: At reads it
// for good, also when its records were folded. It takes the bytes of a saved
// text. Keeping another version under the name replaces it.
func (t *Text) Keep(ctx context.Context, name string, v TextVersion) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return fmt.Errorf("anabranch: a version's name is text of 1 to %d bytes on one line, not %q", maxName, name)
	}
	return t.use(ctx, func(d *textDoc) error {
		doc, err := d.at(ctx, v)
		if err != nil {
			return err
		}
		state, err := doc.Save()
		if err != nil {
			return err
		}
		dots := v.dots.AppendTo(nil)
		b := binary.BigEndian.AppendUint64([]byte{textStateVersion}, d.space.replica.now())
		b = append(crdt.AppendUvarint(b, uint64(len(dots))), dots...)
		return named(d.space.replica.store.SetFact(ctx, d.keptFact(name), append(b, state...)))
	})
}

// Unkeep forgets a kept version. ErrNotFound if there is none of that name.
func (t *Text) Unkeep(ctx context.Context, name string) error {
	return t.use(ctx, func(d *textDoc) error {
		if _, ok, err := d.space.replica.store.Fact(d.keptFact(name)); err != nil || !ok {
			return cmp.Or(named(err), fmt.Errorf("%w: no version %q of %q is kept", ErrNotFound, name, d.path))
		}
		return named(d.space.replica.store.SetFact(ctx, d.keptFact(name), nil))
	})
}

// Kept lists the kept versions of the text, oldest first.
func (t *Text) Kept(ctx context.Context) ([]KeptVersion, error) {
	var out []KeptVersion
	err := t.use(ctx, func(d *textDoc) (err error) {
		out, err = d.kept()
		return err
	})
	return out, err
}

func (d *textDoc) keptFact(name string) string { return d.fact(factKept) + "\x00" + name }

func (d *textDoc) kept() ([]KeptVersion, error) {
	prefix := d.keptFact("")
	facts, err := d.space.replica.store.Facts(prefix)
	if err != nil {
		return nil, named(err)
	}
	var out []KeptVersion
	for key, b := range facts {
		if len(b) < 9 || b[0] != textStateVersion {
			continue
		}
		n, k := crdt.Uvarint(b[9:])
		if k == 0 || n > uint64(len(b)-9-k) {
			continue
		}
		at := 9 + k + int(n)
		dots, err := crdt.DecodeContext(b[9+k : at])
		if err != nil {
			continue
		}
		out = append(out, KeptVersion{
			Name: strings.TrimPrefix(key, prefix), Version: TextVersion{dots},
			Time: binary.BigEndian.Uint64(b[1:]), state: b[at:],
		})
	}
	slices.SortFunc(out, func(a, b KeptVersion) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}
