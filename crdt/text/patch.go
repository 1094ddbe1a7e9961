package text

// Patch is one change of the visible text: at Pos, Delete runes go and Text
// comes.
type Patch struct {
	Pos    int
	Delete int
	Text   string
	Lane   uint64 // who did it
	Local  bool   // by an edit of this document: Insert, Delete, Undo, Redo
}

// Watch makes the document call fn after every change of its visible text, in
// order: applied one after the other to the text before, the patches give the
// text after. fn may read nothing of the document but what the patch says. nil
// ends it.
func (d *Doc) Watch(fn func(Patch)) { d.watch = fn }

// notice tells the watcher of a change to characters from x on, which are in
// span i of a leaf.
func (d *Doc) notice(l *leaf, i int, x id, p Patch) {
	p.Pos = int(d.before(l))
	for k := range l.spans[:i] {
		p.Pos += int(l.spans[k].visible())
	}
	if s := &l.spans[i]; s.clen&1 == 1 {
		p.Pos += int(x - s.id)
	}
	d.watch(p)
}
