package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"anabranch"
	"anabranch/record"
)

// Limits of the checks of a space.
const (
	longApart   = 30 * 24 * time.Hour // since two devices held the same
	heldBudget  = 64 << 20            // bytes; what is older makes room
	manyInTrash = 100_000             // records
	manyToSweep = 10_000              // records; a running up sweeps 256 at a time
)

// spaceChecks are those of one space.
var spaceChecks = []spaceCheck{
	{"membership", checkMembership},
	{"copies", checkCopies},
	{"admins", checkAdmins},
	{"peer_addresses", checkPeerAddresses},
	{"peers_reachable", checkReachable},
	{"peers_accept", checkAccepting},
	{"peers_recent", checkRecent},
	{"roots", checkRoots},
	{"held", checkHeld},
	{"forks", checkForks},
	{"future", checkFuture},
	{"trash", checkTrash},
	{"sweeps", checkSweeps},
}

// those names the peers that fit.
func (s *spaceFacts) those(fits func(peerFacts) bool) []string {
	var out []string
	for _, p := range s.peers {
		if fits(p) {
			out = append(out, deviceName(p.Device, p.Petname, p.Label))
		}
	}
	return out
}

func checkMembership(_ *facts, s *spaceFacts) outcome {
	if s.role == 0 {
		return wrong("ask an admin for a new ticket, and join with it", "this device was revoked: what it writes reaches nobody, and nothing reaches it")
	}
	return fine("this device is %s", role(s.role))
}

func checkCopies(_ *facts, s *spaceFacts) outcome {
	if len(s.peers) == 0 {
		return wrong(`"anabranch invite" makes a ticket for a second device; "anabranch backup" a copy`, "no other device is a member: this is the only copy")
	}
	return fine("%s", count(len(s.peers), "other device is a member", "other devices are members"))
}

func checkAdmins(_ *facts, s *spaceFacts) outcome {
	switch {
	case len(s.peers) == 0:
		return fine("this device is the only member")
	case s.role == record.Admin && s.admins == 0:
		return wrong(`"anabranch invite --role admin" for a device that stays elsewhere; keep the recovery key at hand`, "no other device is an admin: if this one is lost, nobody can invite")
	case s.role != record.Admin && s.admins == 0:
		return wrong("revoke and invite with the recovery key, if somebody has it", "no device known here is an admin: nobody can invite or revoke")
	}
	return fine("%s of everything", count(s.admins, "other device is an admin", "other devices are admins"))
}

func checkPeerAddresses(_ *facts, s *spaceFacts) outcome {
	lost := s.those(func(p peerFacts) bool { return len(p.addrs) == 0 && p.Addr == "" })
	if len(s.peers) == 0 {
		return fine("there is no other member")
	}
	if len(lost) > 0 {
		return unclear("wait until they come to this device, or give an address: anabranch sync --peer DEVICE@ip:port", "no address is known of %s", strings.Join(lost, ", "))
	}
	return fine("an address is known of every member")
}

func checkReachable(f *facts, s *spaceFacts) outcome {
	if !f.running {
		return unclear(`"anabranch up" finds out`, "no up is running")
	}
	if gone := s.those(func(p peerFacts) bool {
		return p.State == anabranch.Offline && errors.Is(p.failure, anabranch.ErrUnreachable)
	}); len(gone) > 0 {
		return wrong("is anabranch up running there, on this network, and does a firewall let UDP and TCP through? See anabranch status", "no answer from %s", strings.Join(gone, ", "))
	}
	if away := s.those(func(p peerFacts) bool { return p.State == anabranch.Offline }); len(away) > 0 {
		return unclear("", "not connected with %s, and none has been tried to the end", strings.Join(away, ", "))
	}
	return fine("connected with every other member")
}

