package index

import (
	"testing"
	"time"
)

// TestSerialOfWhatIsOverByTime: no two pictures have one serial, so that a
// secondary takes each of them; those that differ by time alone are no exception.
// It is that of the others again as soon as the registry has gone further.
func TestSerialOfWhatIsOverByTime(t *testing.T) {
	const nodes, each = 2, 10
	w := newWard(t, time.Minute)
	w.rack(nodes, each)
	seen := map[int64]string{}
	is := func(what string) int64 {
		t.Helper()
		s := w.x.Snapshot().Serial()
		if old, ok := seen[s]; ok {
			t.Errorf("%s: the serial is %d, as with %s", what, s, old)
		}
		for o := range seen {
			if s < o {
				t.Errorf("%s: the serial is %d, and was %d", what, s, o)
			}
		}
		seen[s] = what
		return s
	}
	is("all")
	for n := range nodes {
		w.lease(n, each)
	}
	if got := w.told(0); got != "(n0) (n1)" {
		t.Fatalf("told %s, want them preserved", got)
	}
	is("preserved")
	w.pass(2 * time.Minute)
	if got := w.told(0); got != "" {
		t.Fatalf("told %s after their time", got)
	}
	is("given up")
	w.update(w.instance(0, 0))
	is("one is back")
	for range 5 {
		w.pass(time.Second)
		w.update(w.node(0, ""))
	}
	w.update(w.instance(0, 1))
	if s := is("another one"); s != w.x.Snapshot().Revision() {
		t.Errorf("the serial is %d, and the revision %d", s, w.x.Snapshot().Revision())
	}
}

// TestSerialOverANewRegistry: a registry that was made anew begins with small
// revisions, and a secondary that has a larger serial would take no zone any more.
func TestSerialOverANewRegistry(t *testing.T) {
	w := newWard(t, -1)
	w.rack(3, 10)
	before := w.x.Snapshot().Serial()
	w.h.BeginList(2, true)
	w.h.EndList()
	after := w.x.Snapshot().Serial()
	if after < before {
		t.Errorf("serial %d after %d", after, before)
	}
	w.revision = 3
	w.update(w.instance(0, 0))
	if s := w.x.Snapshot().Serial(); s <= after {
		t.Errorf("serial %d with an instance, %d without", s, after)
	}
}
