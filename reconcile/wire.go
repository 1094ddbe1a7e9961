package reconcile

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// A message:
//
//	version  1 byte, 0x61
//	range*   until the end; the lower bound is the upper bound of the
//	         range before, or the zero Bound; what lies above the last
//	         range is skipped
//
// A range:
//
//	upper    bound
//	mode     varint: 0 skip, 1 fingerprint, 2 ID list
//	payload  skip: nothing · fingerprint: 16 bytes · list: count varint,
//	         then count IDs: all that the sender has in the range
//
// A bound:
//
//	time     varint: 0 infinity, else 1 + time − time of the bound before
//	         (0 before the first of a message)
//	length   varint, 0..32
//	prefix   that many bytes
//
// A varint has base-128 digits, most significant first, the high bit set on
// all but the last, and no leading zero digit.
const (
	version    = 0x61
	minVersion = 0x60 // the version bytes that any version may use
	maxVersion = 0x6f
	maxVarint  = 10 // bytes of a uint64
	idBytes    = len(ID{})

	modeSkip        = 0
	modeFingerprint = 1
	modeList        = 2
)

// closedAtInfinity is the one range that may follow one up to infinity: a
// sender whose frame is full closes it even where nothing is left to close.
// It is a fingerprint of the empty range.
var closedAtInfinity = "\x00\x00\x01" + string(emptyFingerprint[:])

// What can be wrong with a message. They come wrapped in a *MessageError.
var (
	ErrVersion    = errors.New("version not supported")
	ErrTruncated  = errors.New("message ends too early")
	ErrVarint     = errors.New("varint is not minimal or exceeds 64 bits")
	ErrTime       = errors.New("bound's time exceeds 64 bits")
	ErrPrefix     = errors.New("bound's prefix is too long")
	ErrOrder      = errors.New("bound is below the one before")
	ErrInfinity   = errors.New("data after infinity")
	ErrMode       = errors.New("unknown mode")
	ErrCount      = errors.New("list is longer than the message")
	ErrRepeatedID = errors.New("ID repeated in a list")
	ErrRun        = errors.New("run is empty, split or beyond the list") // in the dialect
)

// MessageError says that the peer sent bytes which V1 does not allow. The
// conversation with that peer cannot go on.
type MessageError struct {
	Offset int   // byte of the message at which the faulty field begins
	Err    error // one of the errors above
	Detail string
}

func (e *MessageError) Error() string {
	s := fmt.Sprintf("reconcile: byte %d: %v", e.Offset, e.Err)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

func (e *MessageError) Unwrap() error { return e.Err }

func appendVarint(dst []byte, v uint64) []byte {
	for shift := (bits.Len64(v|1) - 1) / 7 * 7; shift > 0; shift -= 7 {
		dst = append(dst, 0x80|byte(v>>shift))
	}
	return append(dst, byte(v)&0x7f)
}

// writer builds one message.
type writer struct {
	buf     []byte
	time    uint64 // of the last bound written
	version byte   // 0 is V1
}

// begin starts a message in the memory of the one before.
func (w *writer) begin() {
	w.buf, w.time = append(w.buf[:0], cmp.Or(w.version, version)), 0
}

// header writes a range up to its payload. Times must not go backwards.
func (w *writer) header(upper *Bound, mode uint64) {
	if upper.Time == Infinity {
		w.buf = append(w.buf, 0)
	} else {
		w.buf = appendVarint(w.buf, 1+upper.Time-w.time)
	}
	w.time = upper.Time
	w.buf = append(w.buf, byte(upper.Len))
	w.buf = append(w.buf, upper.Prefix[:upper.Len]...)
	w.buf = appendVarint(w.buf, mode)
}

// wireRange is one range of a message from a peer.
type wireRange struct {
	upper       Bound
	mode        uint64
	fingerprint Fingerprint
	ids         []byte // of the message: 32 bytes each, as sent (8 in the dialect)
	wants       wants  // in the dialect
}

// reader takes a message apart, range by range, without a copy.
type reader struct {
	msg     []byte
	at      int
	g       wireRange // the last one read; at first its bound is zero
	keys    []uint64  // reused: 8 bytes for each entry of the longest list
	listed  int       // entries of all lists together, once it is checked
	checked bool      // the lists have been looked through before
	short   bool      // this is the dialect
}

// reset begins to read msg in the memory of the message before.
func (r *reader) reset(msg []byte) {
	*r = reader{msg: msg, keys: r.keys[:0], short: r.short}
}

// check reads the whole message, and goes back to its first range if nothing
// is wrong with it. It comes after versionByte.
func (r *reader) check() error {
	at := r.at
	for {
		ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			r.at, r.g, r.checked = at, wireRange{}, true
			return nil
		}
	}
}

