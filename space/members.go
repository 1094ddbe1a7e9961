package space

import "anabranch/record"

// GrantInfo describes a standing grant.
type GrantInfo struct {
	ID     record.ID
	Under  record.ID  // the issuer's grant; zero for a root key
	Author record.Key // who may act by it
	Device record.Key // the device that holds that key
	Issuer record.Key
	Role   record.Role
	Area   string // path prefix
	Time   uint64 // microseconds since 1970
	Sealed bool   // some seal is effective on it: only what seals list is left
	Record *record.Verified
}

func grantInfo(c *control) GrantInfo {
	g := c.body.Grant
	return GrantInfo{
		ID: c.ID, Under: c.body.Under, Author: g.Author, Device: g.Device, Issuer: c.Author,
		Role: g.Role, Area: c.Path, Time: c.Time, Record: c.Verified,
	}
}

// Members returns every standing grant, sealed ones included, by (time, ID).
func (s *State) Members() []GrantInfo {
	return s.grantsWhere(func(*grant) bool { return true })
}

// GrantsOf returns the standing grants of an author key, by (time, ID).
func (s *State) GrantsOf(author record.Key) []GrantInfo {
	return s.grantsWhere(func(g *grant) bool { return g.Author == author })
}

// GrantsOfDevice returns the standing grants that name a device, by (time, ID).
func (s *State) GrantsOfDevice(device record.Key) []GrantInfo {
	return s.grantsWhere(func(g *grant) bool { return g.Device == device })
}

func (s *State) grantsWhere(ok func(*grant) bool) []GrantInfo {
	var out []GrantInfo
	for _, g := range s.authority.members {
		if ok(g) {
			out = append(out, g.GrantInfo)
		}
	}
	return out
}

// MayRead reports whether some standing, unsealed grant names the device.
func (s *State) MayRead(device record.Key) bool {
	for _, g := range s.authority.members {
		if g.Device == device && !g.Sealed {
			return true
		}
	}
	return false
}

// IsRoot reports whether a key is one of the genesis's root keys.
func (s *State) IsRoot(k record.Key) bool { return s.authority.isRoot(k) }
