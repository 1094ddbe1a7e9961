package store

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
)

func TestSecondOpenIsLocked(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_OPEN"); dir != "" {
		_, err := Open(dir, Options{})
		fmt.Println("locked:", errors.Is(err, ErrLocked))
		return
	}
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("same process: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondOpenIsLocked$")
	cmd.Env = append(os.Environ(), "STORE_TEST_OPEN="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "locked: true") {
		t.Errorf("other process: %v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestNewerFormatIsRefused(t *testing.T) {
	o := Options{FS: vfs.NewMem()}
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	err = s.do(ctx, 0, func(c *commit) error {
		c.tx.set(metaFormat, u32(nil, Format+1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, err = Open("store", o)
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), fmt.Sprint(Format+1)) || !strings.Contains(err.Error(), fmt.Sprint("reads ", Format)) {
		t.Fatalf("%v", err)
	}
}

// mixed is a store with a few hundred records of every sort.
func mixed(t testing.TB, o Options) (*Store, *Space) {
	t.Helper()
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	sp := createSpace(t, s)
	grant(t, sp, 6, record.Writer, "/")
	rng := rand.New(rand.NewPCG(5, 5))
	for range 4 {
		if _, err := sp.Commit(ctx, world(t, sp, rng, true)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		if _, err := sp.Write(ctx, key(6), uint64(i), Draft{Kind: record.Doc, Path: "/mine", Payload: make([]byte, 300)}); err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			if _, err := sp.Sweep(ctx, key(6), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, sp
}

// TestBitFlips: a flipped bit anywhere is an error, or changes nothing that
// anybody can see. It is never a record that is silently not there, with one
// exception below.
func TestBitFlips(t *testing.T) {
	for _, closed := range []bool{true, false} {
		fs := vfs.NewCrashableMem()
		o := Options{FS: fs, MemTableBytes: 32 << 10}
		s, sp := mixed(t, o)
		v := snapshot(t, sp)
		want, _ := v.Root()
		version := v.Version()
		v.Close()
		image := fs
		if closed {
			s.Close()
		}
		image = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		if !closed {
			s.Close()
		}
		names, err := image.List("store")
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		refused, harmless, tail := 0, 0, 0
		for _, name := range names {
			for range 4 {
				copied := vfs.NewMem()
				if !copyFlipped(t, image, copied, names, name, rng) {
					break
				}
				var err error
				within(t, 10*time.Second, name, func() { err = openAndVerify(copied, sp.id, version, want) })
				switch {
				case err == nil:
					harmless++
				case errors.Is(err, errSilent) && !closed && strings.HasSuffix(name, ".log"):
					// In the last block of the log of a store that was killed,
					// damage looks like a write that was cut: Pebble keeps whole
					// commits up to there. The lease shows it for own lanes.
					tail++
				case errors.Is(err, errSilent):
					t.Errorf("closed %v: a bit of %s: %v", closed, name, err)
				case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer):
					t.Errorf("closed %v: a bit of %s: not a clear error: %v", closed, name, err)
				default:
					refused++
				}
			}
		}
		t.Logf("closed %v: %d files, %d flips refused, %d harmless, %d cut the log's tail", closed, len(names), refused, harmless, tail)
		if refused == 0 {
			t.Error("no flip was noticed")
		}
	}
}

var errSilent = errors.New("silent loss")

// openAndVerify is nil when the store shows exactly what it should, the
// store's error when it says that something is wrong.
func openAndVerify(fs vfs.FS, id record.SpaceID, version uint64, root [32]byte) error {
	s, err := Open("store", Options{FS: fs})
	if err != nil {
		return err
	}
	defer s.Close()
	sp, ok := s.Space(id)
	if !ok {
		return fmt.Errorf("%w: no space", errSilent)
	}
	report, err := sp.Verify(ctx, nil)
	if err != nil {
		return err
	}
	if len(report.Findings) > 0 {
		return fmt.Errorf("%w: found: %v", ErrDamaged, report.Findings[0])
	}
	if report.Root != root || report.Version != version {
		return fmt.Errorf("%w: version %d instead of %d", errSilent, report.Version, version)
	}
	return nil
}

// copyFlipped copies a store and flips one bit of one file; false if the file
// is empty.
func copyFlipped(t *testing.T, from, to vfs.FS, names []string, flip string, rng *rand.Rand) bool {
	t.Helper()
	if err := to.MkdirAll("store", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := from.Open(from.PathJoin("store", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if name == flip {
			if len(b) == 0 {
				return false
			}
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		g, err := to.Create(to.PathJoin("store", name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Write(b); err != nil {
			t.Fatal(err)
		}
		g.Close()
	}
	return true
}

// plant changes one row behind the store's back.
func plant(t testing.TB, s *Store, changes ...change) {
	t.Helper()
	if err := s.engine.commit(changes); err != nil {
		t.Fatal(err)
	}
	v := s.share()
	s.mu.Lock()
	old := s.view
	s.view = v
	s.mu.Unlock()
	old.release()
}

// TestVerifyFindsPlantedDamage drops one row of each table, and alters a byte
// of one row in each: Verify names the table every time.
func TestVerifyFindsPlantedDamage(t *testing.T) {
	s, sp := mixed(t, Options{FS: vfs.NewMem(), HeldBytes: 1 << 20})
	defer s.Close()
	fork := sign(t, sp, 6, record.Record{Kind: record.Doc, Time: 9, Lane: 99, Seq: 1, Path: "/f"})
	other := sign(t, sp, 8, record.Record{Kind: record.Doc, Time: 9, Lane: 99, Seq: 1, Path: "/f"})
	if _, err := sp.Commit(ctx, []*record.Verified{fork, other}); err != nil {
		t.Fatal(err)
	}
	verifyClean(t, sp)
	rng := rand.New(rand.NewPCG(3, 3))
	a, _ := s.authors.number(pub(6))
	plant(t, s, change{key: authorRow(a)})
	if report, err := sp.Verify(ctx, nil); err != nil || len(report.Findings) != 1 || report.Findings[0].Table != "author" {
		t.Errorf("author: a row dropped: %v, %v", report, err)
	}
	k := pub(6)
	plant(t, s, change{authorRow(a), k[:]})
	tables := []byte{tableArrival, tableDeparture, tableControl, tableDot, tableExpiry, tableHeldPath, tableHeld, tableID,
		tableHeldOrder, tableKill, tableLane, tableHeldBy, tablePath, tableTrash, tableTime, tableVector, tableTrashBy}
	for _, table := range tables {
		lo := tableKey(table, sp.number, 0)
		rows, _, err := s.engine.chunk(lo, successor(lo), 1000)
		if err != nil || len(rows) == 0 {
			t.Fatalf("%s: %d rows, %v", tableNames[table], len(rows), err)
		}
		x := rows[rng.IntN(len(rows))]
		found := func(what string) {
			t.Helper()
			report, err := sp.Verify(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Findings) == 0 {
				t.Errorf("%s: a row %s is not found", tableNames[table], what)
				return
			}
			for _, f := range report.Findings {
				if f.Table == tableNames[table] {
					return
				}
			}
			// What a row means may show elsewhere: a departure's absence is a
			// gap in the arrivals, a kill's in the count.
			switch table {
			case tableDeparture, tableKill, tableHeld, tableTrash, tableHeldOrder:
			default:
				t.Errorf("%s: a row %s is found as %v", tableNames[table], what, report.Findings[0])
			}
		}
		plant(t, s, change{key: x.key})
		found("dropped")
		plant(t, s, change(x))
		if table == tableArrival || table == tableTrash || table == tableHeld {
			b := append([]byte{}, x.value...)
			b[8+rng.IntN(len(b)-8)] ^= 4
			plant(t, s, change{x.key, b})
			found("with a flipped bit")
			plant(t, s, change(x))
		}
		k := append([]byte{}, x.key...)
		k[len(k)-1] ^= 4
		if v, _ := s.engine.get(k); v == nil && table != tableLane && table != tableVector {
			plant(t, s, change{key: x.key}, change{k, x.value})
			found("under another key")
			plant(t, s, change{key: k}, change(x))
		}
		verifyClean(t, sp)
	}
}

// TestGarbageRowsNeverPanic plants rows of any length and content: whatever
// the store is asked, it answers or says that it is damaged.
func TestGarbageRowsNeverPanic(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 9))
		o := Options{FS: vfs.NewMem(), HeldBytes: 4000, departures: 3}
		s, sp := mixed(t, o)
		rest := world(t, sp, rng, true)
		var tables []byte
		for table := range tableNames {
			if table != tableMeta && table != tableFact {
				tables = append(tables, table)
			}
		}
		slices.Sort(tables)
		for range 6 {
			table := tables[rng.IntN(len(tables))]
			lo := tableKey(table, sp.number, 0)
			if table == tableAuthor || table == tableSpace {
				lo = lo[:1]
			}
			rows, _, err := s.engine.chunk(lo, successor(lo), 200)
			if err != nil {
				t.Fatal(err)
			}
			x := row{append(lo, 1, 2, 3), []byte{4}}
			if len(rows) > 0 {
				x = rows[rng.IntN(len(rows))]
			}
			k, b := append([]byte{}, x.key...), append([]byte{}, x.value...)
			switch rng.IntN(4) {
			case 0:
				k = append(k, byte(rng.Uint32()))
			case 1:
				k = k[:min(len(lo), len(k))+rng.IntN(max(1, len(k)-len(lo)))]
			case 2:
				b = b[:rng.IntN(len(b)+1)]
			case 3:
				b = append(b, byte(rng.Uint32()))
			}
			plant(t, s, change{k, b})
		}
		ask := func() {
			v := snapshot(t, sp)
			for range v.List(Query{Order: Path}) {
			}
			for range v.List(Query{Order: Newest, Prefix: "/a"}) {
			}
			for range v.Since(0) {
			}
			v.Forks()
			v.Docs("/a")
			v.Filter(rest)
			v.Close()
			sp.Write(ctx, key(6), 5, Draft{Kind: record.Doc, Path: "/a"})
			sp.Sweep(ctx, key(6), 5)
			sp.Commit(ctx, rest)
			if _, err := sp.Verify(ctx, nil); err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		ask()
		s.Close()
		s, err := Open("store", o)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			continue
		}
		if again, ok := s.Space(sp.id); ok {
			sp = again
			ask()
		}
		s.Close()
	}
}

func TestDamagedRowIsAnErrorOnRead(t *testing.T) {
	s, sp := mixed(t, Options{FS: vfs.NewMem()})
	defer s.Close()
	rs, err := sp.Write(ctx, key(6), 1, Draft{Kind: record.Entry, Path: "/e"})
	if err != nil {
		t.Fatal(err)
	}
	_, n, err := sp.readMember(s.engine, rs[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	plant(t, s, change{key: numberKey(tableArrival, sp.number, n)})
	if _, err := snapshot(t, sp).Get(rs[0].ID); !errors.Is(err, ErrDamaged) {
		t.Fatalf("%v", err)
	}
}

// copyDir copies a closed store's directory, as a backup or a clone would.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func replaceDir(t testing.TB, from, to string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(to, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names { // the directory keeps its inode
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	copyDir(t, from, to)
}
