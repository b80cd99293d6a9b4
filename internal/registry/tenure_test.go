package registry

import (
	"testing"
	"time"
)

func TestTenures(t *testing.T) {
	t.Parallel()
	epoch := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return epoch.Add(time.Duration(minute) * time.Minute) }
	now := at(0)
	ts := tenures{clock: func() time.Time { return now }}
	enter := func(minute int, id, app, ns string, started, want int) {
		t.Helper()
		now = at(minute)
		if got := ts.enter(&Instance{ID: id, App: app, Namespace: ns, Started: at(started)}, time.Time{}); !got.Equal(at(want)) {
			t.Errorf("%s of %s: since minute %s, want %d", id, app, got.Sub(epoch), want)
		}
	}
	leave := func(minute int, id, heir string) {
		t.Helper()
		now = at(minute)
		if got := ts.leave(id); got != heir {
			t.Errorf("%s leaves: %q is to be written anew, want %q", id, got, heir)
		}
	}
	enter(1, "a1", "zeta", "shop", 1, 1)
	enter(1, "b1", "other", "shop", 1, 1)
	// A rolling deployment; what was said once is said again.
	enter(9, "a2", "zeta", "shop", 9, 1)
	enter(10, "a1", "zeta", "shop", 1, 1)
	leave(11, "a1", "")
	leave(11, "unknown", "")
	enter(12, "a2", "zeta", "shop", 9, 1)
	// The old one is stopped first.
	leave(20, "a2", "")
	enter(79, "a3", "zeta", "shop", 79, 1)
	// It is another claim.
	enter(79, "c1", "zeta", "zeta", 79, 79)
	// It was away for too long.
	leave(80, "a3", "")
	enter(141, "a4", "zeta", "shop", 141, 141)
	// An older one is met later: the younger one need not be written again while
	// that is there.
	enter(142, "a5", "zeta", "shop", 130, 130)
	enter(142, "a4", "zeta", "shop", 141, 141)
	leave(143, "a5", "a4")
	enter(143, "a4", "zeta", "shop", 141, 130)
	// One that started again.
	enter(150, "a4", "zeta", "shop", 150, 130)

	leave(160, "a4", "")
	leave(160, "b1", "")
	leave(160, "c1", "")
	enter(300, "d1", "new", "new", 300, 300)
	if len(ts.of) != 1 || len(ts.keys) != 1 {
		t.Errorf("%d apps and %d instances are remembered, want one of each", len(ts.of), len(ts.keys))
	}
}
