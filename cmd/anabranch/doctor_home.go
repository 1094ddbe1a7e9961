package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"time"

	"anabranch"
)

// Limits of the checks: below them something will go wrong soon, and not
// just less than best.
const (
	leastFree      = 256 << 20 // bytes
	leastOpenFiles = 256
	leastUDPBuffer = 200 << 10 // what Linux allows by default is a little more
	bestUDPBuffer  = 7 << 20   // what QUIC asks for
)

// begun is before any build of this program: a clock that shows less is
// wrong.
var begun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// checks are those of the machine and the home.
var checks = []check{
	{"version", checkVersion},
	{"home", checkHome},
	{"home_writable", checkWritable},
	{"free_space", checkFree},
	{"keys_folder", checkKeysFolder},
	{"key_files", checkKeyFiles},
	{"joins", checkJoins},
	{"runtime_folder", checkRuntime},
	{"lease", checkLease},
	{"store", checkStore},
	{"disk", checkDisk},
	{"store_size", checkStoreSize},
	{"spaces", checkSpaces},
	{"clock", checkClock},
	{"running", checkRunning},
	{"network", checkNetwork},
	{"listening", checkListening},
	{"port", checkPort},
	{"udp_buffers", checkBuffers},
	{"open_files", checkOpenFiles},
}

func checkVersion(f *facts) outcome {
	switch {
	case !f.running:
		return fine("this is anabranch %s", f.program)
	case f.caller == "":
		return unclear("", "the running up is anabranch %s; which one asked it is not known", f.program)
	case f.caller != f.program:
		return wrong("stop the running up and start it again", "the running up is anabranch %s, this command is %s", f.program, f.caller)
	}
	return fine("this command and the running up are anabranch %s", f.program)
}

// private is what the folders of a home have in common.
func private(f fileFacts, what, missing string) outcome {
	switch {
	case f.missing:
		return unclear("", "%s, %s, does not exist yet: %s", what, f.path, missing)
	case f.err != nil:
		return unclear("", "%s: %v", what, f.err)
	case !f.mode.IsDir():
		return wrong("move it out of the way", "%s is no folder", f.path)
	case f.foreign:
		return wrong("run anabranch as the user whose folder it is, or choose another", "%s belongs to another user", f.path)
	case f.mode.Perm()&0o077 != 0:
		return wrong("chmod 700 "+f.path, "others may look into %s (mode %v)", f.path, f.mode.Perm())
	}
	return fine("%s is for its owner alone", f.path)
}

func checkHome(f *facts) outcome {
	return private(f.home, "the home", "the first space makes it")
}

func checkWritable(f *facts) outcome {
	switch {
	case f.home.missing:
		return unclear("", "there is no home yet")
	case errors.Is(f.written, fs.ErrPermission):
		return wrong("make "+f.home.path+" writable for its owner", "%v", f.written)
	case f.written != nil:
		return wrong("free some space, or make the disk writable", "%v", f.written)
	}
	return fine("a file was written into the home, synced and removed")
}

func checkFree(f *facts) outcome {
	switch {
	case f.free < 0:
		return unclear("", "this system does not say how much space is free")
	case f.free < leastFree:
		return wrong("free some space: when none is left nothing more is written, and nothing is lost", "%s are free for the home", bytesText(f.free))
	}
	return fine("%s are free for the home", bytesText(f.free))
}

func checkKeysFolder(f *facts) outcome {
	return private(f.keys, "the folder of keys", "the first space makes it")
}

func checkKeyFiles(f *facts) outcome {
	var found bool
	for _, k := range f.keyFiles {
		found = found || filepath.Base(k.path) == "device.key"
		switch {
		case k.err != nil:
			return unclear("", "%v", k.err)
		case k.foreign:
			return wrong("give the file back to its owner: chown", "%s belongs to another user", k.path)
		case k.mode.Perm()&0o077 != 0:
			return wrong("chmod 600 "+k.path, "others can read %s (mode %v)", k.path, k.mode.Perm())
		}
	}
	switch {
	case found:
		return fine("%s for their owner alone", count(len(f.keyFiles), "key file is", "key files are"))
	case len(f.spaces) > 0 || !f.home.missing && len(f.keyFiles) > 0:
		return wrong("restore it, or join again as a new device and revoke the old one", "device.key is missing from %s: other devices know this one by it", f.keys.path)
	}
	return unclear("", "there are no keys yet; the first space makes them")
}

func checkJoins(f *facts) outcome {
	for _, k := range f.keyFiles {
		if strings.HasPrefix(filepath.Base(k.path), "joining-") {
			return wrong(`run "anabranch join" again with the same ticket; if it is lost, the file can be removed`, "a join was begun and not finished: %s", k.path)
		}
	}
	return fine("no join is half done")
}

func checkRuntime(f *facts) outcome {
	return private(f.runtime, "the runtime folder", "the first command makes it")
}

func checkLease(f *facts) outcome {
	if f.runtime.inside {
		return wrong("set XDG_RUNTIME_DIR to a folder that backups leave out", "the lane lease, in %s, lies within the home: a restored copy could write under numbers that are taken", f.runtime.path)
	}
	return fine("the lane lease, in %s, is apart from the home", f.runtime.path)
}

func checkStore(f *facts) outcome {
	switch {
	case errors.Is(f.opened, anabranch.ErrLocked):
		return unclear("wait until it is done, or stop it", "another process works in this home, and takes no commands: %v", f.opened)
	case f.opened != nil:
		return wrong(hint(f.opened), "it does not open: %v", f.opened)
	case len(f.spaces) == 0 && f.unusable == 0:
		return unclear("", "there is none yet")
	}
	return fine("it opens, in the format of this version")
}

