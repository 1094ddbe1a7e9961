package anabranch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is one folder's place on the floor plan.
type room struct {
	// may lists the rooms of this module it imports, beyond which it asks.
	may []string
	// deps lists the import paths, and what lies under them, that it may use
	// from other modules outside its tests.
	deps []string
	// pure rooms do no I/O, start no goroutine, take no lock and read no
	// clock: time and randomness arrive as arguments.
	pure bool
}

// ground is public, pure and usable alone.
var ground = []string{"record", "space", "reconcile", "sketch", "merkle", "blob", "crdt", "crdt/text", "gossip", "attest"}

// plan is the floor plan of the house. A folder with Go files that is not
// here fails the test; a line whose folder does not exist yet is a plan. A new
// line, or a new name in one, says why in the commit that brings it.
var plan = map[string]room{
	// Ground: the standard library, and what is named.
	"record":    {pure: true, deps: []string{"github.com/oasisprotocol/curve25519-voi"}}, // batch verification, cofactored by one rule
	"space":     {pure: true, may: []string{"record"}},
	"reconcile": {pure: true},
	"sketch":    {pure: true},
	"merkle":    {pure: true},
	"blob":      {pure: true, deps: []string{"lukechampine.com/blake3"}}, // verified streaming by its tree
	"crdt":      {pure: true},
	"crdt/text": {pure: true, may: []string{"crdt"}},
	"gossip":    {pure: true},
	// What a replica signed about its set, and proofs that anybody can check:
	// records, membership and tries together, so above those three.
	"attest": {pure: true, may: []string{"record", "space", "merkle"}, deps: []string{"golang.org/x/mod/sumdb/tlog"}}, // append-only logs (RFC 6962)

	// Annexe: the law in plain sets, and seeded worlds.
	"internal/model": {pure: true, may: []string{"record"}},
	"internal/sim":   {may: slices.Concat(ground, []string{"internal/engine", "internal/session", "internal/store", "internal/mesh", "internal/model"})},

	// A program that speaks the reference suite's lines: standard streams only.
	"reconcile/internal/harness": {may: []string{"reconcile"}},

	// First floor, pure side.
	"internal/session": {pure: true, may: []string{"record", "space", "reconcile", "sketch", "merkle"}},
	"internal/fetch":   {pure: true, may: []string{"blob"}}, // from whom to ask what of the content that records name
	"internal/engine":  {pure: true, may: []string{"internal/session", "gossip", "record", "space", "reconcile", "sketch", "merkle"}},

	// First floor, I/O side: each owns one library.
	"internal/store": {
		may:  []string{"record", "space", "reconcile", "sketch", "merkle", "blob"},
		deps: []string{"github.com/cockroachdb/pebble/v2", "github.com/tidwall/btree", "golang.org/x/sys"},
	},
	"internal/mesh": {deps: []string{
		"github.com/libp2p/go-libp2p", "github.com/multiformats", "github.com/quic-go/quic-go",
		"github.com/libp2p/go-yamux/v5",   // pings on TCP connections, and why one ended
		"golang.org/x/net/dns/dnsmessage", // the packets of multicast DNS
		"golang.org/x/net/ipv4",           // multicast on each interface
	}},

	// Second floor: the front door introduces the rooms below to each other.
	".": {
		may:  slices.Concat(ground, []string{"internal/fetch", "internal/engine", "internal/session", "internal/store", "internal/mesh", "internal/model", "internal/sim"}),
		deps: []string{"filippo.io/age"}, // keys under a passphrase: the front door is where keys are
	},

	// Third floor and roof: they use the front door.
	"bridge/nostr":   {may: slices.Concat(ground, []string{"."}), deps: []string{"github.com/decred/dcrd/dcrec/secp256k1/v4"}},
	"bridge/peerkit": {may: slices.Concat(ground, []string{"."})},
	"bridge/httpapi": {may: slices.Concat(ground, []string{"."})},
	"internal/webui": {may: []string{"bridge/httpapi"}},
	"cmd/release":    {}, // builds archives with the go command; the standard library alone
	"cmd/anabranch": {
		may:  slices.Concat(ground, []string{".", "bridge/nostr", "bridge/peerkit", "bridge/httpapi", "internal/webui"}),
		deps: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "rsc.io/qr"}, // rsc.io/qr: tickets for cameras
	},
}

