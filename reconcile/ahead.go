package reconcile

// ahead is a range of a message before it is answered.
type ahead struct {
	g          wireRange
	begin, end int         // the positions that it covers here
	own        Fingerprint // of these, if the peer sent one
	at         int         // byte of the message after it
}

// look reads the next ranges of the message and digests what is to be
// compared, and returns how many they are: 0 at its end. What they cover does
// not depend on how those before them are answered. A message that becomes
// full leaves the rest of them aside, so that no more than one batch has been
// digested in vain.
func (s *engine) look() (n int, err error) {
	if n, err = s.locate(); err != nil {
		return 0, err
	}
	return n, s.digest(s.ahead[:n])
}

// locate reads the next ranges of the message and finds what they cover.
func (s *engine) locate() (n int, err error) {
	for ; n < len(s.ahead); n++ {
		ok, err := s.r.next()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		a := &s.ahead[n]
		a.g, a.at = s.r.g, s.r.at
	}
	return n, s.cur.seek(s.turn.begin, s.ahead[:n])
}

func (s *engine) digest(ranges []ahead) error {
	prints := 0 // fingerprints among them
	for i := range ranges {
		if a := &ranges[i]; a.g.mode == modeFingerprint {
			s.spans[prints] = span{a.begin, a.end}
			prints++
		}
	}
	if prints == 0 {
		return nil
	}
	if err := s.cur.fingerprints(s.spans[:prints], s.digests[:prints]); err != nil {
		return err
	}
	prints = 0
	for i := range ranges {
		if a := &ranges[i]; a.g.mode == modeFingerprint {
			a.own = s.digests[prints]
			prints++
		}
	}
	return nil
}

// fingerprint digests one range.
func (s *engine) fingerprint(begin, end int) (Fingerprint, error) {
	s.spans[0] = span{begin, end}
	err := s.cur.fingerprints(s.spans[:1], s.digests[:1])
	return s.digests[0], err
}
