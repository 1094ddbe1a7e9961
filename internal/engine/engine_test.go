package engine

import (
	"testing"
	"time"
)

func TestFiveReplicasMeetAndShareWhatIsWritten(t *testing.T) {
	w := newWorld(t, 5, 1, nil)
	w.run(3 * time.Second)
	if n := w.linkCount(); n != 10 {
		t.Fatalf("%d connections of 10: %v", n, w.connectedPairs())
	}
	before := w.sessions
	id := w.nodes[2].write(200)
	w.run(100 * time.Millisecond)
	for i, n := range w.nodes {
		if n.has[id] == nil {
			t.Errorf("replica %d has no record 100 ms after it was written", i)
		}
	}
	if w.sessions != before {
		t.Errorf("%d sessions were needed", w.sessions-before)
	}
	w.run(5 * time.Second)
	// Ten pairs ask each other once whether they have the same now.
	if n := w.sessions - before; n < 10 || n > 14 {
		t.Errorf("%d sessions confirmed one record among five", n)
	}
	quiet := w.sessions
	w.run(3 * time.Second)
	if w.sessions != quiet && w.now < 12*time.Second {
		t.Errorf("%d sessions in quiet", w.sessions-quiet)
	}
}
