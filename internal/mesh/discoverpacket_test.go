package mesh

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func samplePackets(t testing.TB) map[string][]byte {
	out := make(map[string][]byte)
	for name, p := range map[string]packet{
		"ask":    {ask: true, name: Tag{1}, announcement: announcement{4471, []Tag{{1}, {2}}}},
		"answer": {name: Tag{0xff}, announcement: announcement{1, make([]Tag, maxTags)}},
		"none":   {name: Tag{3}, announcement: announcement{65535, nil}},
	} {
		b, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsePacket(b)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: %+v came back as %+v, %v", name, p, got, err)
		}
		if len(b) > maxPacket || !isOurs(b) {
			t.Errorf("%s: %d bytes, ours %v", name, len(b), isOurs(b))
		}
		out[name] = b
	}
	return out
}

func TestPacketsComeBackAsTheyWere(t *testing.T) { samplePackets(t) }

func TestForeignPacketsAreNoAnnouncements(t *testing.T) {
	text := func(name string, strings ...string) []byte {
		b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true})
		if err := b.StartAnswers(); err != nil {
			t.Fatal(err)
		}
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET}
		if err := b.TXTResource(h, dnsmessage.TXTResource{TXT: strings}); err != nil {
			t.Fatal(err)
		}
		out, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const ours = "0011223344556677._anabranch._udp.local."
	for _, c := range []struct {
		name string
		b    []byte
		port uint16
		fail bool
	}{
		{"ours", text(ours, "v=1", "p=5", "t=12345678", "x=later", "odd"), 5, false},
		{"ours in capitals", text(strings.ToUpper(ours), "v=1", "p=5"), 5, false},
		{"another service", text("0011223344556677._printer._udp.local.", "v=1", "p=5"), 0, false},
		{"the service itself", text("_anabranch._udp.local.", "v=1", "p=5"), 0, false},
		{"another version", text(ours, "v=2", "p=5"), 0, false},
		{"no port", text(ours, "v=1"), 0, true},
		{"port 0", text(ours, "v=1", "p=0"), 0, true},
		{"port too large", text(ours, "v=1", "p=65536"), 0, true},
		{"half a tag", text(ours, "v=1", "p=5", "t=1234"), 0, true},
		{"too many tags", text(ours, "v=1", "p=5", "t="+strings.Repeat("12345678", 31), "t="+strings.Repeat("12345678", 31), "t=12345678"), 0, true},
		{"nothing", nil, 0, true},
		{"noise", bytes.Repeat([]byte{0xff}, 50), 0, true},
	} {
		p, err := parsePacket(c.b)
		if p.port != c.port || (err != nil) != c.fail || p.ask {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
	for name, b := range samplePackets(t) {
		for n := range len(b) {
			if p, err := parsePacket(b[:n]); err == nil && p.port != 0 {
				t.Errorf("%s cut to %d bytes is an announcement", name, n)
			}
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, b := range samplePackets(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil || p.port == 0 {
			return
		}
		if len(p.tags) > maxTags {
			t.Fatalf("%d tags", len(p.tags))
		}
		again, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parsePacket(again); err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("%+v came back as %+v, %v", p, got, err)
		}
	})
}
