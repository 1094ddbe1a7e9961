package mesh

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrameBytesAreAsWritten(t *testing.T) {
	for _, c := range []struct {
		wire string
		body string
		err  error
	}{
		{"\x00", "", nil},
		{"\x03abc", "abc", nil},
		{"\x03ab", "", io.ErrUnexpectedEOF},
		{"\x03", "", io.ErrUnexpectedEOF},
		{"", "", io.EOF},
		{"\x80", "", io.ErrUnexpectedEOF},
		{"\x80\x00", "", ErrFrameSize},             // zero in two bytes
		{"\x83\x00abc", "", ErrFrameSize},          // three in two bytes
		{"\x83\x80\x00abc", "", ErrFrameSize},      // three in three bytes
		{"\x80\x80\x80\x00", "", ErrFrameSize},     // four bytes
		{"\xff\xff\xff\xff\x7f", "", ErrFrameSize}, // huge
		{"\xe9\x07", "", ErrFrameSize},             // 1001, one over the limit here
		{"\xe8\x07", "", io.ErrUnexpectedEOF},      // 1000, within it
	} {
		body, prefix, err := readFrame(bufio.NewReader(bytes.NewReader([]byte(c.wire))), 1000)
		if !errors.Is(err, c.err) || string(body) != c.body || (err == nil && prefix != len(c.wire)-len(c.body)) {
			t.Errorf("%q: %q, %v, want %q, %v", c.wire, body, err, c.body, c.err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x03abc\x00"))
	f.Add([]byte("\x80\x80\x01"))
	f.Add([]byte("\x83\x00abc"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		const limit = 20000
		r := bufio.NewReader(bytes.NewReader(wire))
		var again []byte
		for {
			body, prefix, err := readFrame(r, limit)
			if err != nil {
				break
			}
			before := len(again)
			again = appendLength(again, len(body))
			if len(again)-before != prefix {
				t.Fatalf("a prefix of %d bytes would be written in %d", prefix, len(again)-before)
			}
			again = append(again, body...)
		}
		if !bytes.HasPrefix(wire, again) {
			t.Fatalf("accepted bytes %x are written %x", wire, again)
		}
	})
}
