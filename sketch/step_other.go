//go:build !amd64

package sketch

func (r *row) stepSparse() { stepSparse(r.at[:r.n], r.state[:]) }

func (r *row) stepDense() { stepDense(r.at[:r.n], r.state[:]) }
