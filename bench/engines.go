package main

import (
	"encoding/hex"
	"fmt"
	"sync"

	newnostr "fiatjaf.com/nostr"
	newneg "fiatjaf.com/nostr/nip77/negentropy"
	newvector "fiatjaf.com/nostr/nip77/negentropy/storage/vector"
	oldnostr "github.com/nbd-wtf/go-nostr"
	oldneg "github.com/nbd-wtf/go-nostr/nip77/negentropy"
	oldvector "github.com/nbd-wtf/go-nostr/nip77/negentropy/storage/vector"

	"anabranch/reconcile"
)

// engine is one implementation. Messages have the form that it speaks
// itself: bytes, or hex digits as a string.
type engine struct {
	name      string
	backend   string // engines of one backend share its sets
	build     func(items []reconcile.Item) any
	initiator func(set any, frame int) initiator
	responder func(set any, frame int) responder
}

type initiator interface {
	start() message
	// step returns an empty message at the end.
	step(message) (message, error)
	found() (have, need []reconcile.ID)
}

type responder interface {
	respond(message) (message, error)
}

// message is one or the other.
type message struct {
	raw []byte
	hex string
}

func (m message) empty() bool { return len(m.raw)+len(m.hex) == 0 }
func (m message) bytes() int  { return len(m.raw) + len(m.hex)/2 }

func (m message) asRaw() message {
	if m.hex == "" {
		return m
	}
	b, err := hex.DecodeString(m.hex)
	if err != nil {
		panic(err)
	}
	return message{raw: b}
}

func (m message) asHex() message {
	if m.raw == nil {
		return m
	}
	return message{hex: hex.EncodeToString(m.raw)}
}

// converse runs a whole conversation.
func converse(in initiator, out responder) (r result, err error) {
	msg := in.start()
	for !msg.empty() {
		r.rounds++
		r.wire += msg.bytes()
		answer, err := out.respond(msg)
		if err != nil {
			return r, fmt.Errorf("responder, round %d: %w", r.rounds, err)
		}
		r.wire += answer.bytes()
		if msg, err = in.step(answer); err != nil {
			return r, fmt.Errorf("initiator, round %d: %w", r.rounds, err)
		}
		if r.rounds > 100_000 {
			return r, fmt.Errorf("no end after %d rounds", r.rounds)
		}
	}
	r.have, r.need = in.found()
	return r, nil
}

