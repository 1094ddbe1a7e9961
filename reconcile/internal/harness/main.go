// Command harness stands in for one implementation in the test suite of the
// reference: it reads items and messages of one side as lines, and writes
// the side's answers as lines.
//
//	item,<time>,<64 hex digits>   an item of this side
//	seal                          that was all of them
//	initiate                      begin; answers msg
//	msg,<hex>                     of the peer; answers have and need, then msg or done
//
// FRAMESIZELIMIT in the environment bounds the messages of this side, in
// bytes. To run that suite with it, build it and put the binary in the place
// of another implementation's; see docs/reconcile.md.
package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"anabranch/reconcile"
)

func main() {
	if err := serve(os.Stdin, os.Stdout, os.Getenv("FRAMESIZELIMIT")); err != nil {
		fmt.Fprintln(os.Stderr, "harness: error:", err)
		os.Exit(1)
	}
}

// serve speaks until in ends, which is no error.
func serve(in io.Reader, out io.Writer, limit string) error {
	s := side{out: bufio.NewWriter(out)}
	if limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil {
			return fmt.Errorf("FRAMESIZELIMIT: %w", err)
		}
		s.options.FrameBytes = n
	}
	r := bufio.NewReaderSize(in, 1<<16)
	for {
		line, err := r.ReadString('\n') // a line may have megabytes
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			if err := s.line(line); err != nil {
				return err
			}
			if err := s.out.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// side is one end of a conversation.
type side struct {
	out       *bufio.Writer
	options   reconcile.Options
	items     []reconcile.Item
	index     reconcile.Index
	initiator *reconcile.Initiator // nil: this side responds
}

func (s *side) line(line string) error {
	command, rest, _ := strings.Cut(line, ",")
	switch {
	case command == "item" && s.index == nil:
		return s.item(rest)
	case command == "seal" && s.index == nil:
		v, err := reconcile.NewVector(s.items)
		s.items, s.index = nil, v
		return err
	case command == "initiate" && s.index != nil && s.initiator == nil:
		var err error
		if s.initiator, err = reconcile.NewInitiator(s.index, s.options); err != nil {
			return err
		}
		msg, err := s.initiator.Start()
		if err != nil {
			return err
		}
		return s.message(msg)
	case command == "msg" && s.index != nil:
		msg, err := hex.DecodeString(rest)
		if err != nil {
			return err
		}
		return s.answer(msg)
	}
	return fmt.Errorf("%.40q has no place here", line)
}

func (s *side) item(rest string) error {
	time, id, _ := strings.Cut(rest, ",")
	var x reconcile.Item
	var err error
	if x.Time, err = strconv.ParseUint(time, 10, 64); err != nil {
		return err
	}
	if len(id) != 2*len(x.ID) {
		return fmt.Errorf("ID of %d digits", len(id))
	}
	if _, err := hex.Decode(x.ID[:], []byte(id)); err != nil {
		return err
	}
	s.items = append(s.items, x)
	return nil
}

func (s *side) answer(msg []byte) error {
	if s.initiator == nil {
		answer, err := reconcile.Respond(s.index, msg, s.options)
		if err != nil {
			return err
		}
		return s.message(answer)
	}
	reply, have, need, err := s.initiator.Step(msg)
	if err != nil {
		return err
	}
	for _, id := range have {
		fmt.Fprintf(s.out, "have,%x\n", id)
	}
	for _, id := range need {
		fmt.Fprintf(s.out, "need,%x\n", id)
	}
	if reply == nil {
		fmt.Fprintln(s.out, "done")
		return nil
	}
	return s.message(reply)
}

func (s *side) message(msg []byte) error {
	if n := s.options.FrameBytes; n > 0 && len(msg) > n {
		return fmt.Errorf("a message of %d bytes in frames of %d", len(msg), n)
	}
	fmt.Fprintf(s.out, "msg,%x\n", msg)
	return nil
}
