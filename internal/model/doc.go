// Package model is the membership law of a space as an executable
// specification: plain sets and loops over small worlds, slow and obvious,
// written rule by rule from docs/membership.md. Everything that judges
// records quickly is checked against it, and the law itself is searched for
// worlds that break it.
//
// A [Universe] holds every record of one world; a [Set] is any part of it;
// [Universe.Judge] is V, [Universe.Destroyable] what P may drop. A [World]
// adds replicas that write, exchange and prune at random.
package model
