// Package gossip spreads fresh records, as rumors, among the replicas of one
// space. It is a pure state machine: no goroutine, lock, clock or randomness
// of its own, and no disk. The same code runs in a program, behind sockets,
// and ten thousand at a time in one loop that replays a seed exactly.
//
//	m, err := gossip.New(gossip.Options{Self: key, Rand: seeded})
//	for in := range inputs {
//		for _, out := range m.Step(sinceStart(), in) {
//			perform(out) // Send, Deliver, Connect, Close, Charge, Missed
//		}
//		wakeAt(m.Next()) // and give Tick then
//	}
//
// A rumor is opaque here: an ID that names one content for good, and the
// content, up to MaxPayload bytes, or an announcement of its size. Nothing
// is believed and nothing is forwarded before the caller has answered a
// Deliver with a Verdict. What is wrong for everyone is dropped, and whoever
// sent it is charged; what cannot be judged yet is held, within bounds.
//
// Mode Tree is the one to use. Each replica keeps a few neighbours, in views
// as HyParView's (Leitão, Pereira, Rodrigues, DSN 2007), and sends a rumor at
// once on the links of a tree that Plumtree (the same authors, SRDS 2007)
// prunes out of them, and only its ID on the others, from which the tree
// repairs itself. Up to eight known peers are all neighbours. Push, Pull and
// PushPull are the rumor mongering of Demers et al. (PODC 1987) with feedback
// and counter: one partner a round, IDs first.
//
// No mode promises that everyone is reached: a rumor may be lost at any
// bound. Anti-entropy between members drawn from the signed list, which is
// the engine's, is the guarantee, and what heals a split; gossip makes it
// fast. The wire, byte by byte, and what all this costs are in
// docs/gossip.md.
package gossip
