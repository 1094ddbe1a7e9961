package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"anabranch"
	"anabranch/record"
)

// TestStatusShowsWhatIsOdd is a golden page: whatever can be wrong is on it,
// and nothing that others wrote can act on the terminal.
func TestStatusShowsWhatIsOdd(t *testing.T) {
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.Local)
	st := standing{
		SpaceStatus: anabranch.SpaceStatus{
			Name: "notes", Version: 12, Count: 10, Control: 3, Sweeps: 1,
			Held: 2, HeldBytes: 300, Trash: 1, ToSweep: 4,
			Forks: make([]anabranch.Fork, 1),
			Future: []*anabranch.Record{{Record: record.Record{
				Path: "/to\u202emorrow", Author: record.Key{0xaa},
				Time: uint64(now.Add(48 * time.Hour).UnixMicro()),
			}}},
			Peers: []anabranch.PeerStatus{
				{Device: record.Key{1}, Label: "bo\u202eat", Role: record.Admin, State: anabranch.InSync, AgreedAt: now.Add(-14 * time.Second)},
				{Device: record.Key{2}, Petname: "phone", Role: record.Writer, State: anabranch.Offline, Reason: "no answer at 10.0.0.1:4471", AgreedAt: now.Add(-3 * time.Hour), AgreedOn: anabranch.Root{9}},
				{Device: record.Key{3}, Role: record.Reader, State: anabranch.Blocked, Reason: "it sent \x1b[31m",
					Traffic: anabranch.Traffic{BytesIn: 2500, BytesOut: 40, Sessions: 1, RumorsIn: 7, RumorsOut: 9, Duplicates: 2}},
				{Device: record.Key{4}, Role: record.Reader, State: anabranch.Unknown},
			},
		},
		role: "admin", members: 5, now: now,
	}
	zero := strings.Repeat("0", 64)
	want := `notes  ` + zero + `
  root     ` + zero + `
  holds    10 records: 6 of data, 3 of control, 1 sweep; version 12
  members  5 devices; this one is 000000000000, admin
  held     2 records (300 bytes) whose authority is unknown here, in no root
  trash    1 record removed and kept for a while, in no root
  to sweep 4 records of this device, superfluous now
  forks    1 number stands twice: a store was restored from a backup or cloned; both records are kept
  future   /to\u202emorrow by aa0000000000 is dated 2026-05-03 10:00:00, in 2 days
  peer     010000000000 "bo\u202eat", admin: in sync; held the same root 14 s ago
  peer     020000000000 phone, writer: offline (no answer at 10.0.0.1:4471); held the same root 3 h ago, 090000000000, and something has changed here since
  peer     030000000000, reader: blocked (it sent \x1b[31m); no comparison with it is known
           2500 bytes came and 40 bytes went: 1 session; 7 rumors here, 2 of them needless, and 9 there
  peer     040000000000, reader: not compared yet; no comparison with it is known
  Something is wrong with 030000000000: see above.
`
	var got strings.Builder
	for _, line := range st.lines() {
		got.WriteString(escape(line) + "\n")
	}
	if got.String() != want {
		t.Errorf("status is\n%swant\n%s", got.String(), want)
	}
	b, err := json.Marshal(st.json())
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(escapeJSON(b), &fields); err != nil {
		t.Fatal(err)
	}
	if fields["forks"] != 1.0 || len(fields["future"].([]any)) != 1 || len(fields["peers"].([]any)) != 4 {
		t.Errorf("%s", b)
	}
}

// TestWhatIsNotKnownIsNull: counts that are not known are null in JSON, and
// not said in words.
func TestWhatIsNotKnownIsNull(t *testing.T) {
	zero, three, seven := uint64(0), uint64(3), uint64(7)
	for _, c := range []struct {
		state            anabranch.State
		missing, surplus *uint64
		words            string
	}{
		{anabranch.InSync, &zero, &zero, "in sync; no comparison with it is known"},
		{anabranch.Syncing, nil, nil, "syncing"},
		{anabranch.Syncing, &seven, &zero, "syncing; 7 records missing here, 0 there"},
		{anabranch.Behind, &three, &zero, "this device is behind; 3 records missing here, 0 there; no comparison with it is known"},
		{anabranch.Diverged, &three, &seven, "both have what the other lacks; 3 records missing here, 7 there; no comparison with it is known"},
		{anabranch.Diverged, nil, nil, "roots differ; no comparison with it is known"},
		{anabranch.Offline, nil, &three, "offline; 3 records here that it is not known to hold; no comparison with it is known"},
		{anabranch.Unknown, nil, nil, "not compared yet; no comparison with it is known"},
		{anabranch.Incompatible, nil, nil, "incompatible; no comparison with it is known"},
	} {
		p := anabranch.PeerStatus{State: c.state, Missing: c.missing, Surplus: c.surplus}
		st := standing{SpaceStatus: anabranch.SpaceStatus{Peers: []anabranch.PeerStatus{p}}}
		out := st.json().Peers[0]
		if out.Missing != c.missing || out.Surplus != c.surplus || out.State != string(c.state) {
			t.Errorf("%s: %+v", c.state, out)
		}
		if got := st.peer(p); got != c.words {
			t.Errorf("%s reads %q, want %q", c.state, got, c.words)
		}
	}
}

// TestASummaryNeverRoundsUp: in sync is what every peer is.
func TestASummaryNeverRoundsUp(t *testing.T) {
	dir := home(t)
	for _, c := range []struct {
		roots []string
		peer  string // "same" is the root here
		agree bool
	}{
		{[]string{"same"}, "same", true},
		{[]string{"same", "same"}, "same", true},
		{[]string{"same", ""}, "", false},
		{[]string{"same", "other"}, "", false},
		{[]string{"other"}, "other", false},
		{[]string{""}, "", false},
	} {
		var out bytes.Buffer
		a := &app{stdout: &out, stderr: io.Discard, home: dir}
		err := a.offline(t.Context(), func(s *anabranch.Space) error {
			root, _, err := s.Root(t.Context())
			if err != nil {
				return err
			}
			var roots []string
			for _, r := range c.roots {
				roots = append(roots, strings.ReplaceAll(r, "same", root.String()))
			}
			var total syncSummaryJSON
			total.add(anabranch.Report{Method: "equal", Rounds: 1, BytesIn: 70, BytesOut: 50, RecordBytesIn: 20})
			total.add(anabranch.Report{Method: "ranges", Rounds: 2, RecordsOut: 3})
			if err := a.summarise(t.Context(), s, total, roots); err != nil {
				return err
			}
			c.peer = strings.ReplaceAll(c.peer, "same", root.String())
			return a.flush()
		})
		if err != nil {
			t.Fatal(err)
		}
		var got syncSummaryJSON
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.InSync != c.agree || (got.PeerRoot == nil) != (c.peer == "") || got.PeerRoot != nil && *got.PeerRoot != c.peer {
			t.Errorf("%q: %s", c.roots, out.Bytes())
		}
		if got.Method != "mixed" || got.Rounds != 3 || got.Wire != 120 || got.Payload != 20 || got.Overhead != 100 || got.Sent != 3 {
			t.Errorf("%s", out.Bytes())
		}
	}
}
