package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ControlType says what a control record does. Types other than these stand
// like any control record and have no effect.
type ControlType uint8

const (
	GrantType ControlType = 1 // gives a key a role in an area
	SealType  ControlType = 2 // withdraws a grant, listing what stands
	LabelType ControlType = 3 // free bytes
)

// Role is what a grant allows. Each includes the ones before it.
type Role uint8

const (
	Reader Role = 1
	Writer Role = 2
	Admin  Role = 3
)

// String is the role's name.
func (r Role) String() string {
	switch r {
	case Reader:
		return "reader"
	case Writer:
		return "writer"
	case Admin:
		return "admin"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	for r := Reader; r <= Admin; r++ {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, fmt.Errorf("record: role %q is none of reader, writer, admin", s)
}

// ControlBody is the payload of a control record:
//
//	type 1 | under 32 | body
//
// Under is the ID of the issuer's grant, zero for a root key. Grant and Seal
// are set for the types of that name and no other; Label holds the body of a
// label, and of any type that is not known.
type ControlBody struct {
	Type  ControlType
	Under ID
	Grant *Grant
	Seal  *Seal
	Label []byte
}

// Grant gives an author key and its device a role. Body:
//
//	author key 32 | device key 32 | role 1 | random 16
type Grant struct {
	Author Key
	Device Key
	Role   Role
	Random [16]byte
}

// Seal is one part of the withdrawal of a grant. Body:
//
//	target 32 | seal id 16 | part 2 | parts 2 | 0-4000 ID prefixes of 16, ascending
type Seal struct {
	Target ID
	SealID [16]byte
	Part   uint16 // 1..Parts
	Parts  uint16
	List   []Prefix // strictly ascending
}

const (
	controlHead = 1 + 32
	grantBody   = 32 + 32 + 1 + 16
	sealHead    = 32 + 16 + 2 + 2
)

// ParseControl reads a control record's payload. Errors are *FieldErrors.
func ParseControl(payload []byte) (ControlBody, error) {
	if len(payload) < controlHead {
		return ControlBody{}, malformed("control", "%d bytes, at least %d", len(payload), controlHead)
	}
	c := ControlBody{Type: ControlType(payload[0]), Under: ID(payload[1:controlHead])}
	body := payload[controlHead:]
	switch c.Type {
	case GrantType:
		if len(body) != grantBody {
			return ControlBody{}, malformed("grant", "%d bytes instead of %d", len(body), grantBody)
		}
		g := &Grant{Author: Key(body[:32]), Device: Key(body[32:64]), Role: Role(body[64]), Random: [16]byte(body[65:])}
		if g.Role < Reader || g.Role > Admin {
			return ControlBody{}, malformed("grant", "role %d is none of 1, 2, 3", g.Role)
		}
		c.Grant = g
	case SealType:
		s, err := parseSeal(body)
		if err != nil {
			return ControlBody{}, err
		}
		c.Seal = s
	default:
		c.Label = body
	}
	return c, nil
}

func parseSeal(body []byte) (*Seal, error) {
	if len(body) < sealHead {
		return nil, malformed("seal", "%d bytes, at least %d", len(body), sealHead)
	}
	s := &Seal{
		Target: ID(body[:32]),
		SealID: [16]byte(body[32:48]),
		Part:   binary.BigEndian.Uint16(body[48:]),
		Parts:  binary.BigEndian.Uint16(body[50:]),
	}
	if s.Part < 1 || s.Part > s.Parts {
		return nil, malformed("seal", "part %d of %d", s.Part, s.Parts)
	}
	list := body[sealHead:]
	if len(list)%PrefixSize != 0 || len(list)/PrefixSize > MaxSealList {
		return nil, malformed("seal", "a list of %d bytes, at most %d prefixes of %d", len(list), MaxSealList, PrefixSize)
	}
	s.List = make([]Prefix, len(list)/PrefixSize)
	for i := range s.List {
		s.List[i] = Prefix(list[i*PrefixSize:])
		if i > 0 && bytes.Compare(s.List[i-1][:], s.List[i][:]) >= 0 {
			return nil, malformed("seal", "prefix %d is not above the one before it", i)
		}
	}
	return s, nil
}

// Payload is the body's one encoding: what ParseControl read is written as it
// was. A Grant or Seal that is set decides the type, so that none can be
// mistaken for a type without effect.
func (c *ControlBody) Payload() []byte {
	switch {
	case c.Grant != nil:
		b := c.head(GrantType, grantBody)
		b = append(b, c.Grant.Author[:]...)
		b = append(b, c.Grant.Device[:]...)
		b = append(b, byte(c.Grant.Role))
		return append(b, c.Grant.Random[:]...)
	case c.Seal != nil:
		b := c.head(SealType, sealHead+PrefixSize*len(c.Seal.List))
		b = append(b, c.Seal.Target[:]...)
		b = append(b, c.Seal.SealID[:]...)
		b = binary.BigEndian.AppendUint16(b, c.Seal.Part)
		b = binary.BigEndian.AppendUint16(b, c.Seal.Parts)
		for _, p := range c.Seal.List {
			b = append(b, p[:]...)
		}
		return b
	}
	return append(c.head(c.Type, len(c.Label)), c.Label...)
}

func (c *ControlBody) head(t ControlType, bodyLen int) []byte {
	b := make([]byte, 0, controlHead+bodyLen)
	return append(append(b, byte(t)), c.Under[:]...)
}
