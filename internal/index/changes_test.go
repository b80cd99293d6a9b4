package index

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// changesAt has the index take the nth change, of one instance of a service.
func changesAt(t *testing.T, x *Index, service, n int) {
	t.Helper()
	x.Feed().Update([]registry.Entry{benchEntry(t, service, 0, int64(100+n), uint16(40000+n%10000))})
}

// openBench returns an index that is fed by the test.
func openBench(t *testing.T) *Index {
	t.Helper()
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// Whoever waits for a service is woken by a change of it, and by no other.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := openBench(t)
		changesAt(t, x, 1, 1)
		at := x.Snapshot().Index()
		woken := make(chan string, 3)
		await := func(what string, names ...string) {
			go func() {
				s, err := x.Await(t.Context(), at, names...)
				if err != nil || s.Index() <= at {
					t.Errorf("%s: %v", what, err)
				}
				woken <- what
			}()
		}
		await("it", "service-2.app-0")
		await("another", "service-3.app-0")
		await("any")
		synctest.Wait()
		changesAt(t, x, 2, 2)
		got := []string{<-woken, <-woken}
		if slices.Sort(got); !slices.Equal(got, []string{"any", "it"}) {
			t.Errorf("a change of service 2 woke %q", got)
		}
		synctest.Wait()
		if len(woken) > 0 {
			t.Errorf("it woke who waits for %s", <-woken)
		}
		changesAt(t, x, 3, 3)
		if got := <-woken; got != "another" {
			t.Errorf("a change of service 3 woke %s", got)
		}
		if len(x.waiters.byName) != 0 {
			t.Errorf("%d names are still waited for", len(x.waiters.byName))
		}
	})
}

// Await returns at once what has changed already, and what is there when its
// time is over.
func TestAwaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := openBench(t)
		over := errors.New("over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, over)
		defer cancel()
		if s, err := x.Await(ctx, 0); s != nil || !errors.Is(err, over) {
			t.Errorf("before the first picture: %v, %v", s, err)
		}
		changesAt(t, x, 1, 1)
		first := x.Snapshot()
		changesAt(t, x, 2, 2)
		for _, names := range [][]string{nil, {"service-2.app-0"}} {
			if s, err := x.Await(t.Context(), first.Index(), names...); err != nil || s != x.Snapshot() {
				t.Errorf("what has changed already: %v", err)
			}
		}
		if s, err := x.Await(ctx, first.Index(), "service-1.app-0"); s != x.Snapshot() || !errors.Is(err, over) {
			t.Errorf("what hasn't: %v", err)
		}
	})
}

// What changed is known for as long as is promised, and what isn't is said.
func TestChanged(t *testing.T) {
	x := openBench(t)
	changesAt(t, x, 1, 0)
	first := x.Snapshot()
	for n := range 3 * keptChanges {
		changesAt(t, x, n%1000, n+1)
	}
	s := x.Snapshot()
	if _, ok := s.Changed(first.Index()); ok {
		t.Error("it says that it knows what changed 12,288 changes ago")
	}
	if names, ok := s.Changed(s.Index()); len(names) > 0 || !ok {
		t.Errorf("since now: %q, %v", names, ok)
	}
	names, ok := s.Changed(s.Index() - 3)
	var want []string
	for n := 3*keptChanges - 3; n < 3*keptChanges; n++ {
		want = append(want, fmt.Sprintf("service-%d.app-%d", n%1000%10, n%1000/10))
	}
	if slices.Sort(want); !ok || !slices.Equal(names, want) {
		t.Errorf("the last three: %q, want %q", names, want)
	}
	if _, ok := s.Changed(s.Index() - keptChanges); !ok {
		t.Errorf("%d changes ago is too long ago", keptChanges)
	}
}

// On which changes a name depends.
func TestSources(t *testing.T) {
	s := &Snapshot{}
	s.apps.set(1, namedApp{"orders", &App{Name: "orders"}})
	s.apps.set(1, namedApp{"shop", &App{Name: "orders"}})
	for name, want := range map[string][]string{
		"web.orders":             {"web.orders", "*.orders"},
		"web.shop":               {"web.shop", "web.orders", "*.shop"},
		"_http._tcp.web.shop":    {"web.shop", "web.orders", "*.shop"},
		"db.resource.shop":       {"db.resource.shop", "db.resource.orders", "*.shop"},
		"cache.resource":         {"cache.resource"},
		"3485248b1d18.web.other": {"web.other", "*.other"},
	} {
		if got := s.Sources(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
