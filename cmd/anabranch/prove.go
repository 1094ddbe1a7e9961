package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/attest"
	"anabranch/record"
	"anabranch/space"
)

// proofJSON is what prove has written.
type proofJSON struct {
	Schema string `json:"schema"` // anabranch.proof/1
	Space  string `json:"space"`
	Kind   string `json:"kind"` // member, absent, whole or against
	Root   string `json:"root"` // that is attested
	Bytes  int    `json:"bytes"`
	File   string `json:"file,omitempty"`  // as it was named
	Proof  []byte `json:"proof,omitempty"` // when no file was named
}

// provenJSON is what check has found.
type provenJSON struct {
	Schema  string       `json:"schema"` // anabranch.proven/1
	Space   string       `json:"space"`
	Kind    string       `json:"kind"`   // member, absent, whole or against
	Device  string       `json:"device"` // that attests; empty: a root key
	Author  string       `json:"author"`
	At      string       `json:"at"`
	Root    string       `json:"root"`
	Count   uint64       `json:"count"`
	ID      string       `json:"id,omitempty"` // of the record that is a member, or absent
	Record  *recordJSON  `json:"record,omitempty"`
	Records []recordJSON `json:"records"`          // of a whole answer
	Reason  string       `json:"reason,omitempty"` // of what is shown against the device
	Detail  string       `json:"detail,omitempty"` // and what exactly
	Words   []string     `json:"words"`
}