// impure names the standard library's packages that a pure room may not
// import, with everything under them. sync/atomic is not among them: caches of
// pure values use it.
var impure = map[string]string{
	"context":       "a pure room never waits; the shell ends a conversation",
	"crypto/rand":   "randomness arrives as an argument",
	"io/ioutil":     "it does I/O",
	"log":           "return errors; shells log",
	"net":           "it does I/O",
	"os":            "it does I/O",
	"path/filepath": "it reads the file system; path is enough for slashes",
	"plugin":        "it does I/O",
	"sync":          "a pure room has one caller and takes no lock",
	"syscall":       "it does I/O",
	"testing":       "it belongs in test files",
}

// impureNames lists what of an otherwise fine package reads a clock, a global
// source of randomness or standard output.
var impureNames = map[string]map[string]bool{
	"time": set("Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"),
	"fmt":  set("Print", "Printf", "Println", "Scan", "Scanf", "Scanln"),
}

// seeded lists what of math/rand a pure room may use: sources with a seed.
var seeded = set("Rand", "Source", "Source64", "New", "NewSource", "NewPCG", "PCG", "NewChaCha8", "ChaCha8", "NewZipf", "Zipf")

func set(names ...string) map[string]bool {
	m := make(map[string]bool)
	for _, n := range names {
		m[n] = true
	}
	return m
}

func TestHouseFollowsThePlan(t *testing.T) {
	for _, problem := range inspect(t, ".", "anabranch", plan) {
		t.Error(problem)
	}
}

func TestPlanHasNoCircles(t *testing.T) {
	const climbing, settled = 1, 2
	state := make(map[string]int)
	var climb func(name string, below []string)
	climb = func(name string, below []string) {
		r, ok := plan[name]
		switch {
		case !ok:
			t.Errorf("plan: %s may import %s, which is not a room", below[len(below)-1], name)
			return
		case state[name] == climbing:
			t.Errorf("plan: a circle: %s", strings.Join(append(below, name), " -> "))
			return
		case state[name] == settled:
			return
		}
		state[name] = climbing
		for _, lower := range r.may {
			climb(lower, append(below, name))
		}
		state[name] = settled
	}
	for _, name := range slices.Sorted(maps.Keys(plan)) {
		climb(name, nil)
	}
}

