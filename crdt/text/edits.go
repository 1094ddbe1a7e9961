package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of Edits: beyond them a stretch is replaced whole, so that two texts
// without anything in common cost no more than reading them.
const (
	editLines = 1 << 10 // lines inserted and deleted between two that both have once
	editWords = 1 << 8  // words inserted and deleted in one stretch of lines
)

// Edits is what somebody who had one text and saved another has edited: patches
// to apply one after the other, in order of position, in runes. It compares
// lines, those that both texts have once first, and then words within the lines
// that differ; a word that changed keeps its beginning and end. So patches are
// small where a merge wants them small, and whole words where halves would make
// nonsense of two people's changes. Both texts are valid UTF-8.
//
// Cost: O((n+m) log n) and the square of what differs, within bounds.
func Edits(from, to string) []Patch {
	e := &editing{}
	lines := map[string]int{}
	e.compare(number(splitLines(from), lines), number(splitLines(to), lines), true)
	e.end()
	return e.out
}

// MergeEdits is theirs with what mine has changed in base: both are edits of
// base, and where they meet, both stand. All are valid UTF-8.
func MergeEdits(base, mine, theirs string) string {
	old, both := New(1), New(2)
	old.Insert(0, base)
	for _, b := range old.Flush(0) {
		both.Apply(1, b)
	}
	for _, p := range Edits(base, theirs) {
		both.Delete(p.Pos, p.Delete)
		both.Insert(p.Pos, p.Text)
	}
	if err := both.Replay(old, Edits(base, mine)); err != nil {
		panic("text: Edits made a patch that Replay refuses: " + err.Error())
	}
	return both.String()
}

// token is a line or a word, and a number that equal ones share.
type token struct {
	text string
	same int
}

func number(parts []string, seen map[string]int) []token {
	out := make([]token, len(parts))
	for i, p := range parts {
		n, ok := seen[p]
		if !ok {
			n = len(seen)
			seen[p] = n
		}
		out[i] = token{p, n}
	}
	return out
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	out := strings.SplitAfter(s, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// splitWords cuts a text into words of letters and digits, and single runes.
func splitWords(s string) []string {
	var out []string
	begin := -1
	for i, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) {
			if begin < 0 {
				begin = i
			}
			continue
		}
		if begin >= 0 {
			out = append(out, s[begin:i])
			begin = -1
		}
		out = append(out, s[i:i+utf8.RuneLen(r)])
	}
	if begin >= 0 {
		out = append(out, s[begin:])
	}
	return out
}

// editing gathers patches from left to right.
type editing struct {
	out  []Patch
	open Patch
	pos  int // in runes, in the text as the patches before have made it
}

func (e *editing) end() {
	if e.open.Delete > 0 || e.open.Text != "" {
		e.open.Pos = e.pos
		e.out = append(e.out, e.open)
		e.pos += utf8.RuneCountInString(e.open.Text)
	}
	e.open = Patch{}
}

func (e *editing) keep(s string) {
	if s != "" {
		e.end()
		e.pos += utf8.RuneCountInString(s)
	}
}

func (e *editing) change(from, to string) {
	e.open.Delete += utf8.RuneCountInString(from)
	e.open.Text += to
}

// compare finds what became of a in b: lines first, then words of what is left.
func (e *editing) compare(a, b []token, lines bool) {
	head := 0
	for head < len(a) && head < len(b) && a[head].same == b[head].same {
		e.keep(a[head].text)
		head++
	}
	a, b = a[head:], b[head:]
	tail := 0
	for tail < len(a) && tail < len(b) && a[len(a)-1-tail].same == b[len(b)-1-tail].same {
		tail++
	}
	kept := a[len(a)-tail:]
	a, b = a[:len(a)-tail], b[:len(b)-tail]
	switch {
	case len(a) == 0 || len(b) == 0:
		e.change(join(a), join(b))
	case lines:
		i, j := 0, 0
		for _, m := range common(a, b) {
			e.between(a[i:m[0]], b[j:m[1]])
			e.keep(a[m[0]].text)
			i, j = m[0]+1, m[1]+1
		}
		e.between(a[i:], b[j:])
	default:
		e.match(a, b, editWords, e.word)
	}
	for _, t := range kept {
		e.keep(t.text)
	}
}

// between compares the lines between two that both texts have once.
func (e *editing) between(a, b []token) {
	e.match(a, b, editLines, func(from, to string) {
		if from == "" || to == "" {
			e.change(from, to)
			return
		}
		words := map[string]int{}
		e.compare(number(splitWords(from), words), number(splitWords(to), words), false)
	})
}