func checkAccepting(f *facts, s *spaceFacts) outcome {
	if !f.running {
		return unclear(`"anabranch up" finds out`, "no up is running")
	}
	for _, c := range []struct {
		fits func(peerFacts) bool
		what string
		fix  string
	}{
		{func(p peerFacts) bool { return p.State == anabranch.Blocked }, "they sent what is wrong for everyone, and are left alone for a while", "update anabranch there; if it stays, anabranch verify there"},
		{func(p peerFacts) bool {
			return errors.Is(p.failure, anabranch.ErrRefused) || errors.Is(p.failure, anabranch.ErrNotMember)
		}, "they refuse this device: they do not know it as a member, or not any more", "anabranch members on both: an admin between can bring the news by a sync with each"},
		{func(p peerFacts) bool { return errors.Is(p.failure, anabranch.ErrIncompatible) }, "they speak another version", "run the same version of anabranch on all devices"},
	} {
		if who := s.those(c.fits); len(who) > 0 {
			return wrong(c.fix, "%s: %s", strings.Join(who, ", "), c.what)
		}
	}
	return fine("nobody refuses this device, and nobody is left alone")
}

func checkRecent(f *facts, s *spaceFacts) outcome {
	if never := s.those(func(p peerFacts) bool { return p.AgreedAt.IsZero() }); len(never) > 0 {
		return unclear("", "no comparison with %s is known", strings.Join(never, ", "))
	}
	if long := s.those(func(p peerFacts) bool { return f.now.Sub(p.AgreedAt) > longApart }); len(long) > 0 {
		return wrong("bring them together, or revoke what is lost", "not seen in step for more than %s: %s", spanText(longApart), strings.Join(long, ", "))
	}
	return fine("all were in step within %s", spanText(longApart))
}

func checkRoots(_ *facts, s *spaceFacts) outcome {
	differ := s.those(func(p peerFacts) bool {
		var err *anabranch.RootsDifferError
		return errors.As(p.failure, &err)
	})
	if len(differ) > 0 {
		return wrong(`"anabranch sync" again; if they still differ, "anabranch verify" on both`, "a session with %s ended with different roots", strings.Join(differ, ", "))
	}
	open := s.those(func(p peerFacts) bool { return p.State != anabranch.InSync })
	if len(open) > 0 {
		return unclear(`"anabranch wait --converged" compares them now`, "not known to hold the same now: %s", strings.Join(open, ", "))
	}
	return fine("%s", fmt.Sprintf("%d of %d others hold root %s", len(s.peers), len(s.peers), short(s.Root)))
}

func checkHeld(_ *facts, s *spaceFacts) outcome {
	switch {
	case s.HeldBytes >= heldBudget*9/10:
		return wrong(`revoke whoever writes without right; "anabranch why ID" explains one`, "%s without known authority take %s: the oldest of them make room", records(s.Held), bytesText(s.HeldBytes))
	case s.Held > 0:
		return unclear(`a session may bring the grants; "anabranch why ID" explains one`, "%s (%s) whose authority is not known here", records(s.Held), bytesText(s.HeldBytes))
	}
	return fine("the authority of every record is known")
}

func checkForks(_ *facts, s *spaceFacts) outcome {
	if len(s.Forks) == 0 {
		return fine("no number of a lane stands twice")
	}
	who := short(s.Forks[0].Author)
	return wrong("never run two copies of one home; revoke and invite again the device that was copied", "%s by %s and others stand twice: a home was copied and both were used; all records are kept", count(len(s.Forks), "number", "numbers"), who)
}

func checkFuture(_ *facts, s *spaceFacts) outcome {
	if len(s.Future) == 0 {
		return fine("nothing is dated more than a day ahead")
	}
	v := s.Future[0]
	return wrong("set the clock of the device that wrote it; a put at that path comes after it all the same", "%s by %s is dated %s", v.Path, short(v.Author), clock(microTime(v.Time)))
}

func checkTrash(_ *facts, s *spaceFacts) outcome {
	if s.Trash > manyInTrash && s.Trash > s.Count {
		return wrong("it goes by itself after a week; until then it takes room", "%s in the trash, %d in the set", records(s.Trash), s.Count)
	}
	return fine("%s in the trash", records(s.Trash))
}

func checkSweeps(_ *facts, s *spaceFacts) outcome {
	if s.ToSweep > manyToSweep {
		return wrong(`let "anabranch up" run for a while; if this device was revoked, they stay`, "%s of this device wait to be swept", records(s.ToSweep))
	}
	return fine("%s of this device wait to be swept", records(s.ToSweep))
}
