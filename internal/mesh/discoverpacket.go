package mesh

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// maxPacket is what we send and read, in bytes: it passes every link whole.
const maxPacket = 1200

// A packet of ours is one of multicast DNS. Names end in
//
//	_anabranch._udp.local
//
// Asking, it is a query for the PTR records of that name, with the announcement
// among the additional records; otherwise it is a response with a PTR record
// and the announcement as its answers. The announcement is one TXT record,
// TTL 120, named by sixteen hexadecimal digits that mean nothing, with the
// strings
//
//	v=1
//	p=<port, decimal>
//	t=<1 to 31 tags of 8 bytes>   once or twice
//
// Others are left alone: unknown strings are skipped, unknown versions ignored.
type packet struct {
	ask  bool
	name Tag
	announcement
}

// announcement is what a device tells of itself.
type announcement struct {
	port uint16 // 0: there was none in the packet
	tags []Tag
}

var serviceName = dnsmessage.MustNewName("_anabranch._udp.local.")

const (
	recordTTL     = 120 // seconds
	tagsPerString = 31  // 2 + 31*8 bytes of 255
	maxRecords    = 16  // looked at in one packet
)

// isOurs is a quick guess: the first label of our service's name is in it. Case
// folding is for the parser; our own packets are in lower case.
func isOurs(b []byte) bool { return bytes.Contains(b, []byte("\x0a_anabranch")) }

func (p packet) encode() ([]byte, error) {
	instance, err := dnsmessage.NewName(hex.EncodeToString(p.name[:]) + "." + serviceName.String())
	if err != nil {
		return nil, err
	}
	text := dnsmessage.TXTResource{TXT: []string{"v=1", "p=" + strconv.Itoa(int(p.port))}}
	for rest := p.tags; len(rest) > 0; {
		n := min(len(rest), tagsPerString)
		s := []byte("t=")
		for _, t := range rest[:n] {
			s = append(s, t[:]...)
		}
		text.TXT = append(text.TXT, string(s))
		rest = rest[n:]
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: !p.ask, Authoritative: !p.ask})
	b.EnableCompression()
	header := func(name dnsmessage.Name) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: recordTTL}
	}
	if p.ask {
		question := dnsmessage.Question{Name: serviceName, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}
		err = errors.Join(b.StartQuestions(), b.Question(question), b.StartAdditionals())
	} else {
		err = errors.Join(b.StartAnswers(), b.PTRResource(header(serviceName), dnsmessage.PTRResource{PTR: instance}))
	}
	if err = errors.Join(err, b.TXTResource(header(instance), text)); err != nil {
		return nil, err
	}
	return b.Finish()
}

// parsePacket reads what of a packet concerns us; of several announcements the
// first. The error says that it is no DNS, or an announcement not as above.
func parsePacket(b []byte) (p packet, err error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(b)
	if err != nil {
		return p, err
	}
	for range maxRecords {
		q, err := parser.Question()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return p, err
		}
		ours := q.Type == dnsmessage.TypePTR || q.Type == dnsmessage.TypeALL
		p.ask = p.ask || !header.Response && ours && strings.EqualFold(q.Name.String(), serviceName.String())
	}
	if err := parser.SkipAllQuestions(); err != nil {
		return p, err
	}
	sections := []section{
		{parser.AnswerHeader, parser.SkipAnswer, parser.SkipAllAnswers},
		{parser.AuthorityHeader, parser.SkipAuthority, parser.SkipAllAuthorities},
		{parser.AdditionalHeader, parser.SkipAdditional, parser.SkipAllAdditionals},
	}
	for _, s := range sections {
		if found, err := p.findIn(&parser, s); found || err != nil {
			return p, err
		}
	}
	return p, nil
}

// section is one of the three places for records.
type section struct {
	header  func() (dnsmessage.ResourceHeader, error)
	skip    func() error
	skipAll func() error
}

// findIn looks for an announcement in a section.
func (p *packet) findIn(parser *dnsmessage.Parser, s section) (found bool, err error) {
	for range maxRecords {
		h, err := s.header()
		if err == dnsmessage.ErrSectionDone {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		instance, inService := cutService(h.Name.String())
		if h.Type != dnsmessage.TypeTXT || !inService {
			if err := s.skip(); err != nil {
				return false, err
			}
			continue
		}
		text, err := parser.TXTResource()
		if err != nil {
			return false, err
		}
		if name, err := hex.DecodeString(instance); err == nil && len(name) == len(p.name) {
			p.name = Tag(name)
		}
		return true, p.read(text.TXT)
	}
	return false, s.skipAll()
}

// cutService returns the label before our service's name.
func cutService(name string) (instance string, ok bool) {
	suffix := "." + serviceName.String()
	at := len(name) - len(suffix)
	if at <= 0 || !strings.EqualFold(name[at:], suffix) {
		return "", false
	}
	return name[:at], true
}

// read takes an announcement from the strings of its record.
func (p *packet) read(text []string) error {
	var a announcement
	version := ""
	for _, s := range text {
		key, value, _ := strings.Cut(s, "=")
		switch key {
		case "v":
			version = value
		case "p":
			port, err := strconv.ParseUint(value, 10, 16)
			if err != nil || port == 0 {
				return fmt.Errorf("port %q", value)
			}
			a.port = uint16(port)
		case "t":
			if len(value)%len(Tag{}) != 0 || len(a.tags)+len(value)/len(Tag{}) > maxTags {
				return fmt.Errorf("%d bytes of tags after %d tags", len(value), len(a.tags))
			}
			for ; len(value) > 0; value = value[len(Tag{}):] {
				a.tags = append(a.tags, Tag([]byte(value[:len(Tag{})])))
			}
		}
	}
	if version != "1" {
		return nil // of another time
	}
	if a.port == 0 {
		return errors.New("no port")
	}
	p.announcement = a
	return nil
}
