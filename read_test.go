package anabranch

import "testing"

// Two devices that say the same apart have nothing to settle: a deletion of
// both, one text of both. What differs is shown.
func TestVersionsThatSayTheSameAreNoConflict(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	w.put(a, "/gone", "before")
	w.sync(a, b)
	for _, side := range []*Space{a, b} {
		if _, err := side.Delete(w.ctx, "/gone"); err != nil {
			t.Fatal(err)
		}
		w.put(side, "/alike", "the same")
	}
	w.put(a, "/apart", "of a")
	w.put(b, "/apart", "of b")
	w.sync(a, b)
	for _, side := range []*Space{a, b} {
		var paths []string
		for c, err := range side.Conflicts(w.ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, c.Path)
		}
		if len(paths) != 1 || paths[0] != "/apart" {
			t.Errorf("conflicts at %q", paths)
		}
		for path, want := range map[string]int{"/alike": 0, "/apart": 1} {
			if d, err := side.Get(w.ctx, path); err != nil || len(d.Conflicts) != want {
				t.Errorf("%s: %d versions beside it, %v", path, len(d.Conflicts), err)
			}
		}
	}
}