func (r *reader) fail(offset int, err error, format string, args ...any) error {
	return &MessageError{offset, err, fmt.Sprintf(format, args...)}
}

// versionByte reads the first byte and refuses what cannot be a Negentropy
// message at all.
func (r *reader) versionByte() (byte, error) {
	if len(r.msg) == 0 {
		return 0, r.fail(0, ErrTruncated, "no version byte")
	}
	v := r.msg[0]
	if v < minVersion || v > maxVersion {
		return 0, r.fail(0, ErrVersion, "0x%02x is no version byte", v)
	}
	r.at = 1
	return v, nil
}

// next reads one range into r.g. ok is false at the end of the message.
func (r *reader) next() (ok bool, err error) {
	if r.at == len(r.msg) {
		return false, nil
	}
	if r.g.upper.Time == Infinity && string(r.msg[r.at:]) != closedAtInfinity {
		return false, r.fail(r.at, ErrInfinity, "%d bytes", len(r.msg)-r.at)
	}
	if r.usual() {
		return true, nil
	}
	if err = r.bound(); err != nil {
		return false, err
	}
	at := r.at
	if r.g.mode, err = r.varint("mode"); err != nil {
		return false, err
	}
	switch r.g.mode {
	case modeSkip:
	case modeFingerprint:
		var b []byte
		if b, err = r.bytes(len(r.g.fingerprint), "fingerprint"); err == nil {
			r.g.fingerprint = Fingerprint(b)
		}
	case modeList:
		err = r.list()
	default:
		if r.short && r.g.mode == modeWants {
			err = r.wants()
			break
		}
		err = r.fail(at, ErrMode, "%d", r.g.mode)
	}
	return err == nil, err
}

// bound reads the upper bound over the one before.
func (r *reader) bound() error {
	b, begin := &r.g.upper, r.at
	delta, err := r.varint("bound's time")
	if err != nil {
		return err
	}
	time := uint64(Infinity)
	if delta > 0 {
		time = b.Time + (delta - 1)
		if time < b.Time || time == Infinity {
			return r.fail(begin, ErrTime, "%d after %d", delta-1, b.Time)
		}
	}
	at := r.at
	n, err := r.varint("prefix length")
	if err != nil {
		return err
	}
	if n > uint64(len(b.Prefix)) {
		return r.fail(at, ErrPrefix, "%d bytes, at most %d", n, len(b.Prefix))
	}
	if n > 0 && time == Infinity {
		return r.fail(at, ErrPrefix, "%d bytes at infinity", n)
	}
	if n == 0 && time != b.Time { // as most are
		if b.Len > 0 {
			b.Prefix, b.Len = ID{}, 0
		}
		b.Time = time
		return nil
	}
	prefix, err := r.bytes(int(n), "prefix")
	if err != nil {
		return err
	}
	before, beforeTime, beforeLen := b.Prefix, b.Time, b.Len
	b.Prefix = ID{}
	b.Len = copy(b.Prefix[:], prefix)
	b.Time = time
	if time == beforeTime && compareIDs(&b.Prefix, &before) < 0 {
		was := before // so that only here it escapes
		return r.fail(begin, ErrOrder, "prefix %x after %x at time %d", prefix, was[:beforeLen], time)
	}
	return nil
}

func (r *reader) list() error {
	at := r.at
	n, err := r.varint("list count")
	if err != nil {
		return err
	}
	width := idBytes
	if r.short {
		width = shortBytes
	}
	if left := len(r.msg) - r.at; n > uint64(left/width) {
		return r.fail(at, ErrCount, "%d IDs in %d bytes", n, left)
	}
	at = r.at
	r.g.ids = r.msg[at : at+int(n)*width]
	r.at += len(r.g.ids)
	if r.checked {
		return nil
	}
	r.listed += int(n)
	r.keys = r.fit(int(n))
	if r.short {
		if r.repeatedShort() {
			return r.fail(at, ErrRepeatedID, "%d IDs", n)
		}
		return nil
	}
	if id := r.repeated(); id != nil {
		return r.fail(at, ErrRepeatedID, "%x", *id)
	}
	return nil
}

