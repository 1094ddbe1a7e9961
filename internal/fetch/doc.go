// Package fetch decides from whom to ask what of the content that records
// name. It is pure: Step takes what happened and returns what to do, and the
// shell around it opens streams, checks bytes and writes files.
//
// Content is asked for in pieces of a few groups, from every peer that has
// it, as many at a time as keep the way to that peer busy and no more: what
// is on its way when a link breaks is sent again. The last group comes first,
// since it refutes a false size. What a reader waits for comes before
// everything else. Who sends what is false is not asked for that content
// again; who sends nothing is cut off and left alone for a while, longer each
// time. What no connected peer has is asked of the crowd: see Router.
package fetch
