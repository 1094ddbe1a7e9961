package record

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// VerifyBatch is Verify for many records of one space at once. The results
// have the length of batch, and at each position exactly one of them is not
// nil; errors are those of Verify. The verified records keep the bytes of
// batch, which must not change afterwards.
//
// It decides as Verify does on every input, crafted keys included: both check
// the cofactored equation of ZIP-215, here for the weighted sum of all
// signatures. The weights of 128 bits come from a hash over the whole batch,
// so the outcome is a function of the input, and a sum over wrong signatures
// passes with probability 2^-128.
//
// The cost per signature falls with the size of the batch and rises with the
// number of authors in it, whose terms are merged: see docs/record.md.
// Batches of 256 to 4096 are good. Wrong signatures are found by halving,
// which is given up for checks one by one when many are wrong: one wrong
// signature makes a large batch half as dear again, and the worst batch costs
// two and a half times what Verify would.
func VerifyBatch(space SpaceID, batch [][]byte) ([]*Verified, []error) {
	verified := make([]*Verified, len(batch))
	errs := make([]error, len(batch))
	e := newEquation(len(batch))
	terms := make([]int, 0, len(batch)) // position in batch of each term
	var message []byte
	for i, b := range batch {
		r, err := Decode(b)
		if err != nil {
			errs[i] = err
			continue
		}
		message = r.appendMessage(message[:0], space)
		if !e.add(r.Author, message, &r.Signature) {
			errs[i] = signatureError(r.Author)
			continue
		}
		terms = append(terms, i)
		verified[i], message = seal(r, message, b)
	}
	wrong := e.wrong(func(term int) bool {
		r := &verified[terms[term]].Record
		message = r.appendMessage(message[:0], space)
		return VerifyMessage(r.Author, message, r.Signature)
	})
	for _, term := range wrong {
		i := terms[term]
		errs[i] = signatureError(verified[i].Author)
		verified[i] = nil
	}
	return verified, errs
}

const (
	// leafTerms is the size from which on signatures are checked one by one:
	// a sum this small saves nothing worth having.
	leafTerms = 2
	// searchFactor bounds the search for wrong signatures: the sums it
	// evaluates have at most this many times the terms of the batch. One
	// wrong signature needs 2.
	searchFactor = 3

	weightDomain = "anabranch batch weights 1"
)

// equation is the sum of many signature equations, each multiplied by a
// weight z of its own:
//
//	sum z·R + sum over authors (sum z·k)·A - (sum z·s)·B  =  a point of small order
//
// where k = SHA-512(R, A, message) mod L.
type equation struct {
	terms   []term
	authors []curve.EdwardsPoint
	known   map[Key]int // position in authors, or -1: not a point

	transcript hash.Hash // over everything the weights depend on
	challenge  hash.Hash

	// Scratch of sum, grown once.
	sums    []scalar.Scalar // by author
	inUse   []bool          // by author: it has a term in the range at hand
	used    []int           // those authors, in order of appearance
	scalars []*scalar.Scalar
	points  []*curve.EdwardsPoint
}

type term struct {
	r      curve.EdwardsPoint
	author int
	s, k   scalar.Scalar // multiplied by z once the weights are drawn
	z      scalar.Scalar
}

func newEquation(terms int) *equation {
	e := &equation{
		terms:      make([]term, 0, terms),
		known:      make(map[Key]int),
		transcript: sha256.New(),
		challenge:  sha512.New(),
	}
	e.transcript.Write([]byte(weightDomain))
	return e
}

// add adds the term of one signature. It reports false, and adds nothing,
// when key or signature have no meaning at all: a point that is none, or
// S >= L. No message has such a signature.
func (e *equation) add(key Key, message []byte, signature *[signatureSize]byte) bool {
	if !scalar.ScMinimalVartime(signature[32:]) {
		return false
	}
	author, ok := e.author(key)
	if !ok {
		return false
	}
	t := term{author: author}
	if !decompress(&t.r, signature[:32]) {
		return false
	}
	if _, err := t.s.SetBytesModOrder(signature[32:]); err != nil {
		return false
	}
	var k [sha512.Size]byte
	e.challenge.Reset()
	e.challenge.Write(signature[:32])
	e.challenge.Write(key[:])
	e.challenge.Write(message)
	e.challenge.Sum(k[:0])
	if _, err := t.k.SetBytesModOrderWide(k[:]); err != nil {
		return false
	}
	// k stands for R, A and the message; it is not reduced here.
	e.transcript.Write(k[:])
	e.transcript.Write(signature[32:])
	e.terms = append(e.terms, t)
	return true
}

