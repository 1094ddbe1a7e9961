package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"anabranch"
	"anabranch/record"
)

const (
	redrawEvery = 200 * time.Millisecond // on a terminal
	repeatEvery = 10 * time.Second       // elsewhere
)

// progress is a line of counts on standard error: redrawn on a terminal, a
// new one every ten seconds elsewhere, none with --quiet. It never says how
// much is left unless that is known. One goroutine uses it, the one that
// prints everything else.
type progress struct {
	app   *app
	what  string
	last  time.Time
	drawn bool // a line stands on the terminal
}

func (a *app) progress(what string) *progress {
	return &progress{app: a, what: what, last: time.Now()}
}

// show says how much is done of a total, 0 if that is not known.
func (p *progress) show(done, total int) {
	p.draw(func() string {
		if total > 0 {
			return fmt.Sprintf("%d of %d %s", done, total, p.what)
		}
		return fmt.Sprintf("%d %s", done, p.what)
	})
}

// draw says what text returns, if it is time and that is not empty.
func (p *progress) draw(text func() string) {
	pause := repeatEvery
	if p.app.shown {
		pause = redrawEvery
	}
	if p.app.quiet || time.Since(p.last) < pause {
		return
	}
	line := text()
	if line == "" {
		return
	}
	p.last = time.Now()
	if !p.app.shown {
		p.app.say("%s", line)
		return
	}
	p.app.flush() // keep the order of the two streams
	p.drawn = true
	io.WriteString(p.app.stderr, "\r"+escape(line)+"\x1b[K")
}

// end clears the line.
func (p *progress) end() {
	if p.drawn {
		io.WriteString(p.app.stderr, "\r\x1b[K")
		p.drawn = false
	}
}

// underway waits for what comes of sessions with some devices, and shows
// meanwhile how far those are that go on.
func underway[T any](a *app, s *anabranch.Space, devices []record.Key, done <-chan T) T {
	line := a.progress("")
	defer line.end()
	tick := time.NewTicker(redrawEvery / 2)
	defer tick.Stop()
	for {
		select {
		case v := <-done:
			return v
		case <-tick.C:
			line.draw(func() string {
				var reports []anabranch.Report
				for _, k := range devices {
					if r, ok := s.Underway(k); ok {
						reports = append(reports, r)
					}
				}
				return soFar(reports)
			})
		}
	}
}

// soFar says what sessions that go on have moved, and how much there is to
// move once they have compared what both sides hold.
func soFar(sessions []anabranch.Report) string {
	if len(sessions) == 0 {
		return ""
	}
	var in, out, missing, surplus int
	known := true
	for _, r := range sessions {
		in, out = in+r.RecordsIn, out+r.RecordsOut
		missing, surplus = missing+r.Missing, surplus+r.Surplus
		known = known && r.Compared
	}
	way := func(verb string, n, left int) string {
		if known && left > 0 {
			return fmt.Sprintf("%s %d of %s", verb, n, records(n+left))
		}
		return fmt.Sprintf("%s %s", verb, records(n))
	}
	var parts []string
	if in+missing > 0 {
		parts = append(parts, way("received", in, missing))
	}
	if out+surplus > 0 {
		parts = append(parts, way("sent", out, surplus))
	}
	if !known {
		parts = append(parts, "comparing")
	}
	return strings.Join(parts, ", ")
}