func checkDisk(f *facts) outcome {
	if f.failed {
		return wrong("check the disk, then start up again; whatever was reported as written is safe", "a write failed since up began: nothing more is written")
	}
	if f.full != nil {
		return wrong("free some space: writing goes on by itself then", "nothing can be written now: %s", plain(f.full))
	}
	if !f.running {
		return unclear("", "no up is running; what failed before is not remembered")
	}
	return fine("no write has failed since up began")
}

// checkStoreSize is there to be read: a store has no size that is wrong.
func checkStoreSize(f *facts) outcome {
	if f.holdErr != nil {
		return unclear("", "%v", f.holdErr)
	}
	if len(f.holdings) == 0 {
		return unclear("", "nothing is stored yet")
	}
	var sum uint64
	var parts []string
	for _, h := range f.holdings {
		sum += h.Bytes
		parts = append(parts, fmt.Sprintf("%s %s", h.Part, bytesText(int64(h.Bytes))))
	}
	return fine("the store takes about %s: %s", bytesText(int64(sum)), strings.Join(parts, ", "))
}

func checkSpaces(f *facts) outcome {
	switch {
	case f.unusable > 0:
		return wrong("run the newer anabranch that knows their rules", "%s here cannot be judged by this version", count(f.unusable, "space", "spaces"))
	case f.opened != nil:
		return unclear("", "the store did not open")
	case len(f.spaces) == 0:
		return wrong(`"anabranch space create NAME", or "anabranch join" with a ticket`, "there is no space here")
	}
	return fine("%s here", count(len(f.spaces), "space", "spaces"))
}

func checkClock(f *facts) outcome {
	if f.now.Before(begun) {
		return wrong("set the clock: what is written now counts as older than everything else", "the clock shows %s", clock(f.now))
	}
	for _, s := range f.spaces {
		for _, p := range s.peers {
			if p.AgreedAt.After(f.now.Add(time.Minute)) {
				return wrong("set the clock, or wait: what is written now counts as older than it is", "the clock shows %s, and a session with %s ended at %s", clock(f.now), short(p.Device), clock(p.AgreedAt))
			}
		}
	}
	return fine("it shows %s, and nothing contradicts it", clock(f.now))
}

func checkRunning(f *facts) outcome {
	if f.running {
		return fine("an up runs and took this command")
	}
	return unclear(`"anabranch up" keeps in step, and lets doctor see more`, "no up is running on this home, so nothing is kept in step just now")
}

func checkNetwork(f *facts) outcome {
	if f.addrsErr != nil {
		return unclear("", "%v", f.addrsErr)
	}
	var outward []string
	for _, a := range f.addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			outward = append(outward, n.IP.String())
		}
	}
	if len(outward) == 0 {
		return wrong("connect to a network", "this machine has no address but its own loopback")
	}
	return fine("this machine is at %s", strings.Join(outward, ", "))
}

func checkListening(f *facts) outcome {
	if !f.running {
		return unclear("", "no up is running")
	}
	if len(f.actual) == 0 {
		return wrong("stop up and start it again with --listen ip:port", "up accepts peers at no address")
	}
	for _, a := range f.actual {
		if host, _, err := net.SplitHostPort(a); err == nil && !net.ParseIP(host).IsLoopback() {
			return fine("up accepts peers at %s", strings.Join(f.actual, ", "))
		}
	}
	return wrong("start up without --listen, or with an address that others reach", "up accepts peers at %s, where no other machine can come", strings.Join(f.actual, ", "))
}

func checkPort(f *facts) outcome {
	if f.running {
		return checkActualPort(f)
	}
	for addr, err := range f.bound {
		switch {
		case taken(err):
			return wrong("stop the other program, or choose another port with --listen; otherwise up takes a free one, which others learn by a new ticket or --peer", "%s is taken by another program", addr)
		case err != nil:
			return wrong("choose an address of this machine with --listen", "%s cannot be used: %v", addr, err)
		}
	}
	return fine("%s can be listened on, over UDP and TCP", strings.Join(f.listen, ", "))
}

// checkActualPort compares what up listens on with what it would by default.
func checkActualPort(f *facts) outcome {
	for _, want := range f.listen {
		_, port, err := net.SplitHostPort(want)
		if err != nil || port == "0" {
			continue
		}
		for _, got := range f.actual {
			if _, p, err := net.SplitHostPort(got); err == nil && p == port {
				return fine("up has port %s", port)
			}
		}
		return unclear("", "up has another port than %s: it was told to, or that was taken", port)
	}
	return fine("any free port will do")
}

func checkBuffers(f *facts) outcome {
	least := min(f.receive, f.send)
	switch {
	case least < 0:
		return unclear("", "this system does not say how large a UDP socket's buffers may be")
	case least < leastUDPBuffer:
		return wrong("sysctl -w net.core.rmem_max=7340032 net.core.wmem_max=7340032", "a UDP socket's buffers may have %s at most: QUIC will lose packets", bytesText(least))
	case least < bestUDPBuffer:
		return fine("a UDP socket's buffers may have %s at most; with 7 MB (net.core.rmem_max, wmem_max) fast links are faster", bytesText(least))
	}
	return fine("a UDP socket's buffers may have %s", bytesText(least))
}

func checkOpenFiles(f *facts) outcome {
	switch {
	case f.openFiles < 0:
		return unclear("", "this system does not say how many files may be open")
	case f.openFiles < leastOpenFiles:
		return wrong("ulimit -n 1024, or LimitNOFILE=1024 in the service", "%d files and sockets may be open at most", f.openFiles)
	}
	return fine("%d files and sockets may be open", f.openFiles)
}