// ours returns our engine over sealed or live sets. Its two sides are kept
// and reset for every conversation, as a server would do.
func ours(name string, live bool, split reconcile.Split) engine {
	backend := "sealed"
	if live {
		backend = "live"
	}
	in, out := map[int]*reconcile.Initiator{}, map[int]*reconcile.Responder{}
	seed := uint64(0)
	return engine{
		name:    name,
		backend: backend,
		build: func(items []reconcile.Item) any {
			if live {
				t := new(reconcile.Tree)
				for i := range items {
					must(t.Insert(items[i]))
				}
				return t
			}
			return must(reconcile.NewVector(items))
		},
		initiator: func(set any, frame int) initiator {
			ix := set.(reconcile.Index)
			if in[frame] == nil {
				in[frame] = must(reconcile.NewInitiator(ix, reconcile.Options{FrameBytes: frame, Split: split}))
			}
			seed++
			in[frame].Reset(ix, seed)
			return &ourInitiator{in: in[frame]}
		},
		responder: func(set any, frame int) responder {
			ix := set.(reconcile.Index)
			if out[frame] == nil {
				out[frame] = must(reconcile.NewResponder(ix, reconcile.Options{FrameBytes: frame, Split: split}))
			}
			out[frame].Reset(ix, seed)
			return ourResponder{out[frame]}
		},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type ourInitiator struct {
	in         *reconcile.Initiator
	have, need []reconcile.ID
}

func (i *ourInitiator) start() message { return message{raw: must(i.in.Start())} }

func (i *ourInitiator) step(m message) (message, error) {
	reply, have, need, err := i.in.Step(m.asRaw().raw)
	i.have, i.need = append(i.have, have...), append(i.need, need...)
	return message{raw: reply}, err
}

func (i *ourInitiator) found() (have, need []reconcile.ID) { return i.have, i.need }

type ourResponder struct{ out *reconcile.Responder }

func (r ourResponder) respond(m message) (message, error) {
	answer, err := r.out.Respond(m.asRaw().raw)
	return message{raw: answer}, err
}

// peers are the other implementations. An engine for one more, in a file of
// its own, has itself appended here by init.
var peers = []engine{nostrlib, goNostr}

// nostrlib is fiatjaf.com/nostr.
var nostrlib = engine{
	name:    "fiatjaf.com/nostr",
	backend: "nostrlib",
	build: func(items []reconcile.Item) any {
		v := newvector.New()
		for i := range items {
			v.Insert(newnostr.Timestamp(items[i].Time), newnostr.ID(items[i].ID))
		}
		v.Seal()
		return v
	},
	initiator: func(set any, frame int) initiator {
		i := &newInitiator{neg: newneg.New(set.(*newvector.Vector), frame, true, true)}
		i.wait.Go(func() {
			for id := range i.neg.Haves {
				i.have = append(i.have, reconcile.ID(id))
			}
		})
		i.wait.Go(func() {
			for id := range i.neg.HaveNots {
				i.need = append(i.need, reconcile.ID(id))
			}
		})
		return i
	},
	responder: func(set any, frame int) responder {
		return newResponder{newneg.New(set.(*newvector.Vector), frame, false, false)}
	},
}

type newInitiator struct {
	neg        *newneg.Negentropy
	wait       sync.WaitGroup
	have, need []reconcile.ID
}

func (i *newInitiator) start() message { return message{hex: i.neg.Start()} }

func (i *newInitiator) step(m message) (message, error) {
	reply, err := i.neg.Reconcile(m.asHex().hex)
	return message{hex: reply}, err
}

func (i *newInitiator) found() (have, need []reconcile.ID) {
	i.wait.Wait()
	return i.have, i.need
}

type newResponder struct{ neg *newneg.Negentropy }

func (r newResponder) respond(m message) (message, error) {
	answer, err := r.neg.Reconcile(m.asHex().hex)
	return message{hex: answer}, err
}

// goNostr is github.com/nbd-wtf/go-nostr, which the former replaced.
var goNostr = engine{
	name:    "nbd-wtf/go-nostr",
	backend: "go-nostr",
	build: func(items []reconcile.Item) any {
		v := oldvector.New()
		for i := range items {
			v.Insert(oldnostr.Timestamp(items[i].Time), hex.EncodeToString(items[i].ID[:]))
		}
		v.Seal()
		return v
	},
	initiator: func(set any, frame int) initiator {
		i := &oldInitiator{neg: oldneg.New(set.(*oldvector.Vector), frame)}
		i.wait.Go(func() { i.have = drain(i.neg.Haves) })
		i.wait.Go(func() { i.need = drain(i.neg.HaveNots) })
		return i
	},
	responder: func(set any, frame int) responder {
		return oldResponder{oldneg.New(set.(*oldvector.Vector), frame)}
	},
}

func drain(ids chan string) (out []reconcile.ID) {
	for s := range ids {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != 32 {
			panic(fmt.Sprintf("no ID: %q", s))
		}
		out = append(out, reconcile.ID(b))
	}
	return out
}

type oldInitiator struct {
	neg        *oldneg.Negentropy
	wait       sync.WaitGroup
	have, need []reconcile.ID
}

func (i *oldInitiator) start() message { return message{hex: i.neg.Start()} }

func (i *oldInitiator) step(m message) (message, error) {
	reply, err := i.neg.Reconcile(m.asHex().hex)
	return message{hex: reply}, err
}

func (i *oldInitiator) found() (have, need []reconcile.ID) {
	i.wait.Wait()
	return i.have, i.need
}

type oldResponder struct{ neg *oldneg.Negentropy }

func (r oldResponder) respond(m message) (message, error) {
	answer, err := r.neg.Reconcile(m.asHex().hex)
	return message{hex: answer}, err
}
