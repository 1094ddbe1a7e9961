package gossip

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
)

// memory remembers IDs in two generations: when the younger is full it
// becomes the older, and what was the older is forgotten. So at least size,
// and at most twice as many, of the latest IDs are known.
type memory struct {
	size       int
	salt       uint64 // so that IDs made to share a place do so at one replica
	young, old table
}

func (m *memory) has(id ID) bool { return m.young.has(id, m.salt) || m.old.has(id, m.salt) }

func (m *memory) add(id ID) {
	if m.young.n >= m.size {
		m.old, m.young = m.young, table{}
	}
	m.young.add(id, m.salt)
}

// short is the half of an ID by which it is remembered. IDs are hashes:
// nobody finds two that share one.
type short [16]byte

// table is a set of IDs: open addressing, four fifths full at most. The zero
// ID, which is no hash, is never in it.
type table struct {
	slots []short
	n     int
}

// place is where the search for an ID begins.
func (t *table) place(s *short, salt uint64) int {
	at, _ := bits.Mul64((binary.LittleEndian.Uint64(s[:8])^salt)*0x9e3779b97f4a7c15, uint64(len(t.slots)))
	return int(at)
}

func (t *table) has(id ID, salt uint64) bool {
	if t.n == 0 {
		return false
	}
	s := short(id[:16])
	for i := t.place(&s, salt); t.slots[i] != (short{}); {
		if t.slots[i] == s {
			return true
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	return false
}

func (t *table) add(id ID, salt uint64) {
	if s := short(id[:16]); s != (short{}) && !t.has(id, salt) {
		if 5*(t.n+1) > 4*len(t.slots) {
			old := t.slots
			t.slots = make([]short, max(16, len(old)*3/2))
			for _, o := range old {
				if o != (short{}) {
					t.put(o, salt)
				}
			}
		}
		t.put(s, salt)
		t.n++
	}
}

func (t *table) put(s short, salt uint64) {
	i := t.place(&s, salt)
	for t.slots[i] != (short{}) {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	t.slots[i] = s
}

// cache keeps accepted rumors for those who graft or want them, up to a
// number of bytes and an age. The oldest go first.
type cache struct {
	most  int
	age   time.Duration
	bytes int
	queue fifo[cached]
	gone  uint64        // how many have left the queue
	byID  map[ID]uint64 // how many had come before; nil while there are few
}

// few are looked through one by one.
const few = 48

type cached struct {
	rumor Rumor
	at    time.Duration
	hops  uint8 // links it crossed to come here
}

// find is what the cache has of an ID, until it changes; nil if nothing.
func (c *cache) find(id ID) *cached {
	items := c.queue.items[c.queue.head:]
	if c.byID != nil {
		if n, ok := c.byID[id]; ok {
			return &items[n-c.gone]
		}
		return nil
	}
	for i := len(items) - 1; i >= 0; i-- { // the newest are asked for most
		if items[i].rumor.ID == id {
			return &items[i]
		}
	}
	return nil
}

func (c *cache) put(now time.Duration, r Rumor, hops uint8) {
	if c.find(r.ID) != nil {
		return
	}
	c.expire(now - c.age)
	c.queue.push(cached{r, now, hops})
	n := c.queue.len()
	switch {
	case c.byID != nil:
		c.byID[r.ID] = c.gone + uint64(n-1)
	case n > few:
		c.byID = make(map[ID]uint64, 2*n)
		for i, e := range c.queue.items[c.queue.head:] {
			c.byID[e.rumor.ID] = c.gone + uint64(i)
		}
	}
	c.bytes += r.bytes()
	for c.bytes > c.most {
		c.drop()
	}
}

func (c *cache) drop() {
	e := c.queue.pop()
	c.gone++
	c.bytes -= e.rumor.bytes()
	if delete(c.byID, e.rumor.ID); c.queue.len() < few/2 {
		c.byID = nil
	}
}

// expire drops what came before the time.
func (c *cache) expire(before time.Duration) {
	for c.queue.len() > 0 && c.queue.first().at < before {
		c.drop()
	}
}

// fifo is a queue over a slice that is moved down once half of it is gone, or
// before it grows.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }
func (q *fifo[T]) first() T { return q.items[q.head] }

func (q *fifo[T]) push(v T) {
	if len(q.items) == cap(q.items) && 4*q.head > len(q.items) {
		q.compact()
	}
	q.items = append(q.items, v)
}

func (q *fifo[T]) compact() {
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}

func (q *fifo[T]) pop() T {
	v := q.items[q.head]
	q.head++
	if q.head*2 >= len(q.items) {
		q.compact()
	}
	return v
}

// account is what one peer has in this machine's memory, up or not.
type account struct {
	open, held, heldBytes, wants int
}

// accountOf is an account and whose it is. There are as many as peers of whom
// something is awaited.
type accountOf struct {
	peer Peer
	account
}

func (m *Machine) account(p Peer) account {
	for i := range m.accounts {
		if m.accounts[i].peer == p {
			return m.accounts[i].account
		}
	}
	return account{}
}

// tally changes a peer's account, and forgets it at zero.
func (m *Machine) tally(p Peer, change func(*account)) {
	i := slices.IndexFunc(m.accounts, func(a accountOf) bool { return a.peer == p })
	if i < 0 {
		i = len(m.accounts)
		m.accounts = append(m.accounts, accountOf{peer: p})
	}
	change(&m.accounts[i].account)
	if last := len(m.accounts) - 1; m.accounts[i].account == (account{}) {
		m.accounts[i] = m.accounts[last]
		m.accounts = m.accounts[:last]
	}
}