// fit is the memory for n keys. It never grows to more than a quarter beyond
// what is asked for, so that all of it together stays in proportion to the
// message.
func (r *reader) fit(n int) []uint64 {
	if c := cap(r.keys); c < n {
		return make([]uint64, n, max(n, c+c/4))
	}
	return r.keys[:n]
}

// order returns the offsets of the entries of a list, or of a part of one, in
// ascending order of what stands there. It is valid until the next list.
func (r *reader) order(ids []byte) []uint64 {
	if r.short {
		r.keys = r.fit(len(ids) / shortBytes)
		for i := range r.keys {
			r.keys[i] = uint64(i * shortBytes)
		}
		slices.SortFunc(r.keys, func(x, y uint64) int {
			return cmp.Compare(binary.LittleEndian.Uint64(ids[x:]), binary.LittleEndian.Uint64(ids[y:]))
		})
		return r.keys
	}
	r.keys = r.fit(len(ids) / idBytes)
	for i := range r.keys {
		r.keys[i] = uint64(i * idBytes)
	}
	slices.SortFunc(r.keys, func(x, y uint64) int { return compareIDs((*ID)(ids[x:]), (*ID)(ids[y:])) })
	return r.keys
}

// repeatedShort says whether a short ID comes twice in the list.
func (r *reader) repeatedShort() bool {
	for i := range r.keys {
		r.keys[i] = binary.LittleEndian.Uint64(r.g.ids[i*shortBytes:])
	}
	slices.Sort(r.keys)
	return len(slices.Compact(r.keys)) < len(r.g.ids)/shortBytes
}

// distinct says for certain that no ID comes twice in a short list, as twelve
// bits of each are different. It says so of 97 in 100 honest lists of sixteen,
// and sorting takes three times as long.
func (r *reader) distinct(n int) bool {
	var seen [64]uint64
	for ids := r.g.ids[:n*idBytes]; len(ids) >= idBytes; ids = ids[idBytes:] {
		bit := uint64(1) << (ids[1] & 63)
		word := &seen[ids[0]&63]
		if *word&bit != 0 {
			return false
		}
		*word |= bit
	}
	return true
}

// repeated is an ID that comes twice in the list, or nil. It looks at the
// first bytes of the IDs, and at all only if those are not distinct.
func (r *reader) repeated() *ID {
	n := len(r.keys)
	if n <= 48 && r.distinct(n) {
		return nil
	}
	for i := range r.keys {
		key := binary.BigEndian.Uint64(r.g.ids[i*idBytes:])
		if n > 48 {
			r.keys[i] = key
			continue
		}
		j := i
		for ; j > 0 && r.keys[j-1] > key; j-- {
			r.keys[j] = r.keys[j-1]
		}
		r.keys[j] = key
	}
	if n > 48 {
		slices.Sort(r.keys)
	}
	distinct := true
	for i := 1; i < n; i++ {
		distinct = distinct && r.keys[i] != r.keys[i-1]
	}
	if distinct {
		return nil
	}
	order := r.order(r.g.ids)
	for i := 1; i < n; i++ {
		if id := (*ID)(r.g.ids[order[i]:]); *id == ID(r.g.ids[order[i-1]:]) {
			return id
		}
	}
	return nil
}

func (r *reader) varint(what string) (uint64, error) {
	if r.at < len(r.msg) && r.msg[r.at] < 0x80 {
		r.at++
		return uint64(r.msg[r.at-1]), nil
	}
	return r.longVarint(what)
}

func (r *reader) longVarint(what string) (v uint64, err error) {
	for i, b := range r.msg[r.at:] {
		if i == 0 && b == 0x80 {
			return 0, r.fail(r.at, ErrVarint, "%s begins with a zero digit", what)
		}
		if v>>(64-7) != 0 {
			return 0, r.fail(r.at, ErrVarint, "%s exceeds 64 bits", what)
		}
		v = v<<7 | uint64(b&0x7f)
		if b < 0x80 {
			r.at += i + 1
			return v, nil
		}
	}
	return 0, r.fail(r.at, ErrTruncated, "in %s", what)
}

func (r *reader) bytes(n int, what string) ([]byte, error) {
	if len(r.msg)-r.at < n {
		return nil, r.fail(r.at, ErrTruncated, "%s needs %d bytes, %d are left", what, n, len(r.msg)-r.at)
	}
	b := r.msg[r.at : r.at+n]
	r.at += n
	return b, nil
}