// word is a stretch of words that changed: its beginning and end may have stayed.
func (e *editing) word(from, to string) {
	head := 0
	for head < len(from) && head < len(to) {
		r, n := utf8.DecodeRuneInString(from[head:])
		if s, _ := utf8.DecodeRuneInString(to[head:]); r != s {
			break
		}
		head += n
	}
	e.keep(from[:head])
	from, to = from[head:], to[head:]
	tail := 0
	for tail < len(from) && tail < len(to) {
		r, n := utf8.DecodeLastRuneInString(from[:len(from)-tail])
		if s, _ := utf8.DecodeLastRuneInString(to[:len(to)-tail]); r != s {
			break
		}
		tail += n
	}
	e.change(from[:len(from)-tail], to[:len(to)-tail])
	e.keep(from[len(from)-tail:])
}

// common is the longest list of pairs of tokens that each text has exactly
// once, ascending in both.
func common(a, b []token) [][2]int {
	type seen struct{ a, b, at int } // how often; where in b
	count := map[int]seen{}
	for _, t := range a {
		s := count[t.same]
		s.a++
		count[t.same] = s
	}
	for j, t := range b {
		s := count[t.same]
		s.b, s.at = s.b+1, j
		count[t.same] = s
	}
	// Patience: piles by place in b, each card remembers the one it lies upon.
	type card struct{ i, j, before int }
	var cards []card
	var piles []int // the top card of each
	for i, t := range a {
		s := count[t.same]
		if s.a != 1 || s.b != 1 {
			continue
		}
		lo, hi := 0, len(piles)
		for lo < hi {
			if m := (lo + hi) / 2; cards[piles[m]].j < s.at {
				lo = m + 1
			} else {
				hi = m
			}
		}
		c := card{i, s.at, -1}
		if lo > 0 {
			c.before = piles[lo-1]
		}
		cards = append(cards, c)
		if lo == len(piles) {
			piles = append(piles, 0)
		}
		piles[lo] = len(cards) - 1
	}
	out := make([][2]int, len(piles))
	if len(piles) > 0 {
		at := piles[len(piles)-1]
		for k := len(out) - 1; k >= 0; k-- {
			out[k] = [2]int{cards[at].i, cards[at].j}
			at = cards[at].before
		}
	}
	return out
}

// match keeps what a shortest edit script of at most that many insertions and
// deletions keeps, and hands each stretch that it changes to differ; without
// one, all of it. See Myers, An O(ND) Difference Algorithm, 1986.
func (e *editing) match(a, b []token, most int, differ func(from, to string)) {
	if len(a) == 0 && len(b) == 0 {
		return
	}
	most = min(most, len(a)+len(b))
	var trace [][]int32 // per number of edits, the furthest place in a on each diagonal
	found := false
	for d := 0; d <= most && !found; d++ {
		v := make([]int32, 2*d+1) // diagonal k at k+d
		for k := -d; k <= d; k += 2 {
			var x int32
			switch {
			case d == 0:
			case k == -d || k != d && trace[d-1][k+d-2] < trace[d-1][k+d]:
				x = trace[d-1][k+d] // one of b inserted
			default:
				x = trace[d-1][k+d-2] + 1 // one of a deleted
			}
			for int(x) < len(a) && int(x)-k < len(b) && int(x)-k >= 0 && a[x].same == b[int(x)-k].same {
				x++
			}
			v[k+d] = x
			if int(x) >= len(a) && int(x)-k >= len(b) {
				found = true
				break
			}
		}
		trace = append(trace, v)
	}
	if !found {
		differ(join(a), join(b))
		return
	}
	var kept [][2]int
	x, y := len(a), len(b)
	for d := len(trace) - 1; d >= 0; d-- {
		k := x - y
		px, py := 0, 0
		if d > 0 {
			if k == -d || k != d && trace[d-1][k+d-2] < trace[d-1][k+d] {
				px = int(trace[d-1][k+d])
				py = px - (k + 1)
			} else {
				px = int(trace[d-1][k+d-2])
				py = px - (k - 1)
			}
		}
		floorX, floorY := px, py
		if d > 0 {
			if x-px > y-py { // a deletion first
				floorX++
			} else {
				floorY++
			}
		}
		for x > floorX && y > floorY {
			x, y = x-1, y-1
			kept = append(kept, [2]int{x, y})
		}
		x, y = px, py
	}
	i, j := 0, 0
	for k := len(kept) - 1; k >= 0; k-- {
		m := kept[k]
		if m[0] > i || m[1] > j {
			differ(join(a[i:m[0]]), join(b[j:m[1]]))
		}
		e.keep(a[m[0]].text)
		i, j = m[0]+1, m[1]+1
	}
	if i < len(a) || j < len(b) {
		differ(join(a[i:]), join(b[j:]))
	}
}

func join(ts []token) string {
	var b strings.Builder
	for _, t := range ts {
		b.WriteString(t.text)
	}
	return b.String()
}
