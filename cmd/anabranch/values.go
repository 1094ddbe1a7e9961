package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"anabranch"
	"anabranch/record"
)

// span is a duration flag: what Go reads, and days as in 7d.
type span time.Duration

func (s *span) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

func (s *span) Type() string { return "duration" }

func (s *span) Set(text string) error {
	d, err := parseSpan(text)
	if err != nil {
		return err
	}
	*s = span(d)
	return nil
}

func parseSpan(text string) (time.Duration, error) {
	const most = 100 * 366 * 24 * time.Hour
	var d time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no number of days", text)
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			return 0, fmt.Errorf("%q is no duration such as 90s, 30m, 24h or 7d", text)
		}
	}
	if d <= 0 || d > most {
		return 0, fmt.Errorf("%q is not more than nothing and at most a hundred years", text)
	}
	return d, nil
}

// moment is a flag that names a time: a date, a date and time, or a span
// that means so long ago.
type moment time.Time

func (m *moment) String() string {
	if time.Time(*m).IsZero() {
		return ""
	}
	return time.Time(*m).Format(time.RFC3339)
}

func (m *moment) Type() string { return "time" }

func (m *moment) Set(text string) error {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			*m = moment(t)
			return nil
		}
	}
	d, err := parseSpan(text)
	if err != nil {
		return fmt.Errorf("%q is no time such as 2026-05-01, 2026-05-01T10:00:00Z or 2h (ago)", text)
	}
	*m = moment(time.Now().Add(-d))
	return nil
}

// checkedPath is a path argument that a record can have.
func checkedPath(path string) (string, error) {
	if err := record.CheckPath(path); err != nil {
		var field *record.FieldError
		if errors.As(err, &field) {
			return "", usage("path %q: %s", path, field.Reason)
		}
		return "", usage("path %q: %v", path, err)
	}
	return path, nil
}

// checkedPrefix is the one path argument that bounds a list, or "" for
// everything.
func checkedPrefix(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	return checkedPath(args[0])
}

// checkID checks that an argument is the beginning of a record's ID.
func checkID(text string) error {
	if len(text) < 4 || len(text) > 64 || !hexadecimal(text) {
		return usage("%q begins no record ID: 4 to 64 hexadecimal characters, as put, append and list --long show them", text)
	}
	return nil
}

func hexadecimal(text string) bool {
	return strings.Trim(strings.ToLower(text), "0123456789abcdef") == ""
}

// checkedAddrs are addresses as "ip:port".
func checkedAddrs(flag string, addrs []string) error {
	for _, a := range addrs {
		if _, err := netip.ParseAddrPort(a); err != nil {
			return usage("--%s %q is not of the form ip:port", flag, a)
		}
	}
	return nil
}

// peerFlag reads [DEVICE@]ip:port.
func peerFlag(text string) (device, addr string, err error) {
	addr = text
	if before, after, ok := strings.Cut(text, "@"); ok {
		device, addr = before, after
	}
	return device, addr, checkedAddrs("peer", []string{addr})
}

// findDevice finds the one member that this replica's own name for it names,
// or a hexadecimal prefix of its device key, of at least six characters.
// Labels name nobody: anybody may have chosen them.
func findDevice(members []anabranch.Member, prefix string) (record.Key, error) {
	for _, m := range members {
		if m.Petname != "" && m.Petname == prefix {
			return m.Device, nil
		}
	}
	return findKey(members, prefix, "device", func(m anabranch.Member) record.Key { return m.Device })
}

// findAuthor finds an author key among members, or takes a whole key.
func findAuthor(members []anabranch.Member, prefix string) (record.Key, error) {
	if key, err := record.ParseKey(prefix); err == nil {
		return key, nil
	}
	return findKey(members, prefix, "author", func(m anabranch.Member) record.Key { return m.Author })
}

func findKey(members []anabranch.Member, prefix, what string, key func(anabranch.Member) record.Key) (record.Key, error) {
	if len(prefix) < 6 || !hexadecimal(prefix) {
		return record.Key{}, usage("%q names no %s: at least six hexadecimal characters, as \"anabranch members\" shows them", prefix, what)
	}
	var found []record.Key
	for _, m := range members {
		k := key(m)
		if strings.HasPrefix(k.String(), strings.ToLower(prefix)) && (len(found) == 0 || found[0] != k) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return record.Key{}, fmt.Errorf("%w: no %s of this space begins with %q", anabranch.ErrNotFound, what, prefix)
	case 1:
		return found[0], nil
	}
	return record.Key{}, usage("%q is the beginning of more than one %s: give more of it", prefix, what)
}

// read reads all of stdin, up to a limit, and gives up when the context ends.
func (a *app) read(ctx context.Context, limit int) ([]byte, error) {
	return await(ctx, func() ([]byte, error) {
		var b bytes.Buffer
		_, err := io.CopyN(&b, a.stdin, int64(limit)+1)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return b.Bytes(), nil
	})
}

// await runs something that cannot be cancelled; it is left behind when the
// context ends first, which ends the process too.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		v, err := f()
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
