package sketch

import (
	"errors"
	"slices"
)

// Estimator tells how large the difference of two sets is, from 128 bytes of
// each, within a fifth in nine cases of ten (and exactly about nothing). An
// item adds +1 or -1 to one bucket, modulo 256.
type Estimator [Buckets]byte

func (e *Estimator) apply(seed uint64, count Cell) {
	h := mix(seed + golden>>1)
	if h>>63 != 0 {
		count = -count
	}
	if count == one {
		e[h%Buckets]++
	} else {
		e[h%Buckets]--
	}
}

// trimmed buckets are left out of a large estimate: those that differ most.
// Somebody who fills a bucket on purpose gains nothing by it.
const (
	trimmed = Buckets / 16
	// trimScale is what the squares of 128 normal variables, less their eight
	// largest, have to be multiplied with to give the sum that is expected.
	trimScale = 1.48
	// plain is the largest sum that is taken as it is: too small for trimming
	// to be worth its error, and for an attacker to be worth the trouble.
	plain = 256
)

// Difference estimates the number of items that are in one set only.
func (e *Estimator) Difference(o *Estimator) int {
	var squares [Buckets]int
	sum := 0
	for i := range e {
		d := int(int8(e[i] - o[i]))
		squares[i] = d * d
		sum += d * d
	}
	if sum <= plain {
		return sum
	}
	slices.Sort(squares[:])
	sum = 0
	for _, q := range squares[:Buckets-trimmed] {
		sum += q
	}
	return max(plain, int(float64(sum)*trimScale))
}

// ErrEstimator says that bytes are no estimator.
var ErrEstimator = errors.New("sketch: an estimator has 128 bytes")

// ParseEstimator reads an estimator's bytes, all of which are one.
func ParseEstimator(b []byte) (e Estimator, err error) {
	if len(b) != Buckets {
		return e, ErrEstimator
	}
	return Estimator(b), nil
}
