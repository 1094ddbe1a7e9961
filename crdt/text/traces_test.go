package text

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"anabranch/crdt"
)

// tracesEnv names a folder with more traces than testdata holds.
const tracesEnv = "ANABRANCH_TRACES"

type patch struct {
	pos, del int
	text     string
}

func (p *patch) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&p.pos, &p.del, &p.text})
}

type trace struct {
	Kind       string
	EndContent string
	NumAgents  int
	Txns       []struct {
		Parents []int
		Agent   int
		Patches []patch
	}
}

// readJSON reads a gzipped file of testdata or the folder in tracesEnv.
func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if errors.Is(err, fs.ErrNotExist) {
		dir := os.Getenv(tracesEnv)
		if dir == "" {
			t.Skipf("%s is not in testdata; name its folder in %s", name, tracesEnv)
		}
		f, err = os.Open(filepath.Join(dir, name))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(z).Decode(v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func loadTrace(t testing.TB, name string) *trace {
	t.Helper()
	tr := new(trace)
	readJSON(t, name+".json.gz", tr)
	return tr
}

// edit applies patches as local edits, clamped to the document.
func edit(t testing.TB, d *Doc, patches []patch) {
	for i := range patches {
		p := &patches[i]
		pos := min(p.pos, d.Len())
		if del := min(p.del, d.Len()-pos); del > 0 {
			if err := d.Delete(pos, del); err != nil {
				t.Fatal(err)
			}
		}
		if p.text != "" {
			if err := d.Insert(pos, p.text); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// log replays a trace with one document per agent and returns one delta per
// transaction, and a document that has them all.
func (tr *trace) log(t testing.TB) ([]Delta, *Doc) {
	var out []Delta
	flush := func(d *Doc) {
		for _, body := range d.Flush(0) {
			out = append(out, Delta{d.Lane(), body})
		}
	}
	if tr.Kind != "concurrent" {
		d := New(1)
		for i := range tr.Txns {
			edit(t, d, tr.Txns[i].Patches)
			flush(d)
		}
		return out, d
	}
	docs := make([]*Doc, tr.NumAgents)
	has := make([][]bool, tr.NumAgents)
	ends := make([][2]int, len(tr.Txns))
	for i := range docs {
		docs[i], has[i] = New(uint64(i+1)), make([]bool, len(tr.Txns))
	}
	for i := range tr.Txns {
		tx := &tr.Txns[i]
		d, known := docs[tx.Agent], has[tx.Agent]
		need := make([]bool, i)
		var want func(x int)
		stack := append([]int(nil), tx.Parents...)
		want = func(x int) { stack = append(stack, x) }
		low := i
		for len(stack) > 0 {
			x := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if known[x] || need[x] {
				continue
			}
			need[x] = true
			low = min(low, x)
			for _, p := range tr.Txns[x].Parents {
				want(p)
			}
		}
		for x := low; x < i; x++ {
			if need[x] {
				known[x] = true
				for _, delta := range out[ends[x][0]:ends[x][1]] {
					mustApply(t, d, delta)
				}
			}
		}
		begin := len(out)
		edit(t, d, tx.Patches)
		flush(d)
		known[i] = true
		ends[i] = [2]int{begin, len(out)}
	}
	all := New(0)
	for _, delta := range out {
		mustApply(t, all, delta)
	}
	return out, all
}

func mustApply(t testing.TB, d *Doc, delta Delta) {
	t.Helper()
	res, err := d.Apply(delta.Lane, delta.Body)
	if err != nil || len(res.Refused) > 0 || res.Status == Parked {
		t.Fatalf("apply for lane %x: %v, %+v", delta.Lane, err, res)
	}
}

var traceNames = []string{"sveltecomponent", "friendsforever", "automerge-paper", "rustcode", "node_nodecc"}

func TestTracesEndAtTheirOwnEnd(t *testing.T) {
	for _, name := range traceNames {
		t.Run(name, func(t *testing.T) {
			tr := loadTrace(t, name)
			deltas, d := tr.log(t)
			if d.String() != tr.EndContent {
				t.Fatal("the replay ends elsewhere")
			}
			check(t, d)
			far := New(0)
			size := 0
			for _, delta := range deltas {
				mustApply(t, far, delta)
				size += len(delta.Body)
			}
			if far.String() != tr.EndContent {
				t.Fatal("the deltas end elsewhere")
			}
			check(t, far)
			roundTrip(t, far)
			t.Logf("%d deltas, %.1f bytes each", len(deltas), float64(size)/float64(len(deltas)))
		})
	}
}

type history struct {
	Txns []struct {
		Span     [2]int
		Parents  []int
		Agent    string
		SeqStart uint32
		Ops      []patch
	}
	EndContent string
}

func TestConformanceHistoriesEndExactly(t *testing.T) {
	var all []history
	readJSON(t, "fugue-conformance.json.gz", &all)
	if len(all) != 700 {
		t.Fatalf("%d histories", len(all))
	}
	for h, hist := range all {
		log := hist.log(t)
		for _, limit := range []int{scanSpans, 0, 1 << 30} {
			d := tiny(0, limit)
			for _, l := range log {
				mustApply(t, d, l.delta)
			}
			check(t, d)
			if got := d.String(); got != hist.EndContent {
				t.Fatalf("history %d with scans up to %d: %q, want %q", h, limit, got, hist.EndContent)
			}
		}
	}
}

// tiny is a document that cuts leaves and nodes all the time. With scanLimit 0
// it places by depth from the start.
func tiny(lane uint64, scanLimit int) *Doc {
	d := New(lane)
	d.leafCap, d.nodeCap, d.scanBudget = 5, 4, scanLimit
	if scanLimit == 0 {
		d.buildDepths()
	}
	return d
}

// typed is the delta of the operation number lv of a history.
type typed struct {
	lv    int
	delta Delta
}

// log gives every transaction a lane of its own, since one agent may write on
// two branches: named so that lanes stand in the order of (agent, sequence).
func (h *history) log(t *testing.T) []typed {
	var log []typed
	var before [][]int // of each operation, those it follows
	for _, tx := range h.Txns {
		for lv := tx.Span[0]; lv < tx.Span[1]; lv++ {
			if lv == tx.Span[0] {
				before = append(before, tx.Parents)
			} else {
				before = append(before, []int{lv - 1})
			}
		}
	}
	for _, tx := range h.Txns {
		in := make([]bool, len(before))
		stack := append([]int(nil), tx.Parents...)
		for len(stack) > 0 {
			lv := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if !in[lv] {
				in[lv] = true
				stack = append(stack, before[lv]...)
			}
		}
		d := tiny(1+uint64(tx.Agent[0])<<32+uint64(tx.SeqStart), scanSpans)
		for _, l := range log {
			if in[l.lv] {
				mustApply(t, d, l.delta)
			}
		}
		lv := tx.Span[0]
		flush := func() {
			for _, body := range d.Flush(0) {
				log = append(log, typed{lv, Delta{d.Lane(), body}})
			}
			lv++
		}
		for _, op := range tx.Ops {
			for range op.del {
				if err := d.Delete(op.pos, 1); err != nil {
					t.Fatal(err)
				}
				flush()
			}
			for i, r := range []rune(op.text) {
				if err := d.Insert(op.pos+i, string(r)); err != nil {
					t.Fatal(err)
				}
				flush()
			}
		}
		if lv != tx.Span[1] {
			t.Fatal("the history counts otherwise")
		}
	}
	return log
}

// roundTrip checks that a document is saved and loaded as it is.
func roundTrip(t testing.TB, d *Doc) *Doc {
	t.Helper()
	b, err := d.Save()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Load(d.Lane(), b)
	if err != nil {
		t.Fatal(err)
	}
	if back.String() != d.String() || back.Len() != d.Len() || !back.Version().Equal(d.Version()) || back.Parked() != d.Parked() {
		t.Fatal("a loaded document differs")
	}
	check(t, back)
	again, err := back.Save()
	if err != nil || !bytes.Equal(again, b) {
		t.Fatalf("a loaded document is saved in other bytes (%v)", err)
	}
	return back
}

// check looks through the whole of a document for what must always hold.
func check(t testing.TB, d *Doc) {
	t.Helper()
	d.settle()
	seen := make(map[uint64]crdt.Context)
	var total, leaves uint32
	prev := int32(-1)
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		leaves++
		sum := uint32(0)
		if l.prev != prev || l.n > d.leafCap || l.n == 0 && d.length > 0 {
			t.Fatalf("leaf %d: n %d, before it %d, not %d", k, l.n, l.prev, prev)
		}
		prev = k
		for i := range l.spans[:l.n] {
			s := &l.spans[i]
			sum += s.visible()
			for c := range s.n {
				x := s.id + id(c)
				if gl, gi, off := d.locate(x); gl != l || gi != i || off != c {
					t.Fatalf("character %x is not where its page says", x)
				}
			}
			name := d.lanes[s.id.lane()].name
			c := seen[name]
			c.Add(name, s.id.number(), s.id.number()+s.n-1)
			seen[name] = c
			if d.deep {
				if want := d.depthBelow(s.ol, s.rp); l.depth[i] != want {
					t.Fatalf("depth %x, want %x", l.depth[i], want)
				}
			}
		}
		nd := d.nodes[l.parent]
		j := nd.index(k)
		if sum != l.visible || nd.count[j] != sum || d.deep && nd.least[j] != l.leastDepth() {
			t.Fatalf("leaf %d counts %d, its node %d, its spans %d", k, l.visible, nd.count[j], sum)
		}
		for nd.parent >= 0 {
			up := d.nodes[nd.parent]
			j := up.index(nd.self)
			if up.count[j] != nd.sum() || d.deep && up.least[j] != nd.leastDepth() || nd.n > d.nodeCap {
				t.Fatal("a node and its kids disagree")
			}
			nd = up
		}
		total += sum
	}
	if total != d.length || int(leaves)+1 != len(d.leaves) {
		t.Fatalf("length %d, spans hold %d", d.length, total)
	}
	for _, l := range d.lanes {
		c := seen[l.name]
		if c.Next(l.name) != l.next || len(c.Spans(l.name)) > 1 {
			t.Fatalf("lane %x: next %d, but the spans hold %v", l.name, l.next, c)
		}
	}
}