// author is the position of a key's point, decompressed at its first use.
func (e *equation) author(key Key) (int, bool) {
	if i, ok := e.known[key]; ok {
		return i, i >= 0
	}
	var p curve.EdwardsPoint
	if !decompress(&p, key[:]) {
		e.known[key] = -1
		return 0, false
	}
	e.known[key] = len(e.authors)
	e.authors = append(e.authors, p)
	return len(e.authors) - 1, true
}

// decompress reads a point as ZIP-215 does: y is reduced mod p, and x = 0 may
// carry either sign.
func decompress(p *curve.EdwardsPoint, b []byte) bool {
	_, err := p.SetCompressedY((*curve.CompressedEdwardsY)(b))
	return err == nil
}

// wrong lists the terms whose signatures do not hold, ascending. single
// decides one of them by the one predicate.
func (e *equation) wrong(single func(term int) bool) []int {
	if len(e.terms) <= leafTerms {
		return oneByOne(nil, 0, len(e.terms), single)
	}
	e.weigh()
	budget := searchFactor * len(e.terms)
	var out []int
	// search finds the wrong terms of [begin, end), whose sum is known.
	var search func(begin, end int, sum *curve.EdwardsPoint)
	search = func(begin, end int, sum *curve.EdwardsPoint) {
		n := end - begin
		switch {
		case sum.IsSmallOrder():
		case n <= leafTerms, budget < n/2:
			out = oneByOne(out, begin, end, single)
		default:
			budget -= n / 2
			middle := begin + n/2
			left := e.sum(begin, middle)
			right := curve.NewEdwardsPoint().Sub(sum, left)
			search(begin, middle, left)
			search(middle, end, right)
		}
	}
	budget -= len(e.terms)
	search(0, len(e.terms), e.sum(0, len(e.terms)))
	return out
}

func oneByOne(out []int, begin, end int, single func(term int) bool) []int {
	for i := begin; i < end; i++ {
		if !single(i) {
			out = append(out, i)
		}
	}
	return out
}

// weigh draws the weights from the transcript and multiplies the terms.
func (e *equation) weigh() {
	var seed [sha256.Size + 8]byte
	e.transcript.Sum(seed[:0])
	for i := range e.terms {
		t := &e.terms[i]
		binary.BigEndian.PutUint64(seed[sha256.Size:], uint64(i))
		z := sha256.Sum256(seed[:])
		clear(z[16:])
		if _, err := t.z.SetBytesModOrder(z[:]); err != nil {
			panic("record: weight: " + err.Error()) // 32 bytes always fit
		}
		t.s.Mul(&t.s, &t.z)
		t.k.Mul(&t.k, &t.z)
	}
	n := len(e.terms) + len(e.authors) + 1
	e.sums = make([]scalar.Scalar, len(e.authors))
	e.inUse = make([]bool, len(e.authors))
	e.used = make([]int, 0, len(e.authors))
	e.scalars = make([]*scalar.Scalar, 0, n)
	e.points = make([]*curve.EdwardsPoint, 0, n)
}

// sum evaluates the terms [begin, end). They hold if it is of small order.
func (e *equation) sum(begin, end int) *curve.EdwardsPoint {
	e.scalars, e.points, e.used = e.scalars[:0], e.points[:0], e.used[:0]
	var base scalar.Scalar
	for i := begin; i < end; i++ {
		t := &e.terms[i]
		base.Add(&base, &t.s)
		if !e.inUse[t.author] {
			e.inUse[t.author] = true
			e.used = append(e.used, t.author)
		}
		sum := &e.sums[t.author]
		sum.Add(sum, &t.k)
		e.scalars = append(e.scalars, &t.z)
		e.points = append(e.points, &t.r)
	}
	for _, a := range e.used {
		e.scalars = append(e.scalars, &e.sums[a])
		e.points = append(e.points, &e.authors[a])
	}
	e.scalars = append(e.scalars, base.Neg(&base))
	e.points = append(e.points, curve.ED25519_BASEPOINT_POINT)
	out := curve.NewEdwardsPoint().MultiscalarMulVartime(e.scalars, e.points)
	for _, a := range e.used {
		e.sums[a].Zero()
		e.inUse[a] = false
	}
	return out
}
