package change_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/change"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

func web(id string, change func(*registry.Instance)) *registry.Instance {
	i := apitest.Instance(id, "shop", "web", "node-1", "10.0.2.10", 40001)
	change(i)
	return i
}

func as(*registry.Instance) {}

func snapshot(t *testing.T, r *apitest.Rack) *index.Snapshot {
	t.Helper()
	s, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What happens to a rack, and what is said of it.
func TestBetween(t *testing.T) {
	t.Parallel()
	node := &registry.Node{Node: "node-1", Engine: "A"}
	first := web("3485248b1d18", as)
	for name, tt := range map[string]struct {
		before []any
		do     func(*apitest.Rack)
		want   string
	}{
		"starts": {nil, func(r *apitest.Rack) { r.Put(first) },
			"service web.shop added: is new; web.shop 3485248b1d18 on node-1 added: is running"},
		"another": {[]any{first}, func(r *apitest.Rack) { r.Put(web("8db3b9378db0", as)) },
			"web.shop 8db3b9378db0 on node-1 added: is running"},
		"is killed": {[]any{first}, func(r *apitest.Rack) { r.Put(web("3485248b1d18", func(i *registry.Instance) { i.Draining = true })) },
			"web.shop 3485248b1d18 on node-1 leaves: is draining: it was told to stop, or its process has ended"},
		"gets healthy": {[]any{web("3485248b1d18", func(i *registry.Instance) { i.Health = "starting" })}, func(r *apitest.Rack) {
			r.Put(web("3485248b1d18", func(i *registry.Instance) { i.Health = "healthy" }))
		}, "web.shop 3485248b1d18 on node-1 serves: is running"},
		"gets another weight": {[]any{first}, func(r *apitest.Rack) { r.Put(web("3485248b1d18", func(i *registry.Instance) { i.Weight = 7 })) },
			"web.shop 3485248b1d18 on node-1 changed: has changed: weight 7, before 1"},
		"goes": {[]any{node, first}, func(r *apitest.Rack) { r.Delete(first) },
			"web.shop 3485248b1d18 on node-1 removed: is gone: its container is; service web.shop removed: has neither an instance nor a declaration any more"},
		"its node goes": {[]any{node, first}, func(r *apitest.Rack) { r.Delete(node, first) },
			"node node-1 removed: has no agent any more, or it has let its lease run out; web.shop 3485248b1d18 on node-1 removed: is gone: its node's agent is, or has let its lease run out; service web.shop removed: has neither an instance nor a declaration any more"},
		"its node is drained": {[]any{node, first}, func(r *apitest.Rack) { r.Put(&registry.Drained{Node: "node-1", Why: "new kernel"}) },
			"node node-1 changed: is drained: new kernel; web.shop 3485248b1d18 on node-1 leaves: is on a node that is drained: new kernel (rackdns node drain node-1 --undo)"},
		"a resource": {nil, func(r *apitest.Rack) {
			r.Put(&registry.Resource{Name: "cache", Type: "redis", Host: "10.0.0.9", Port: 6379})
		},
			"resource cache of the rack added: is a redis"},
		"nothing": {[]any{first}, func(r *apitest.Rack) { r.Put(web("3485248b1d18", as)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := apitest.NewRack(t, "acme", tt.before...)
			old := snapshot(t, r)
			tt.do(r)
			var got []string
			for _, e := range change.Between(old, snapshot(t, r), time.Now()) {
				if e.Index != r.IndexNow() {
					t.Errorf("%+v: want index %d", e, r.IndexNow())
				}
				got = append(got, e.Subject()+" "+e.Change+": "+e.Why)
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

func TestObserved(t *testing.T) {
	t.Parallel()
	r := apitest.NewRack(t, "acme")
	old, at := snapshot(t, r), time.Now()
	r.Put(web("3485248b1d18", func(i *registry.Instance) { i.Observed = at }))
	events := change.Between(old, snapshot(t, r), at.Add(12*time.Millisecond))
	if last := events[len(events)-1]; last.Seconds != 0.012 || !last.Observed.Equal(at) {
		t.Errorf("%+v, want 12 ms after %s", last, at)
	}
}

// A reader that comes again gets what it hasn't had, each once, or is told that
// nobody knows.
func TestLog(t *testing.T) {
	t.Parallel()
	r := apitest.NewRack(t, "acme")
	var l change.Log
	at, end := l.Open(snapshot(t, r))
	defer end()
	begin := at
	r.Put(web("000000000001", as), web("000000000002", as))
	r.Put(web("000000000003", as))
	read := func(from change.Position) (ids []string, next change.Position) {
		t.Helper()
		entries, _, ok := l.After(snapshot(t, r), from)
		if !ok {
			t.Fatalf("%s is not known", from)
		}
		next = from
		for _, e := range entries {
			if e.What == change.Instance {
				ids = append(ids, e.Instance[11:])
			}
			next = e.At
		}
		return ids, next
	}
	ids, at := read(at)
	if got := strings.Join(ids, " "); got != "1 2 3" {
		t.Errorf("%s, want all", got)
	}
	entries, _, _ := l.After(snapshot(t, r), begin)
	for n, e := range entries {
		p, err := change.ParsePosition(e.At.String())
		if err != nil || p != e.At {
			t.Fatalf("%s: %v, %v", e.At, p, err)
		}
		if rest, _, ok := l.After(snapshot(t, r), p); !ok || len(rest) != len(entries)-n-1 {
			t.Errorf("after %s there are %d of %d", p, len(rest), len(entries))
		}
	}
	if ids, _ := read(at); len(ids) > 0 {
		t.Errorf("%v comes twice", ids)
	}
	for _, p := range []change.Position{{Index: 0}, change.End(r.IndexNow() + 1)} {
		if _, _, ok := l.After(snapshot(t, r), p); ok {
			t.Errorf("%s is said to be known", p)
		}
	}
	for _, s := range []string{"", "x", "-1", "1.-1", "1.x", "1.2.3", "99999999999999999999"} {
		if p, err := change.ParsePosition(s); err == nil {
			t.Errorf("%q is %v", s, p)
		}
	}
}

// However much changes, a log stays bounded, and says what it has forgotten.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	r := apitest.NewRack(t, "acme", web("3485248b1d18", as))
	var l change.Log
	at, end := l.Open(snapshot(t, r))
	defer end()
	for n := range 9000 {
		r.Put(web("3485248b1d18", func(i *registry.Instance) { i.Weight = 1 + n%2 }))
		l.After(snapshot(t, r), at)
	}
	if _, _, ok := l.After(snapshot(t, r), at); ok {
		t.Error("the first of nine thousand is still known")
	}
	if entries, _, ok := l.After(snapshot(t, r), change.End(r.IndexNow()-100)); !ok || len(entries) != 100 {
		t.Errorf("of the last hundred there are %d", len(entries))
	}
}
