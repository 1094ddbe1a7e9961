package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"anabranch"
	"anabranch/record"
)

// shortLen is how much of a key or an ID is shown to people: enough to tell
// those of one space apart, and to type.
const shortLen = 12

func short[T fmt.Stringer](v T) string { return v.String()[:shortLen] }

// emit prints one line of JSON. Every object names its schema.
func (a *app) emit(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = a.output().Write(append(escapeJSON(b), '\n'))
	return err
}

// recordJSON is one record. Payload is Text when it is printable UTF-8 (line
// breaks and tabs included), else Base64.
type recordJSON struct {
	Schema    string   `json:"schema"` // anabranch.record/1
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	Path      string   `json:"path"`
	Time      string   `json:"time"`
	Author    string   `json:"author"`
	Lane      string   `json:"lane"` // decimal: 64 bits are more than JSON's numbers hold
	Seq       uint32   `json:"seq"`
	Expires   string   `json:"expires,omitempty"`
	Deleted   bool     `json:"deleted,omitempty"`
	Size      int      `json:"size"` // bytes of payload
	Text      *string  `json:"text,omitempty"`
	Base64    []byte   `json:"base64,omitempty"`
	State     string   `json:"state,omitempty"`     // history: current, conflicting or replaced
	Conflicts []string `json:"conflicts,omitempty"` // get: IDs of the other versions
}

func viewRecord(v *anabranch.Record) recordJSON {
	out := recordJSON{
		Schema:  "anabranch.record/1",
		ID:      v.ID.String(),
		Kind:    v.Kind.String(),
		Path:    v.Path,
		Time:    stamp(microTime(v.Time)),
		Author:  v.Author.String(),
		Lane:    strconv.FormatUint(v.Lane, 10),
		Seq:     v.Seq,
		Deleted: v.Deleted,
		Size:    len(v.Payload),
	}
	if v.Expires != 0 {
		out.Expires = stamp(microTime(v.Expires))
	}
	if text := string(v.Payload); printable(text, "\n\t") {
		out.Text = &text
	} else {
		out.Base64 = v.Payload
	}
	return out
}

func ids(records []*anabranch.Record) []string {
	out := make([]string, len(records))
	for i, v := range records {
		out[i] = v.ID.String()
	}
	return out
}

// recordRow is one record as a line of a table.
func recordRow(v *anabranch.Record) []string {
	return []string{clock(microTime(v.Time)), v.Kind.String(), short(v.Author), v.ID.String(), v.Path, preview(v)}
}

// preview is the beginning of a payload, quoted.
func preview(v *anabranch.Record) string {
	const most = 40
	switch {
	case v.Deleted:
		return "(deleted)"
	case !utf8.Valid(v.Payload):
		return fmt.Sprintf("(%s, not text)", bytesText(int64(len(v.Payload))))
	}
	text := []rune(string(v.Payload))
	if len(text) <= most {
		return strconv.Quote(string(text))
	}
	return strconv.Quote(string(text[:most])) + "… (" + bytesText(int64(len(v.Payload))) + ")"
}

func microTime(us uint64) time.Time { return time.UnixMicro(int64(us)).UTC() }

// stamp is a time in JSON; empty for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// clock is a time for people, in their zone.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// ago is how long before now a time was, roughly.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + spanText(-d)
	}
	return spanText(d) + " ago"
}

// spanText is a duration in its largest unit.
func spanText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%d MB", n/1_000_000)
}

// count is a number of things, in words that agree.
func count[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func records[N int | uint64](n N) string { return count(n, "record", "records") }
func devices[N int | uint64](n N) string { return count(n, "device", "devices") }

// role is a role with its article.
func role(r record.Role) string {
	if r == record.Admin {
		return "an admin"
	}
	return "a " + r.String()
}