func newProve(a *app) *cobra.Command {
	var out, whole, against string
	cmd := &cobra.Command{
		Use:   "prove ID | PATH | --whole PREFIX | --against DEVICE",
		Short: "Write a small file that shows what is held here to anybody",
		Long: `Writes a file that anybody can check offline, with no replica, knowing only
the ID of the space: that this device held a record (or, for a whole ID that is
not in the set, that it did not), signed by this device now.

  --whole PREFIX    everything at and below a path, and that nothing else lies there
  --against DEVICE  the evidence held here that a device signed what cannot be true

"anabranch check FILE --space ID" checks it.`,
		Args: func(_ *cobra.Command, args []string) error {
			given := len(args)
			for _, flag := range []string{whole, against} {
				if flag != "" {
					given++
				}
			}
			if given != 1 || len(args) > 1 {
				return usage("one of ID, PATH, --whole PREFIX and --against DEVICE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" && a.terminal && !a.json {
				return usage("name a file with --out, or write into a pipe")
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				proof, err := a.proof(cmd.Context(), s, args, whole, against)
				if err != nil {
					return err
				}
				return a.proved(s, proof, out)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this `file`, which must not exist")
	cmd.Flags().StringVar(&whole, "whole", "", "show everything at and below this `path`")
	cmd.Flags().StringVar(&against, "against", "", "show what this `device` signed falsely")
	return a.inSpace(cmd)
}

func (a *app) proof(ctx context.Context, s *anabranch.Space, args []string, whole, against string) ([]byte, error) {
	switch {
	case whole != "":
		path, err := checkedPath(whole)
		if err != nil {
			return nil, err
		}
		q, err := anabranch.PathQuery(path)
		if err != nil {
			return nil, err
		}
		return s.ProveWhole(ctx, q)
	case against != "":
		members, err := s.Members(ctx)
		if err != nil {
			return nil, err
		}
		device, err := findDevice(members, against)
		if err != nil {
			return nil, err
		}
		return s.ProveAgainst(device)
	case strings.HasPrefix(args[0], "/"):
		if _, err := checkedPath(args[0]); err != nil {
			return nil, err
		}
	default:
		if err := checkID(args[0]); err != nil {
			return nil, err
		}
	}
	return s.Prove(ctx, args[0])
}

// proved writes a proof where it was asked for.
func (a *app) proved(s *anabranch.Space, proof []byte, name string) error {
	found, err := attest.Check(proof, s.ID())
	if err != nil {
		return err // never write what would not pass
	}
	if name != "" {
		if err := writeNew(a.path(name), proof); err != nil {
			return err
		}
	}
	if a.json {
		view := proofJSON{
			Schema: "anabranch.proof/1", Space: s.ID().String(), Kind: found.Kind.String(),
			Root: anabranch.Root(found.Attestation.Root()).String(), Bytes: len(proof), File: name,
		}
		if name == "" {
			view.Proof = proof
		}
		return a.emit(view)
	}
	if name == "" {
		_, err := a.output().Write(proof)
		return err
	}
	a.say("%s written to %s; \"anabranch check %s --space %s\" checks it anywhere", bytesText(int64(len(proof))), name, name, s.ID())
	return nil
}

// writeNew writes a file that must not exist yet.
func writeNew(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}

func newCheck(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "check FILE --space ID",
		Short: "Check a proof, offline and without a replica",
		Long: `Checks a file that prove has written, and says in words what was shown, by
whom and when. It needs the ID of the space and nothing else: no home, no
network. A file named - is standard input. Exits 4 if the file shows nothing.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := record.ParseSpaceID(name)
			if err != nil {
				return usage("--space is the whole ID of the space, 64 hexadecimal characters, as \"anabranch space list\" shows it")
			}
			b, err := a.proofFile(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			found, err := attest.Check(b, id)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return a.proven(found)
		},
	}
	cmd.Flags().StringVar(&name, "space", "", "the `ID` of the space, all of it")
	return cmd
}

// proofFile reads a proof, as much as one may have.
func (a *app) proofFile(ctx context.Context, name string) ([]byte, error) {
	if name == "-" {
		return a.read(ctx, attest.MaxFile)
	}
	f, err := os.Open(a.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, attest.MaxFile+1))
}

func (a *app) proven(found *attest.Finding) error {
	if !a.json {
		for _, line := range found.Words() {
			if err := a.print("%s", line); err != nil {
				return err
			}
		}
		if found.Body != nil && found.Kind == attest.Whole {
			for _, r := range byPath(found.Body.Selected()) {
				if err := a.listed(r, true); err != nil {
					return err
				}
			}
		}
		return nil
	}
	at := found.Attestation
	out := provenJSON{
		Schema: "anabranch.proven/1", Space: found.Space.String(), Kind: found.Kind.String(),
		Author: at.Author.String(), At: stamp(at.When()), Root: anabranch.Root(at.Root()).String(), Count: at.Count,
		Detail: plainText(found.Detail), Words: []string{}, Records: []recordJSON{},
	}
	for _, line := range found.Words() {
		out.Words = append(out.Words, plainText(line))
	}
	if found.Device != (record.Key{}) {
		out.Device = found.Device.String()
	}
	switch found.Kind {
	case attest.Absent:
		out.ID = found.ID.String()
	case attest.Against:
		out.Reason = found.Reason.String()
	case attest.Whole:
		for _, r := range byPath(found.Body.Selected()) {
			out.Records = append(out.Records, viewRecord(r))
		}
	}
	if found.Record != nil {
		view := viewRecord(found.Record)
		out.Record, out.ID = &view, found.Record.ID.String()
	}
	return a.emit(out)
}

// byPath puts records in the order in which list has them.
func byPath(rs []*anabranch.Record) []*anabranch.Record {
	slices.SortFunc(rs, func(x, y *anabranch.Record) int {
		return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Time, y.Time), x.ID.Compare(y.ID))
	})
	return rs
}

// askDevice asks one device for what lies at or below a path, and says on
// standard error what the answer rests on.
func (a *app) askDevice(ctx context.Context, device string, q space.Query, show func(*anabranch.Space, anabranch.Answer) error) error {
	return a.with(ctx, false, anabranch.Options{Manual: true}, func(r *anabranch.Replica) error {
		s, err := r.Space(a.space)
		if err != nil {
			return err
		}
		members, err := s.Members(ctx)
		if err != nil {
			return err
		}
		key, err := findDevice(members, device)
		if err != nil {
			return err
		}
		answer, err := s.Ask(ctx, key, q)
		if err != nil {
			return err
		}
		if err := show(s, answer); err != nil {
			return err
		}
		root, _, err := s.Root(ctx)
		if err != nil {
			return err
		}
		same := "which is not what is held here"
		if anabranch.Root(answer.Root()) == root {
			same = "as is held here"
		}
		a.say("checked: device %s signed that at %s it held %s under root %s, %s",
			short(key), clock(answer.When()), records(answer.Count), short(anabranch.Root(answer.Root())), same)
		if n := len(answer.Lacks); n > 0 {
			a.say("note: %s held here, which that device has not", records(uint64(n)))
		}
		return nil
	})
}
