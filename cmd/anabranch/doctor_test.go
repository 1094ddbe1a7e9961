package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anabranch"
	"anabranch/record"
)

// healthy is what a home looks like with nothing wrong and an up running.
func healthy() *facts {
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	root := anabranch.Root{1}
	peer := peerFacts{anabranch.PeerStatus{Device: record.Key{2}, Role: record.Admin, State: anabranch.InSync, AgreedAt: now.Add(-time.Minute), AgreedOn: root, Addr: "192.0.2.2:4471"}, []string{"192.0.2.2:4471"}, nil}
	return &facts{
		home:     fileFacts{path: "/home", mode: fs.ModeDir | 0o700},
		keys:     fileFacts{path: "/keys", mode: fs.ModeDir | 0o700},
		runtime:  fileFacts{path: "/run", mode: fs.ModeDir | 0o700},
		keyFiles: []fileFacts{{path: "/keys/device.key", mode: 0o600}, {path: "/keys/author-1.key", mode: 0o600}},
		now:      now, free: 1 << 40, openFiles: 1024, receive: 8 << 20, send: 8 << 20,
		addrs:   []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}},
		running: true, program: "1", caller: "1",
		holdings: []anabranch.Holding{{Part: "records", Bytes: 5 << 20}},
		listen:   []string{"0.0.0.0:4471"}, actual: []string{"192.0.2.1:4471"},
		spaces: []*spaceFacts{{
			SpaceStatus: anabranch.SpaceStatus{Name: "notes", Root: root, Count: 5},
			role:        record.Admin, admins: 1, peers: []peerFacts{peer},
		}},
	}
}

