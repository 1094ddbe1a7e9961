package fetch

import (
	"time"

	"anabranch/blob"
)

// A question to the crowd travels from member to member: each that cannot
// answer passes it on to those it is connected to, save the one it came from.
// The answer goes back the way the question came, and so does the content,
// checked at every hop: nobody need be reachable by who asked.

// Limits of questions.
const (
	MaxHops      = 8                // members that a question passes
	maxQuestions = 1024             // remembered
	questionLife = 30 * time.Second // and so long
	routeLife    = 10 * time.Minute
	maxRoutes    = 1024
	askRate      = 8 // questions a second from one peer that are looked at
	askBurst     = 32
)

// QuestionID is random: whoever meets a question again knows it.
type QuestionID [16]byte

// Question asks who has a content.
type Question struct {
	ID   QuestionID
	Hops uint8 // that it may still go
	Name blob.Name
}

// Router remembers where questions came from and where content is to be had.
// One goroutine owns it.
type Router struct {
	asked  map[QuestionID]asked
	oldest []QuestionID
	routes map[blob.Name]route
	order  []blob.Name
	budget map[Peer]*allowance
}

type asked struct {
	from Peer
	own  bool
	name blob.Name
	at   time.Time
}

type route struct {
	next Peer
	at   time.Time
}

type allowance struct {
	left float64
	at   time.Time
}

// NewRouter remembers nothing.
func NewRouter() *Router {
	return &Router{asked: map[QuestionID]asked{}, routes: map[blob.Name]route{}, budget: map[Peer]*allowance{}}
}

// Own notes a question that this replica asks itself.
func (r *Router) Own(now time.Time, id QuestionID, name blob.Name) Question {
	r.remember(id, asked{own: true, name: name, at: now})
	return Question{id, MaxHops, name}
}

// Verdict says what to do with a question.
type Verdict uint8

const (
	Ignore  Verdict = iota // known already, too many, or at its end
	Answer                 // it is here
	Forward                // pass Question on to Peers, all but where it came from
)

// Heard takes a peer's question. here says that this replica could give the
// content out. Hops counts down even if a peer says otherwise.
func (r *Router) Heard(now time.Time, from Peer, q Question, here bool) (Verdict, Question) {
	if !r.allow(now, from) {
		return Ignore, q
	}
	if _, known := r.asked[q.ID]; known {
		return Ignore, q
	}
	r.remember(q.ID, asked{from: from, name: q.Name, at: now})
	if here {
		return Answer, q
	}
	q.Hops = min(q.Hops, MaxHops)
	if q.Hops <= 1 {
		return Ignore, q
	}
	q.Hops--
	return Forward, q
}

// Answered takes a peer's answer: the content is to be had from it. It
// returns where the answer goes on to; own says that this replica asked.
func (r *Router) Answered(now time.Time, from Peer, id QuestionID) (name blob.Name, to Peer, own, ok bool) {
	a, known := r.asked[id]
	if !known || now.Sub(a.at) > questionLife || from == a.from && !a.own {
		return blob.Name{}, Peer{}, false, false
	}
	if _, known := r.routes[a.name]; !known {
		r.order = append(r.order, a.name)
	}
	r.routes[a.name] = route{from, now}
	for len(r.order) > maxRoutes {
		delete(r.routes, r.order[0])
		r.order = r.order[1:]
	}
	return a.name, a.from, a.own, true
}

// Route is the peer through which a content is to be had; false if none is
// known. A peer is never sent back to itself.
func (r *Router) Route(now time.Time, name blob.Name, not Peer) (Peer, bool) {
	x, ok := r.routes[name]
	return x.next, ok && now.Sub(x.at) < routeLife && x.next != not
}

// Lost forgets a way that does not lead there.
func (r *Router) Lost(name blob.Name, next Peer) {
	if r.routes[name].next == next {
		delete(r.routes, name)
	}
}

func (r *Router) remember(id QuestionID, a asked) {
	r.asked[id] = a
	r.oldest = append(r.oldest, id)
	for len(r.oldest) > maxQuestions || a.at.Sub(r.asked[r.oldest[0]].at) > questionLife {
		delete(r.asked, r.oldest[0])
		r.oldest = r.oldest[1:]
	}
}

// allow takes one question off a peer's allowance.
func (r *Router) allow(now time.Time, p Peer) bool {
	b := r.budget[p]
	if b == nil {
		if len(r.budget) > maxQuestions {
			clear(r.budget)
		}
		b = &allowance{askBurst, now}
		r.budget[p] = b
	}
	b.left = min(askBurst, b.left+now.Sub(b.at).Seconds()*askRate)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
