package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"anabranch"
	"anabranch/record"
)

// blobsJSON is what status --json says of the content that records name,
// beside what it says of the records.
type blobsJSON struct {
	Named        int      `json:"named"`
	NamedBytes   uint64   `json:"named_bytes"`
	Here         int      `json:"here"`
	Missing      int      `json:"missing"`
	MissingBytes uint64   `json:"missing_bytes"`
	Wanted       int      `json:"wanted"`
	WantedBytes  uint64   `json:"wanted_bytes"`
	Received     int64    `json:"received"` // bytes, since this replica was opened
	Sent         int64    `json:"sent"`
	Kept         int64    `json:"kept_bytes"` // of all spaces, on this disk
	From         []string `json:"from"`       // devices that have something wanted, as far as they were asked
	Liars        []string `json:"liars"`      // devices that sent what is false
	Problem      string   `json:"problem,omitempty"`
}

func viewBlobs(st anabranch.BlobStatus) blobsJSON {
	out := blobsJSON{
		Named: st.Named, NamedBytes: st.NamedBytes, Here: st.Here, Missing: st.Missing, MissingBytes: st.MissingBytes,
		Wanted: st.Wanted, WantedBytes: st.WantedBytes, Received: st.Received, Sent: st.Sent, Kept: st.Kept,
		From: sourcesOf(st), Liars: []string{},
	}
	for _, k := range st.Liars {
		out.Liars = append(out.Liars, k.String())
	}
	if st.Problem != nil {
		out.Problem = plain(st.Problem)
	}
	return out
}

func sourcesOf(st anabranch.BlobStatus) []string {
	seen, out := map[string]bool{}, []string{}
	for _, b := range st.Largest {
		for _, k := range b.From {
			if !seen[k.String()] {
				seen[k.String()] = true
				out = append(out, k.String())
			}
		}
	}
	return out
}

// blobLines are what status says of content; none if no record names any.
func blobLines(st anabranch.BlobStatus) []string {
	if st.Named == 0 {
		return nil
	}
	text := fmt.Sprintf("  blobs    %d of %s here, %s in all", st.Here, count(st.Named, "content", "contents"), bytesText(int64(st.NamedBytes)))
	if st.Wanted > 0 {
		text += fmt.Sprintf("; %d wanted, %s", st.Wanted, bytesText(int64(st.WantedBytes)))
	}
	if n := st.Missing - st.Wanted; n > 0 {
		text += fmt.Sprintf("; %d on demand", n)
	}
	out := []string{text}
	if from := sourcesOf(st); len(from) > 0 {
		for i := range from {
			from[i] = from[i][:8]
		}
		out = append(out, "           what is wanted is at "+strings.Join(from, ", "))
	} else if st.Wanted > 0 {
		out = append(out, "           no device that is connected has what is wanted, as far as is known")
	}
	for _, k := range st.Liars {
		out = append(out, "           "+short(k)+" sent what is not of the content it was asked for")
	}
	if st.Problem != nil {
		out = append(out, "           the last trouble: "+plain(st.Problem))
	}
	return out
}

// meeting connects to devices that may have content, beside what else is
// done; where an up runs it is connected already. What it returns ends that.
func (a *app) meeting(ctx context.Context, s *anabranch.Space, devices []record.Key) (end func()) {
	if a.shared != nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var met sync.WaitGroup
	met.Go(func() {
		// Who does not answer is asked again until the time is up; what is
		// missing then is said by whoever waits.
		_, _ = s.Converge(ctx, devices...)
	})
	return func() {
		cancel()
		met.Wait()
	}
}

// waitBlobs waits until what is wanted is here, with bytes and rate.
func (a *app) waitBlobs(ctx context.Context, s *anabranch.Space, took time.Duration) error {
	line, began := a.progress(""), time.Now()
	defer line.end()
	first := int64(-1)
	err := s.WaitBlobs(ctx, func(st anabranch.BlobStatus) {
		if first < 0 {
			first = st.Received
		}
		got := st.Received - first
		line.showBytes(got, got+int64(st.WantedBytes), time.Since(began))
	})
	if errors.Is(err, context.DeadlineExceeded) {
		line.end()
		a.say("error: not all content is here after %s", spanText(took+time.Since(began)))
		a.say(`hint: "anabranch blob ls --missing" says what, and who has it`)
		return &saidError{exitDiffer}
	}
	return err
}