// TestEveryCheckFires makes each check bad, and where it can be, unknown,
// from facts that are otherwise well.
func TestEveryCheckFires(t *testing.T) {
	first := func(f *facts) *spaceFacts { return f.spaces[0] }
	peer := func(f *facts) *peerFacts { return &f.spaces[0].peers[0] }
	stopped := func(f *facts) { f.running, f.actual, f.bound = false, nil, map[string]error{} }
	cases := []struct {
		id     string
		want   verdict
		change func(*facts)
	}{
		{"version", bad, func(f *facts) { f.caller = "2" }},
		{"version", unknown, func(f *facts) { f.caller = "" }},
		{"home", bad, func(f *facts) { f.home.mode = fs.ModeDir | 0o755 }},
		{"home", bad, func(f *facts) { f.home.foreign = true }},
		{"home", bad, func(f *facts) { f.home.mode = 0o600 }},
		{"home", unknown, func(f *facts) { f.home = fileFacts{missing: true} }},
		{"home", unknown, func(f *facts) { f.home = fileFacts{err: fs.ErrPermission} }},
		{"store_size", unknown, func(f *facts) { f.holdings = nil }},
		{"store_size", unknown, func(f *facts) { f.holdErr = fs.ErrClosed }},
		{"home_writable", bad, func(f *facts) { f.written = syscall.ENOSPC }},
		{"home_writable", bad, func(f *facts) { f.written = fs.ErrPermission }},
		{"home_writable", unknown, func(f *facts) { f.home.missing = true }},
		{"free_space", bad, func(f *facts) { f.free = 1 << 20 }},
		{"free_space", unknown, func(f *facts) { f.free = -1 }},
		{"keys_folder", bad, func(f *facts) { f.keys.mode = fs.ModeDir | 0o750 }},
		{"keys_folder", unknown, func(f *facts) { f.keys.missing = true }},
		{"key_files", bad, func(f *facts) { f.keyFiles[1].mode = 0o640 }},
		{"key_files", bad, func(f *facts) { f.keyFiles[0].foreign = true }},
		{"key_files", bad, func(f *facts) { f.keyFiles = f.keyFiles[1:] }},
		{"key_files", unknown, func(f *facts) { f.keyFiles, f.spaces = nil, nil }},
		{"joins", bad, func(f *facts) {
			f.keyFiles = append(f.keyFiles, fileFacts{path: "/keys/joining-1.key", mode: 0o600})
		}},
		{"runtime_folder", bad, func(f *facts) { f.runtime.foreign = true }},
		{"lease", bad, func(f *facts) { f.runtime.inside = true }},
		{"store", bad, func(f *facts) { f.opened = anabranch.ErrDamaged }},
		{"store", bad, func(f *facts) { f.opened = anabranch.ErrNewer }},
		{"store", unknown, func(f *facts) { f.opened = anabranch.ErrLocked }},
		{"disk", bad, func(f *facts) { f.failed = true }},
		{"disk", bad, func(f *facts) { f.full = anabranch.ErrFull }},
		{"disk", unknown, stopped},
		{"spaces", bad, func(f *facts) { f.unusable = 1 }},
		{"spaces", bad, func(f *facts) { f.spaces = nil }},
		{"spaces", unknown, func(f *facts) { f.opened, f.spaces = anabranch.ErrLocked, nil }},
		{"clock", bad, func(f *facts) { f.now = time.Unix(0, 0) }},
		{"clock", bad, func(f *facts) { peer(f).AgreedAt = f.now.Add(time.Hour) }},
		{"running", unknown, stopped},
		{"network", bad, func(f *facts) { f.addrs = []net.Addr{&net.IPNet{IP: net.IPv4(127, 0, 0, 1)}} }},
		{"network", unknown, func(f *facts) { f.addrsErr = errors.New("no") }},
		{"listening", bad, func(f *facts) { f.actual = nil }},
		{"listening", bad, func(f *facts) { f.actual = []string{"127.0.0.1:4471"} }},
		{"listening", unknown, stopped},
		{"port", bad, func(f *facts) { stopped(f); f.bound["0.0.0.0:4471"] = syscall.EADDRINUSE }},
		{"port", bad, func(f *facts) { stopped(f); f.bound["0.0.0.0:4471"] = syscall.EADDRNOTAVAIL }},
		{"port", unknown, func(f *facts) { f.actual = []string{"192.0.2.1:5000"} }},
		{"udp_buffers", bad, func(f *facts) { f.send = 64 << 10 }},
		{"udp_buffers", unknown, func(f *facts) { f.receive = -1 }},
		{"open_files", bad, func(f *facts) { f.openFiles = 64 }},
		{"open_files", unknown, func(f *facts) { f.openFiles = -1 }},
		{"membership", bad, func(f *facts) { first(f).role = 0 }},
		{"copies", bad, func(f *facts) { first(f).peers = nil }},
		{"admins", bad, func(f *facts) { first(f).admins = 0 }},
		{"admins", bad, func(f *facts) { first(f).admins, first(f).role = 0, record.Writer }},
		{"peer_addresses", unknown, func(f *facts) { peer(f).addrs, peer(f).Addr = nil, "" }},
		{"peers_reachable", bad, func(f *facts) { peer(f).State, peer(f).failure = anabranch.Offline, anabranch.ErrUnreachable }},
		{"peers_reachable", unknown, func(f *facts) { peer(f).State = anabranch.Offline }},
		{"peers_reachable", unknown, stopped},
		{"peers_accept", bad, func(f *facts) { peer(f).State = anabranch.Blocked }},
		{"peers_accept", bad, func(f *facts) { peer(f).failure = anabranch.ErrRefused }},
		{"peers_accept", bad, func(f *facts) { peer(f).failure = anabranch.ErrIncompatible }},
		{"peers_accept", unknown, stopped},
		{"peers_recent", bad, func(f *facts) { peer(f).AgreedAt = f.now.Add(-40 * 24 * time.Hour) }},
		{"peers_recent", unknown, func(f *facts) { peer(f).AgreedAt = time.Time{} }},
		{"roots", bad, func(f *facts) { peer(f).failure = &anabranch.RootsDifferError{} }},
		{"roots", unknown, func(f *facts) { peer(f).State = anabranch.Ahead }},
		{"held", bad, func(f *facts) { first(f).Held, first(f).HeldBytes = 9, heldBudget }},
		{"held", unknown, func(f *facts) { first(f).Held = 1 }},
		{"forks", bad, func(f *facts) { first(f).Forks = make([]anabranch.Fork, 1) }},
		{"future", bad, func(f *facts) { first(f).Future = []*anabranch.Record{{}} }},
		{"trash", bad, func(f *facts) { first(f).Trash = manyInTrash + 1 }},
		{"sweeps", bad, func(f *facts) { first(f).ToSweep = manyToSweep + 1 }},
	}
	look := func(f *facts) map[string]outcome {
		out := map[string]outcome{}
		for _, c := range checks {
			out[c.id] = c.look(f)
		}
		for _, s := range f.spaces {
			for _, c := range spaceChecks {
				out[c.id] = c.look(f, s)
			}
		}
		return out
	}
	fired := map[string]bool{}
	for id, o := range look(healthy()) {
		if o.verdict != good || o.evidence == "" || o.fix != "" {
			t.Errorf("healthy: %s is %+v", id, o)
		}
	}
	for _, c := range cases {
		f := healthy()
		c.change(f)
		o := look(f)[c.id]
		if o.verdict != c.want || o.evidence == "" || strings.Contains(o.evidence+o.fix, "\n") {
			t.Errorf("%s is %+v, want it %s", c.id, o, c.want)
		}
		if c.want == bad && o.fix == "" {
			t.Errorf("%s is bad, and nothing is said to do about it", c.id)
		}
		fired[c.id] = fired[c.id] || c.want != good
	}
	for id := range look(healthy()) {
		if !fired[id] {
			t.Errorf("nothing makes %s fire", id)
		}
	}
	if n := len(checks) + len(spaceChecks); n < 20 {
		t.Errorf("%d checks", n)
	}
}

// TestDoctorLooksAtTheHome makes checks fire by what is on the disk.
func TestDoctorLooksAtTheHome(t *testing.T) {
	dir := home(t)
	t.Setenv("ANABRANCH_LISTEN", "")
	doctor := func() string {
		_, out, words := inProcess(t.Context(), &app{}, "--home", dir, "doctor", "--all")
		return out + words
	}
	for _, c := range []struct {
		name   string
		change func() error
		want   string
	}{
		{"as it is made", func() error { return nil }, "ok       store: it opens"},
		{"an open folder", func() error { return os.Chmod(dir, 0o755) }, "bad      home: others may look into"},
		{"a join half done", func() error {
			return os.WriteFile(filepath.Join(dir, "state", "joining-00.key"), []byte("x"), 0o600)
		}, "bad      joins: a join was begun"},
		{"a readable key", func() error { return os.Chmod(filepath.Join(dir, "state", "device.key"), 0o644) }, "bad      key_files: others can read"},
		{"a runtime folder within", func() error { t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run")); return nil }, "bad      lease: the lane lease"},
		{"no home", func() error { dir += "-not"; return nil }, "bad      spaces: there is no space here"},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		if got := doctor(); !strings.Contains(got, c.want) {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, got)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("doctor made a home")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Setenv("ANABRANCH_LISTEN", taken.Addr().String())
	if got := doctor(); !strings.Contains(got, "bad      port: "+taken.Addr().String()+" is taken") {
		t.Error(got)
	}
}
