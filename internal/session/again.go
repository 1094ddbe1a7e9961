package session

import (
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/sketch"
)

// What comes after a plan that has not made the roots equal.

// goOn continues with ranges where a planned exchange has not made the roots
// equal: over what both hold now.
func (s *Session) goOn() {
	if s.mine.agrees(s.theirs) {
		s.fail(&UnexpectedError{Frame: TotalFrame, Where: "data, with equal roots"}, true)
		return
	}
	old := s.x
	chance := old.hunt.plan.kind
	again := !s.again && (chance == planList || chance == planThin || chance == planUpThin || chance == planLog)
	s.diff = difference{}
	s.x = exchange{owed: map[record.ID]struct{}{}, taken: old.taken, arrived: old.arrived, removed: old.removed}
	rest, err := reconcile.NewVector(old.arrived.items())
	if err == nil {
		s.x.set = joined{whole{s.view}, reconcile.NewDisjoint(s.view.Index(), rest)}
		if again { // what was left out by chance is little: one look more
			err = s.huntAgain(old)
		} else {
			s.report.Why = join(s.report.Why, "roots still differed: ranges")
			s.report.Method = Ranges
			s.ranged = true
			if s.initiator {
				err = s.beginRanges()
			}
		}
	}
	if err != nil {
		s.fail(err, false)
	}
}

// huntAgain plans once more, with sketches of what both hold by now.
func (s *Session) huntAgain(old exchange) error {
	s.again = true
	s.report.Why = join(s.report.Why, "roots still differed")
	s.sk = s.sk.Clone(s.sk.Len())
	for _, id := range old.arrived.ids() {
		s.sk.Add(sketch.Of(id))
	}
	for _, id := range old.removed {
		s.sk.Remove(sketch.Of(id))
	}
	s.x.hunt = &hunt{}
	if s.initiator {
		a, err := askAbout(s.view, s.sk)
		if err != nil {
			return err
		}
		a.windows = nil
		s.tell(a)
	}
	return nil
}

// joined is a view with what has come since.
type joined struct {
	whole
	all reconcile.Index
}

func (j joined) index() reconcile.Index { return j.all }

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