// inspect walks the module at root and returns one line per breach of the
// plan, each saying where it is and what to do about it. It looks at files for
// every platform. Test files may import what they like, save bench.
func inspect(t testing.TB, root, module string, plan map[string]room) []string {
	t.Helper()
	var problems []string
	fset := token.NewFileSet()
	files := make(map[string][]*ast.File) // by folder, without tests
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(must(t, p, root))
		switch {
		case d.IsDir() && rel != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")):
			return fs.SkipDir
		case d.IsDir() && rel != ".":
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own, as bench is
			}
			if rel == "bench" {
				problems = append(problems, "bench: it has no go.mod; the comparisons are a module of their own, so that what they need stays out of ours")
			}
			return nil
		case d.IsDir() || !strings.HasSuffix(rel, ".go"):
			return nil
		}
		file, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		where := func(n ast.Node) string { return fmt.Sprintf("%s:%d", rel, fset.Position(n.Pos()).Line) }
		for _, spec := range file.Imports {
			if under(importPath(spec), module+"/bench") {
				problems = append(problems, fmt.Sprintf("%s: bench is imported; it looks at us, never we at it: move what you need to a room", where(spec)))
			}
		}
		if strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		folder := path.Dir(rel)
		files[folder] = append(files[folder], file)
		if r, ok := plan[folder]; ok {
			problems = append(problems, checkImports(folder, r, module, file, where)...)
			if r.pure {
				problems = append(problems, checkPurity(folder, file, where)...)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range slices.Sorted(maps.Keys(files)) {
		if _, ok := plan[folder]; !ok && folder != "bench" {
			problems = append(problems, fmt.Sprintf("%s: it is not on the floor plan: add a line with its reason to plan in arch_test.go, or move the files to the room whose subject they are", folder))
		}
		documented := slices.ContainsFunc(files[folder], func(f *ast.File) bool {
			return f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != ""
		})
		if !documented {
			problems = append(problems, fmt.Sprintf("%s: it has no package comment: say above one package clause what the room is for and what a caller may rely on", folder))
		}
	}
	return problems
}

func must(t testing.TB, p, root string) string {
	t.Helper()
	rel, err := filepath.Rel(root, p)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// checkImports compares one file's imports with its room's line.
func checkImports(folder string, r room, module string, file *ast.File, where func(ast.Node) string) []string {
	var problems []string
	for _, spec := range file.Imports {
		p := importPath(spec)
		inside, ours := strings.CutPrefix(p, module+"/")
		if p == module {
			inside, ours = ".", true
		}
		first, _, _ := strings.Cut(p, "/")
		switch {
		case ours && under(inside, "bench"): // said already
		case ours && !slices.Contains(r.may, inside):
			problems = append(problems, fmt.Sprintf("%s: %s imports %s, and the plan lets it import %s: ask for the value as an argument or declare a small interface, so that a higher floor introduces the two; or change its line in arch_test.go with the reason", where(spec), folder, p, list(r.may)))
		case !ours && strings.Contains(first, ".") && !slices.ContainsFunc(r.deps, func(d string) bool { return under(p, d) }):
			problems = append(problems, fmt.Sprintf("%s: %s imports %s, a dependency the plan does not give it (it has %s): do without, move the code to the room that owns the library, or add it to arch_test.go and docs/dependencies.md", where(spec), folder, p, list(r.deps)))
		}
	}
	return problems
}

// checkPurity looks in one file for what a pure room may not do.
func checkPurity(folder string, file *ast.File, where func(ast.Node) string) []string {
	var problems []string
	report := func(n ast.Node, what, why string) {
		problems = append(problems, fmt.Sprintf("%s: %s is a pure room and %s: %s", where(n), folder, what, why))
	}
	names := make(map[string]string) // what a package is called here
	for _, spec := range file.Imports {
		p := importPath(spec)
		for banned, why := range impure {
			if under(p, banned) && p != "sync/atomic" {
				report(spec, "imports "+p, why)
			}
		}
		name := path.Base(p)
		if p == "math/rand/v2" {
			name = "rand"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "starts a goroutine", "return the work to the caller, which owns goroutines")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			switch p := names[x.Name]; {
			case impureNames[p][n.Sel.Name]:
				report(n, "uses "+p+"."+n.Sel.Name, "time arrives as an argument and output is returned")
			case (p == "math/rand" || p == "math/rand/v2") && !seeded[n.Sel.Name]:
				report(n, "uses "+p+"."+n.Sel.Name, "the global source gives other worlds every time: take a *rand.Rand")
			}
		}
		return true
	})
	return problems
}

// under reports whether the path is the root or lies below it.
func under(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has checked it; the compiler will complain
	}
	return p
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func TestEveryDependencyIsExplained(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join("docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) == 2 && strings.Contains(fields[0], "/") && !strings.Contains(string(doc), "`"+fields[0]+"`") {
			t.Errorf("%s is a direct dependency without a line in docs/dependencies.md: write why it is here, its licence, and what leaving it would cost", fields[0])
		}
	}
}

