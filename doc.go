// Package anabranch keeps a shared body of records in step on every device
// that holds it, with no server in charge.
//
// A Replica is one open store with a network key. It holds any number of
// spaces, each a set of signed records replicated among the devices that its
// members admit. Replicas take writes offline, drift apart, and rejoin by
// sending only what each is missing; afterwards they compare roots, so that
// "in sync" is something proven and never assumed.
//
//	r, err := anabranch.Open(ctx, dir, anabranch.Options{})
//	s, recovery, err := r.CreateSpace(ctx, "field-notes")
//	_, err = s.Put(ctx, "/greeting", []byte("hello"))
//	ticket, err := s.Invite(ctx, anabranch.InviteOptions{})
//	// on the other device
//	s, err := r.Join(ctx, ticket, "field-notes")
//	doc, err := s.Get(ctx, "/greeting")
//
// This package owns what the pure rooms below it leave out: goroutines,
// clocks, files and logs. See ARCHITECTURE.md for the house as a whole.
package anabranch
