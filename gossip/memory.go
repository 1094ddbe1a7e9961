package gossip

import "time"

// memory remembers IDs in two generations: when the younger is full it
// becomes the older, and what was the older is forgotten. So at least size,
// and at most twice as many, of the latest IDs are known.
type memory struct {
	size       int
	young, old map[ID]struct{}
}

func (m *memory) has(id ID) bool {
	if _, ok := m.young[id]; ok {
		return true
	}
	_, ok := m.old[id]
	return ok
}

func (m *memory) add(id ID) {
	if len(m.young) >= m.size {
		m.old, m.young = m.young, nil
	}
	if m.young == nil {
		m.young = make(map[ID]struct{})
	}
	m.young[id] = struct{}{}
}

// cache keeps accepted rumors for those who graft or want them, up to a
// number of bytes and an age. The oldest go first.
type cache struct {
	most  int
	bytes int
	byID  map[ID]*cached
	queue fifo[*cached]
}

type cached struct {
	rumor Rumor
	hops  uint8 // links it crossed to come here
	at    time.Duration
}

func (c *cache) put(now time.Duration, r Rumor, hops uint8) {
	if c.byID[r.ID] != nil {
		return
	}
	if c.byID == nil {
		c.byID = make(map[ID]*cached)
	}
	e := &cached{r, hops, now}
	c.byID[r.ID] = e
	c.queue.push(e)
	c.bytes += r.bytes()
	for c.bytes > c.most {
		c.drop()
	}
}

func (c *cache) drop() {
	e := c.queue.pop()
	c.bytes -= e.rumor.bytes()
	delete(c.byID, e.rumor.ID)
}

// expire drops what came before the time.
func (c *cache) expire(before time.Duration) {
	for c.queue.len() > 0 && c.queue.first().at < before {
		c.drop()
	}
}

// fifo is a queue over a slice that is moved down once half of it is gone.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }
func (q *fifo[T]) first() T { return q.items[q.head] }
func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

func (q *fifo[T]) pop() T {
	v := q.items[q.head]
	q.head++
	if q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return v
}

// account is what one peer has in this machine's memory, up or not.
type account struct {
	open, held, heldBytes, wants int
}

// tally changes a peer's account, and forgets it at zero.
func (m *Machine) tally(p Peer, change func(*account)) {
	a := m.accounts[p]
	change(&a)
	if a == (account{}) {
		delete(m.accounts, p)
		return
	}
	if m.accounts == nil {
		m.accounts = make(map[Peer]account)
	}
	m.accounts[p] = a
}