func TestEveryBreachOfThePlanIsCaught(t *testing.T) {
	toy := map[string]room{
		".":            {may: []string{"low", "internal/io"}},
		"low":          {pure: true, deps: []string{"example.org/allowed"}},
		"internal/io":  {may: []string{"low"}},
		"cmd/tool":     {may: []string{"."}},
		"planned/only": {},
	}
	// Every case is a whole tree: the clean one and one file more.
	clean := map[string]string{
		"go.mod":                "module toy\n",
		"door.go":               "// Package toy opens.\npackage toy\n\nimport (\n\t_ \"os\"\n\t_ \"toy/internal/io\"\n\t_ \"toy/low\"\n)\n",
		"door_test.go":          "package toy\n\nimport _ \"example.org/anything\"\n",
		"low/doc.go":            "// Package low is pure.\npackage low\n\nimport (\n\t_ \"sync/atomic\"\n\t\"time\"\n\t\"math/rand/v2\"\n\t_ \"example.org/allowed/sub\"\n)\n\nvar _ time.Time\nvar _ = rand.New(rand.NewPCG(1, 2))\n",
		"low/low_test.go":       "package low\n\nimport _ \"os\"\n",
		"low/testdata/x.go":     "this is not Go",
		"internal/io/io.go":     "// Package io does.\npackage io\n\nimport (\n\t_ \"net\"\n\t_ \"toy/low\"\n)\n",
		"cmd/tool/main.go":      "// Command tool is wiring.\npackage main\n\nimport _ \"toy\"\n",
		"bench/go.mod":          "module toy/bench\n",
		"bench/bench.go":        "package bench\n\nimport _ \"example.org/anything\"\n",
		".hidden/folder/odd.go": "package odd\n",
	}
	body := func(imports string, rest string) string { return "package low\n\nimport " + imports + "\n\n" + rest }
	for _, c := range []struct {
		name, file, content string
		want                string // in the one line reported; empty: no line
	}{
		{"clean", "", "", ""},
		{"a room not on the plan", "util/util.go", "// Package util helps.\npackage util\n", "util: it is not on the floor plan"},
		{"no package comment", "planned/only/x.go", "package only\n", "planned/only: it has no package comment"},
		{"an import upwards", "low/x.go", body(`_ "toy/internal/io"`, ""), "low/x.go:3: low imports toy/internal/io"},
		{"an import of the front door", "internal/io/x.go", "package io\n\nimport _ \"toy\"\n", "internal/io imports toy,"},
		{"a command past the front door", "cmd/tool/x.go", "package main\n\nimport _ \"toy/internal/io\"\n", "cmd/tool imports toy/internal/io"},
		{"a dependency not given", "low/x.go", body(`_ "example.org/other"`, ""), "low imports example.org/other"},
		{"a dependency with a similar name", "low/x.go", body(`_ "example.org/allowedtoo"`, ""), "low imports example.org/allowedtoo"},
		{"bench in a room", "internal/io/x.go", "package io\n\nimport _ \"toy/bench\"\n", "internal/io/x.go:3: bench is imported"},
		{"bench in a test", "low/y_test.go", "package low\n\nimport _ \"toy/bench/deep\"\n", "low/y_test.go:3: bench is imported"},
		{"os in a pure room", "low/x.go", body(`_ "os"`, ""), "low is a pure room and imports os:"},
		{"net/http in a pure room", "low/x.go", body(`_ "net/http"`, ""), "imports net/http:"},
		{"slog in a pure room", "low/x.go", body(`_ "log/slog"`, ""), "imports log/slog:"},
		{"context in a pure room", "low/x.go", body(`_ "context"`, ""), "imports context:"},
		{"a lock in a pure room", "low/x.go", body(`_ "sync"`, ""), "imports sync:"},
		{"crypto/rand in a pure room", "low/x.go", body(`_ "crypto/rand"`, ""), "imports crypto/rand:"},
		{"a clock in a pure room", "low/x.go", body(`"time"`, "var clock = time.Now\n"), "low/x.go:5: low is a pure room and uses time.Now:"},
		{"a renamed clock", "low/x.go", body(`t "time"`, "func f() { t.Sleep(1) }\n"), "uses time.Sleep:"},
		{"global randomness", "low/x.go", body(`"math/rand"`, "var n = rand.Intn(2)\n"), "uses math/rand.Intn:"},
		{"global randomness, v2", "low/x.go", body(`"math/rand/v2"`, "var n = rand.N(2)\n"), "uses math/rand/v2.N:"},
		{"printing", "low/x.go", body(`"fmt"`, "func f() { fmt.Println() }\n"), "uses fmt.Println:"},
		{"a goroutine in a pure room", "low/x.go", "package low\n\nfunc f() { go f() }\n", "low/x.go:3: low is a pure room and starts a goroutine"},
		{"another platform's file", "low/x_windows.go", body(`_ "os"`, ""), "low/x_windows.go:3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			tree := maps.Clone(clean)
			if c.file != "" {
				tree[c.file] = c.content
			}
			for name, content := range tree {
				p := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p, []byte(content), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			problems := inspect(t, dir, "toy", toy)
			switch {
			case c.want == "" && len(problems) > 0:
				t.Errorf("the clean tree has problems: %q", problems)
			case c.want != "" && (len(problems) != 1 || !strings.Contains(problems[0], c.want)):
				t.Errorf("got %q, want one line with %q", problems, c.want)
			}
		})
	}
}

func TestBenchIsAModuleOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bench"), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := inspect(t, dir, "toy", nil); len(got) != 1 || !strings.Contains(got[0], "bench: it has no go.mod") {
		t.Errorf("got %q", got)
	}
}
