package anabranch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"anabranch/internal/store"
	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// A dump is a space as text, one JSON object a line (NDJSON):
//
//	{"schema":"anabranch.dump/1","space":ID,"genesis":BASE64}
//	{"id":ID,"kind":…,"path":…,"time":…,…,"record":BASE64}     for every member
//	{"schema":"anabranch.dump-end/1","records":N,"root":ROOT}
//
// "record" is a record's canonical bytes, and all that counts; what stands
// before it is for people and tools, and must agree with it. Control records
// come first, then sweeps, then data by time, so that a reader can judge each
// as it comes. Held records and local facts are not in a dump: it is what
// every full replica of the space holds, byte for byte.
type dumpHeader struct {
	Schema  string `json:"schema"`
	Space   string `json:"space"`
	Genesis []byte `json:"genesis"`
}

type dumpLine struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Path    string `json:"path"`
	Time    string `json:"time"`
	Author  string `json:"author"`
	Lane    string `json:"lane"`
	Seq     uint32 `json:"seq"`
	Expires string `json:"expires,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	Size    int    `json:"size"`
	Record  []byte `json:"record"`
}

type dumpEnd struct {
	Schema  string `json:"schema"`
	Records uint64 `json:"records"`
	Root    string `json:"root"`
}

const (
	dumpSchema    = "anabranch.dump/1"
	dumpEndSchema = "anabranch.dump-end/1"

	maxDumpLine = 256 << 10 // above the longest record and its path, both as text
	loadRecords = 1024      // looked at before a space is made for them
)

// Errors of Load.
var (
	// ErrDump says that a dump is damaged, cut off, or no dump.
	ErrDump = errors.New("anabranch: dump refused")
	// ErrWrongSpace says that a dump is of another space.
	ErrWrongSpace = errors.New("anabranch: the dump is of another space")
)

func lineOf(v *Record) dumpLine {
	l := dumpLine{
		ID:      v.ID.String(),
		Kind:    v.Kind.String(),
		Path:    v.Path,
		Time:    dumpTime(v.Time),
		Author:  v.Author.String(),
		Lane:    strconv.FormatUint(v.Lane, 10),
		Seq:     v.Seq,
		Deleted: v.Deleted,
		Size:    len(v.Payload),
		Record:  v.Bytes,
	}
	if v.Expires != 0 {
		l.Expires = dumpTime(v.Expires)
	}
	return l
}

func dumpTime(us uint64) string {
	return time.UnixMicro(int64(us)).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// DumpReport says what a dump holds.
type DumpReport struct {
	Records uint64
	Root    Root
}

// Dump writes every member of the space to w, from one snapshot, as lines of
// JSON that Load reads. It keeps one record in memory at a time. progress may
// be nil.
func (s *Space) Dump(ctx context.Context, w io.Writer, progress func(records uint64)) (DumpReport, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return DumpReport{}, err
	}
	defer view.Close()
	root, err := view.Root()
	if err != nil {
		return DumpReport{}, err
	}
	report := DumpReport{Root: Root(root)}
	out := bufio.NewWriterSize(w, 64<<10)
	put := func(v any) error {
		b, err := json.Marshal(v)
		if err == nil {
			_, err = out.Write(append(plainJSON(b), '\n'))
		}
		if err != nil {
			return fmt.Errorf("anabranch: dump: %w", err)
		}
		return nil
	}
	if err := put(dumpHeader{dumpSchema, s.ID().String(), s.rows.Genesis().Encode()}); err != nil {
		return report, err
	}
	write := func(v *Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := put(lineOf(v)); err != nil {
			return err
		}
		report.Records++
		if progress != nil {
			progress(report.Records)
		}
		return nil
	}
	for _, rules := range [][]*Record{view.State().Control(), view.State().Sweeps()} {
		for _, v := range rules {
			if err := write(v); err != nil {
				return report, err
			}
		}
	}
	for v, err := range view.List(store.Query{Order: store.Oldest}) {
		if err != nil {
			return report, fmt.Errorf("anabranch: dump: %w", named(err))
		}
		if err := write(v); err != nil {
			return report, err
		}
	}
	if report.Records != view.Count() {
		return report, fmt.Errorf("%w: %d members were found, %d are counted", ErrDamaged, report.Records, view.Count())
	}
	if err := put(dumpEnd{dumpEndSchema, report.Records, report.Root.String()}); err != nil {
		return report, err
	}
	if err := out.Flush(); err != nil {
		return report, fmt.Errorf("anabranch: dump: %w", err)
	}
	return report, nil
}

// plainJSON writes what a terminal would act on as \u escapes: a dump may be
// looked at. Such characters stand in strings only.
func plainJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return b
	}
	var out []byte
	for _, c := range string(b) {
		switch {
		case strconv.IsPrint(c):
			out = utf8.AppendRune(out, c)
		case c > 0xFFFF:
			high, low := utf16.EncodeRune(c)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
	}
	return out
}

// LoadOptions configures Load.
type LoadOptions struct {
	// Into is the space that the dump must be of. Default: the one that the
	// dump names, which is made if it is not here.
	Into *Space
	// Name is the local name of a space that is made. Default: one from its ID.
	Name string
	// Progress may be nil.
	Progress func(records uint64)
}

// LoadReport says what became of a dump's records.
type LoadReport struct {
	Made    bool // the space was not here before
	Records uint64
	Added   int  // members that were not here
	Known   int  // here already
	Dead    int  // killed here by their author meanwhile
	Held    int  // not authorised by what is known here
	Root    Root // of the dump
	Equal   bool // the space here has that root now
}

// Load reads a dump, verifies every signature, and commits the records to the
// space, which keeps what else it has: to load is to sync with a file. A
// space that is made by it can be read; to write in it, or to sync it, this
// device must be invited.
//
// It works through the dump in batches, each committed whole. After an error
// what came before it stays: every record stands for itself. Errors worth
// matching: ErrDump, ErrWrongSpace, ErrNameTaken, *UnknownRuleError.
func (r *Replica) Load(ctx context.Context, src io.Reader, o LoadOptions) (*Space, LoadReport, error) {
	l := &loading{ctx: ctx, replica: r, options: o, lines: bufio.NewReaderSize(src, maxDumpLine), space: o.Into}
	err := l.run()
	if err == nil || l.report.Made {
		r.refreshReaders()
		r.wakePeers()
	}
	return l.space, l.report, err
}

type loading struct {
	ctx     context.Context
	replica *Replica
	options LoadOptions
	lines   *bufio.Reader
	line    int // number of the last one read
	report  LoadReport

	id      record.SpaceID
	genesis *space.Genesis
	space   *Space      // nil until the first commit of a space that is made
	seen    merkle.Tree // 32 bytes and a little for each record: the root of the dump

	first [][]byte // records that were read before the space was made
	last  []byte   // the last line, once it was read
}

func (l *loading) run() error {
	if err := l.header(); err != nil {
		return err
	}
	// The first records are looked at whole before there is a space for them.
	for len(l.first) < loadRecords {
		r, err := l.record()
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		l.first = append(l.first, r)
	}
	if _, errs := record.VerifyBatch(l.id, l.first); len(l.first) > 0 {
		for i, err := range errs {
			if err != nil {
				return fmt.Errorf("%w: near line %d: %w", ErrDump, l.line-len(l.first)+1+i, err)
			}
		}
	}
	if err := l.make(); err != nil {
		return err
	}
	refused := func(i int, err error) error { return fmt.Errorf("%w: near line %d: %w", ErrDump, i+2, err) }
	got, err := l.space.rows.Load(l.ctx, l.records, refused, func(now store.Loaded) {
		if l.options.Progress != nil {
			l.options.Progress(uint64(now.Read))
		}
	})
	l.report.Records = uint64(got.Read)
	l.report.Added, l.report.Known, l.report.Dead, l.report.Held = got.Added, got.Known, got.Dead, got.Held
	if err != nil {
		return named(err)
	}
	return l.end()
}

// records yields the records of the dump, each compared with its line.
func (l *loading) records(yield func([]byte, error) bool) {
	for _, r := range l.first {
		if !yield(r, nil) {
			return
		}
	}
	l.first = nil
	for {
		r, err := l.record()
		if r == nil && err == nil || !yield(r, err) || err != nil {
			return
		}
	}
}

// record is the next one, nil when the last line was read.
func (l *loading) record() ([]byte, error) {
	if l.last != nil {
		return nil, nil
	}
	b, err := l.next()
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("%w: it ends after line %d without its last line: it was cut off", ErrDump, l.line)
	}
	var which struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &which); err != nil {
		return nil, l.wrong("%v", err)
	}
	if which.Schema != "" {
		l.last = bytes.Clone(b)
		return nil, nil
	}
	var line dumpLine
	if err := strictly(b, &line); err != nil {
		return nil, l.wrong("%v", err)
	}
	v, err := record.Restore(l.id, line.Record)
	if err != nil {
		return nil, fmt.Errorf("%w: near line %d: %w", ErrDump, l.line, err)
	}
	if !sameLine(lineOf(v), line) {
		if _, err := record.Verify(l.id, line.Record); err != nil { // that says more
			return nil, fmt.Errorf("%w: near line %d: %w", ErrDump, l.line, err)
		}
		return nil, fmt.Errorf("%w: near line %d: what it says of record %v is not what the record says", ErrDump, l.line, v.ID)
	}
	if l.seen.Insert(merkle.ID(v.ID)) == 0 {
		return nil, fmt.Errorf("%w: up to line %d: %d records occur twice", ErrDump, l.line, 1)
	}
	return line.Record, nil
}

// next is the next line that is not empty, nil at the end. It is valid until
// the next call.
func (l *loading) next() ([]byte, error) {
	for {
		l.line++
		b, err := l.lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, l.wrong("it is longer than %d bytes", maxDumpLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("anabranch: load: %w", err)
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			return b, nil
		}
		if err != nil {
			l.line--
			return nil, nil
		}
	}
}

func (l *loading) wrong(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrDump, l.line, fmt.Sprintf(format, args...))
}

// strictly reads one JSON object that has no fields but v's.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (l *loading) header() error {
	b, err := l.next()
	if err != nil {
		return err
	}
	var h dumpHeader
	if b == nil || json.Unmarshal(b, &struct {
		Schema *string `json:"schema"`
	}{&h.Schema}) != nil || h.Schema != dumpSchema {
		if h.Schema != "" && h.Schema != dumpEndSchema {
			return fmt.Errorf("%w: its schema is %q, this version reads %q", ErrIncompatible, h.Schema, dumpSchema)
		}
		return fmt.Errorf("%w: it does not begin with a line of schema %q", ErrDump, dumpSchema)
	}
	if err := strictly(b, &h); err != nil {
		return l.wrong("%v", err)
	}
	if l.genesis, err = space.DecodeGenesis(h.Genesis); err != nil {
		var unknown *UnknownRuleError
		if errors.As(err, &unknown) {
			return fmt.Errorf("anabranch: load: %w", err)
		}
		return l.wrong("%v", err)
	}
	if l.id = l.genesis.ID(); l.id.String() != h.Space {
		return l.wrong("the genesis is that of space %v, not of %s", l.id, h.Space)
	}
	if l.space != nil {
		if l.space.ID() != l.id {
			return fmt.Errorf("%w: it is of %v, and %q is %v", ErrWrongSpace, l.id, l.space.Name(), l.space.ID())
		}
		return nil
	}
	if l.space, err = l.replica.Space(l.id.String()); err == nil {
		return nil
	}
	if l.options.Name == "" {
		l.options.Name = "space-" + l.id.String()[:8]
	}
	return l.replica.checkName(l.options.Name)
}

func sameLine(a, b dumpLine) bool {
	a.Record, b.Record = nil, nil
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// make makes the space if it is not here.
func (l *loading) make() error {
	if l.space != nil {
		return nil
	}
	rows, err := l.replica.store.Create(l.ctx, l.genesis.Encode())
	if err != nil {
		return fmt.Errorf("anabranch: load: %w", named(err))
	}
	l.space, err = l.replica.adopt(l.ctx, rows, l.options.Name)
	l.report.Made = err == nil
	return err
}

// end compares what was read with what the dump says it holds.
func (l *loading) end() error {
	var e dumpEnd
	if err := strictly(l.last, &e); err != nil {
		return l.wrong("%v", err)
	}
	if e.Schema != dumpEndSchema {
		return l.wrong("schema %q where the last line should be", e.Schema)
	}
	if rest, err := l.next(); err != nil || rest != nil {
		return errors.Join(err, l.wrong("there is more after the last line"))
	}
	root := Root(merkle.Root(l.id, nil, uint64(l.seen.Count()), l.seen.Hash()))
	if l.report.Records != e.Records || root.String() != e.Root {
		return fmt.Errorf("%w: it says it holds %d records with root %s, and holds %d with root %v: records are missing", ErrDump, e.Records, e.Root, l.report.Records, root)
	}
	l.report.Root = root
	now, _, err := l.space.Root(l.ctx)
	l.report.Equal = now == root
	return err
}
