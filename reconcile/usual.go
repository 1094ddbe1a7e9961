package reconcile

import "math/bits"

// Most ranges of a message have one form: a skip or a fingerprint up to a later
// time, without a prefix. They are written and read in one go.

// fingerprint writes a range of that mode.
func (w *writer) fingerprint(upper *Bound, fp *Fingerprint) {
	at := len(w.buf)
	if upper.Len > 0 || upper.Time == Infinity || cap(w.buf)-at < maxRange {
		w.header(upper, modeFingerprint)
		w.buf = append(w.buf, fp[:]...)
		return
	}
	// Most are of this form.
	b := w.buf[at : at+maxRange]
	v := 1 + upper.Time - w.time
	w.time = upper.Time
	n := 0
	for shift := (bits.Len64(v|1) - 1) / 7 * 7; shift > 0; shift -= 7 {
		b[n&15] = 0x80 | byte(v>>shift)
		n++
	}
	b[n&15] = byte(v) & 0x7f
	b[n&15+1], b[n&15+2] = 0, modeFingerprint
	*(*Fingerprint)(b[n&15+3:]) = *fp
	w.buf = w.buf[:at+n+3+len(fp)]
}

// usual reads a range of the form that most have: a skip or a fingerprint, up
// to a later time without a prefix. It is false, and nothing has been read, if
// this is none, or comes close to the end of the message.
func (r *reader) usual() bool {
	if len(r.msg)-r.at < maxRange {
		return false
	}
	b := r.msg[r.at : r.at+maxRange]
	delta, n := uint64(b[0]), 1
	if delta >= 0x80 {
		if delta &= 0x7f; delta == 0 {
			return false
		}
		for {
			c := b[n&15]
			n++
			delta = delta<<7 | uint64(c&0x7f)
			if c < 0x80 {
				break
			}
			if n == maxVarint-1 { // it has more than 63 bits, or may
				return false
			}
		}
	}
	time := r.g.upper.Time + (delta - 1)
	if delta < 2 || time < delta-1 || time == Infinity || b[n] != 0 {
		return false
	}
	switch b[n+1] {
	case modeSkip:
		r.g.mode = modeSkip
		r.at += n + 2
	case modeFingerprint:
		r.g.mode = modeFingerprint
		r.g.fingerprint = Fingerprint(b[n+2:])
		r.at += n + 2 + len(r.g.fingerprint)
	default:
		return false
	}
	if r.g.upper.Len > 0 {
		r.g.upper.Prefix, r.g.upper.Len = ID{}, 0
	}
	r.g.upper.Time = time
	return true
}
