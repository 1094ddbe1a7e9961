package text

// id names a character inside one document: the index of its lane in
// Doc.lanes, and its number there in the low 32 bits. 0, which is no
// character's since numbers start at 1, is the start of the document.
type id uint64

func makeID(lane int, number uint32) id { return id(lane)<<32 | id(number) }

func (x id) lane() int      { return int(x >> 32) }
func (x id) number() uint32 { return uint32(x) }

// span is a run of characters that stand together in the document, were
// numbered one after the other and share one causal length. Its first
// character has the origins written here; each further one has the character
// before it as left origin and no right parent.
type span struct {
	id   id     // of the first character
	ol   id     // left origin: the visible character it was typed after
	rp   id     // right parent: the sibling it was typed before, or 0
	n    uint32 // characters, >= 1
	clen uint32 // causal length: odd is visible
}

// visible is the number of characters that are shown.
func (s *span) visible() uint32 { return s.n & -(s.clen & 1) }

// continues reports whether the span, standing right after s, could have been
// typed as the rest of it.
func (s *span) continues(b *span) bool {
	return b.id == s.id+id(s.n) && b.ol == b.id-1 && b.rp == 0
}

// run is n characters of one lane that were typed one after the other, as
// deltas speak of them: the first is a child of parent, on its left or its
// right, each further one the right child of the one before.
type run struct {
	id, parent id
	n          uint32
	left       bool
}

// run is the span's part from offset off on, at most n characters.
func (s *span) run(off, n uint32) run {
	switch r := (run{id: s.id + id(off), n: min(n, s.n-off)}); {
	case off > 0:
		r.parent = r.id - 1
		return r
	case s.rp != 0:
		r.parent, r.left = s.rp, true
		return r
	default:
		r.parent = s.ol
		return r
	}
}

// claim says that n characters have at least the causal length clen.
type claim struct {
	id      id
	n, clen uint32
}

// lane is one writer's characters, by number.
type lane struct {
	name  uint64
	next  uint32 // the number that its next character will have
	pages []page
}

// A page holds where the characters of pageLen numbers are and what they say.
// Pages keep what was written in place while a lane grows.
const (
	pageBits = 9
	pageLen  = 1 << pageBits
	pageMask = pageLen - 1
)

type page struct {
	leaf  []int32 // the leaf that holds each character
	ascii []byte  // what they say, or
	wide  []rune  // this, from the first character outside ASCII on
}

// grow makes room for numbers up to last. A lane's first page starts small:
// many lanes have few characters.
func (l *lane) grow(last uint32) {
	top := int(last >> pageBits)
	if top < len(l.pages) && int(last&pageMask) < len(l.pages[top].leaf) {
		return
	}
	size := pageLen
	if top == 0 {
		for size = 16; size <= int(last); size *= 4 {
		}
		size = min(size, pageLen)
	}
	if len(l.pages) == 0 {
		l.pages = append(l.pages, page{})
	}
	if p := &l.pages[0]; len(p.leaf) < size {
		p.leaf = append(make([]int32, 0, size), p.leaf...)[:size]
		if p.wide != nil {
			p.wide = append(make([]rune, 0, size), p.wide...)[:size]
		} else {
			p.ascii = append(make([]byte, 0, size), p.ascii...)[:size]
		}
	}
	// A lane that has many gets several at once, up to a fifth more than it needs.
	if n := max(top+1-len(l.pages), min(len(l.pages)/4, 12)); top >= len(l.pages) {
		l.pages = append(l.pages, makePages(n)...)
	}
}

func makePages(n int) []page {
	leaves, ascii, pages := make([]int32, n*pageLen), make([]byte, n*pageLen), make([]page, n)
	for i := range pages {
		at := i * pageLen
		pages[i] = page{leaf: leaves[at : at+pageLen : at+pageLen], ascii: ascii[at : at+pageLen : at+pageLen]}
	}
	return pages
}

// widen turns a page to runes.
func (p *page) widen() {
	if p.wide != nil {
		return
	}
	p.wide = make([]rune, len(p.ascii))
	for i, b := range p.ascii {
		p.wide[i] = rune(b)
	}
	p.ascii = nil
}

// write stores what the characters from number on say: text is UTF-8.
func write[T string | []byte](l *lane, number uint32, text T, ascii bool) {
	if !ascii {
		for _, r := range string(text) {
			p := &l.pages[number>>pageBits]
			if r >= 0x80 {
				p.widen()
			}
			if p.wide != nil {
				p.wide[number&pageMask] = r
			} else {
				p.ascii[number&pageMask] = byte(r)
			}
			number++
		}
		return
	}
	if p := &l.pages[number>>pageBits]; len(text) == 1 && p.wide == nil {
		p.ascii[number&pageMask] = text[0]
		return
	}
	for len(text) > 0 {
		p := &l.pages[number>>pageBits]
		at := int(number & pageMask)
		k := min(len(text), len(p.leaf)-at)
		if p.wide == nil {
			copy(p.ascii[at:], text[:k])
		} else {
			for i := range k {
				p.wide[at+i] = rune(text[i])
			}
		}
		number += uint32(k)
		text = text[k:]
	}
}

// read appends what n characters from number on say, as UTF-8.
func (l *lane) read(b []byte, number, n uint32) []byte {
	for n > 0 {
		p := &l.pages[number>>pageBits]
		at := number & pageMask
		k := min(n, pageLen-at)
		if p.wide == nil {
			b = append(b, p.ascii[at:at+k]...)
		} else {
			b = append(b, string(p.wide[at:at+k])...)
		}
		number += k
		n -= k
	}
	return b
}

// put notes the leaf that n characters from number on are in.
func (l *lane) put(number, n uint32, leaf int32) {
	if n == 1 {
		l.pages[number>>pageBits].leaf[number&pageMask] = leaf
		return
	}
	l.putAll(number, n, leaf)
}

//go:noinline
func (l *lane) putAll(number, n uint32, leaf int32) {
	for n > 0 {
		at := number & pageMask
		k := min(n, pageLen-at)
		where := l.pages[number>>pageBits].leaf[at : at+k]
		for i := range where[:min(k, 16)] {
			where[i] = leaf
		}
		for done := uint32(16); done < k; done *= 2 {
			copy(where[done:], where[:done])
		}
		number += k
		n -= k
	}
}
