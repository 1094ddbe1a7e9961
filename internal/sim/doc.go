// Package sim runs whole worlds of replicas in virtual time: real engines,
// gossip, sessions and stores, over links, disks and clocks that are
// simulated, with every fault that we could think of. It starts no goroutine
// of its own, reads no clock, and draws everything from one seed, so a world
// that failed can be had again, exactly, as often as it takes:
//
//	out := sim.Run(sim.Generate(seed, 5), nil)
//	if out.Broken != nil { … }
//
// A Plan is a world before it happens. Generate draws one from a seed; Reduce
// takes away from one that fails whatever does not matter. Checkers C1 to C14
// watch everything (see check.go), and a world names the rare paths that it
// reached, so that a suite can tell what it never tried.
//
// Spread is the other kind of world: up to a hundred thousand replicas that
// hold nothing but IDs, for what gossip costs. Simulate is what people use of
// both: the command anabranch sim.
package sim
