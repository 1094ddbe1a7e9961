package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"anabranch"
)

// putFile writes content of any size: the value given, a file, or standard
// input, by stream.
func (a *app) putFile(ctx context.Context, path string, args []string, name, media string, expires time.Duration) error {
	o := anabranch.PutOptions{MediaType: media}
	var from io.Reader
	var size int64
	switch {
	case name != "":
		f, err := os.Open(a.path(name))
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return usage("%s is not a regular file", name)
		}
		o.Mode, size, from = uint16(info.Mode().Perm()), info.Size(), f
	case len(args) == 1 && args[0] != "-":
		from = bytes.NewReader([]byte(args[0]))
	default:
		if a.asking {
			a.say("type the value and end it with Ctrl-D:")
		}
		from = a.stdin
	}
	if expires > 0 {
		o.Expires = time.Now().Add(expires)
	}
	line, began := a.progress(""), time.Now()
	in := &passing{r: from, passed: func(n int64) {
		if size > 0 {
			line.showBytes(n, size, time.Since(began))
			return
		}
		line.draw(func() string { return bytesText(n) + rateText(n, time.Since(began)) })
	}}
	err := a.offline(ctx, func(s *anabranch.Space) error {
		written, err := await(ctx, func() (*anabranch.Record, error) { return s.PutFile(ctx, path, in, o) })
		line.end()
		if err != nil {
			return err
		}
		return a.written(written)
	})
	return err
}

// passing tells how much has passed.
type passing struct {
	r      io.Reader
	n      int64
	passed func(n int64)
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	p.passed(p.n)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read what is to be written: %w", err)
	}
	return n, err
}
