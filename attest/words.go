package attest

import (
	"fmt"

	"anabranch/record"
)

func isData(r *record.Verified) bool { return r.Kind != record.Control && r.Kind != record.Sweep }

// Words says what was shown, by whom and when, in sentences for people.
// Paths are quoted; nothing else in them comes from a peer as it is.
func (f *Finding) Words() []string {
	a := f.Attestation
	by := fmt.Sprintf("device %v (author %v)", f.Device, a.Author)
	if f.Device == (record.Key{}) {
		by = fmt.Sprintf("the holder of root key %v", a.Author)
	}
	held := fmt.Sprintf("%s signed that at %v it held %d records of space %v, root %x.",
		by, a.When(), a.Count, f.Space, a.Root())
	switch f.Kind {
	case Member:
		return []string{held, f.recordWords() + " is one of them."}
	case Absent:
		return []string{held, fmt.Sprintf("No record %v is among them. (This does not say that nothing else lies at its path.)", f.ID)}
	case Whole:
		return []string{held, fmt.Sprintf("All of them %s: %d. The same signature says that there are no more.", queryWords(a), len(f.Body.Selected()))}
	}
	words := []string{held, f.Reason.String() + ": " + f.Detail + "."}
	if f.Record != nil {
		words = append(words, "That record: "+f.recordWords()+".")
	}
	if f.Other != nil {
		o := f.Other
		words = append(words, fmt.Sprintf("It also signed that at %v it held %d records, root %x.", o.When(), o.Count, o.Root()))
	}
	return words
}

func (f *Finding) recordWords() string {
	r := f.Record
	return fmt.Sprintf("%v %v at %q, written by author %v at %v", r.Kind, r.ID, r.Path, r.Author,
		(&Attestation{Time: r.Time}).When())
}

func queryWords(a *Attestation) string {
	q := a.Answer.Query
	switch {
	case q.All():
		return "that are data"
	case q.Prefix != "":
		return fmt.Sprintf("at or below %q", q.Prefix)
	case q.Gte != "" || q.Lte != "":
		return fmt.Sprintf("with %q <= path < %q", q.Gte, q.Lte)
	}
	return fmt.Sprintf("that the query %x selects", q.Encode())
}
