package text

import "anabranch/crdt"

// Diff is what turns the text of one document into that of another: patches to
// apply one after the other, in order of position, each as long as it can be.
// The two are states of one text: characters that both have, stand in one
// order. Their cost is a look at every span of the one that knows more, or of
// both joined when neither knows all that the other does.
func Diff(from, to *Doc) []Patch {
	both := to
	if a, b := from.Version(), to.Version(); !b.Covers(a) {
		both = from
		if !a.Covers(b) {
			both = New(0)
			for _, d := range []*Doc{from, to} {
				for _, delta := range d.Since(both.Version()) {
					if _, err := both.Apply(delta.Lane, delta.Body); err != nil {
						panic("text: Since made a delta that Apply refuses: " + err.Error())
					}
				}
			}
		}
	}
	var out []Patch
	var open Patch
	pos := 0
	end := func() {
		if open.Delete > 0 || open.Text != "" {
			open.Pos = pos
			out = append(out, open)
			for range open.Text {
				pos++
			}
		}
		open = Patch{}
	}
	for k := both.first; k >= 0; k = both.leaves[k].next {
		l := both.leaves[k]
		for i := range l.spans[:l.n] {
			s := l.spans[i]
			for s.n > 0 {
				dot := both.dot(s.id)
				was, n := from.shown(dot, s.n)
				is, n := to.shown(dot, n)
				switch {
				case was && is:
					end()
					pos += int(n)
				case was:
					open.Delete += int(n)
				case is:
					open.Text += string(to.read(nil, to.find(dot), n))
				}
				s.id += id(n)
				s.n -= n
			}
		}
	}
	end()
	return out
}

// shown reports whether a character is visible, and of how many, at most n,
// from it on in its lane the same holds.
func (d *Doc) shown(dot crdt.Dot, n uint32) (bool, uint32) {
	if !d.Has(dot) {
		return false, n // nor are later ones of the lane
	}
	l, i, off := d.locate(d.find(dot))
	s := &l.spans[i]
	return s.clen&1 == 1, min(n, s.n-off)
}
