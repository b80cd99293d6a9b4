package index

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

// claimant is an instance, or with declared a declaration, of service web of an
// app with a namespace.
type claimant struct {
	id, app, ns string
	// started and since are minutes; since 0 is absent.
	started, since int
	service        string
	declared       bool
}

func (c claimant) entry(t *testing.T, l registry.Layout, revision int64, gone bool) registry.Entry {
	t.Helper()
	minute := func(n int) time.Time { return time.Date(2026, 11, 20, 9, n, 0, 0, time.UTC) }
	service := c.service
	if service == "" {
		service = "web"
	}
	e := registry.Entry{ModRevision: revision}
	var v any
	if c.declared {
		e.Key = l.Service(c.app, service)
		v = registry.Service{App: c.app, Service: service, Namespace: c.ns}
	} else {
		e.Key = l.Instance("n1", c.id)
		i := registry.Instance{
			ID: c.id, Node: "n1", App: c.app, Service: service, Namespace: c.ns, Status: "running", Weight: 1,
			Started: minute(c.started), Host: netip.MustParseAddr("10.0.0.1"),
			Ports: []registry.Port{{Protocol: "tcp", Container: 80, Bindings: []registry.Binding{{IP: netip.MustParseAddr("10.0.0.1"), Port: 40000}}}},
		}
		if c.since != 0 {
			i.NamespaceSince = minute(c.since)
		}
		v = i
	}
	if gone {
		return e
	}
	value, err := registry.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	e.Value = value
	return e
}

// rackOf is an index that is fed by hand.
type rackOf struct {
	*Index
	t        *testing.T
	revision int64
	log      *bytes.Buffer
}

func newRackOf(t *testing.T, listed ...claimant) *rackOf {
	t.Helper()
	r := &rackOf{t: t, revision: 1, log: &bytes.Buffer{}}
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.NewTextHandler(r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.Index = x
	x.Feed().BeginList(1, false)
	for _, c := range listed {
		x.Feed().List([]registry.Entry{c.entry(t, x.client.Layout(), 1, false)})
	}
	x.Feed().EndList()
	return r
}

func (r *rackOf) put(c claimant, gone bool) {
	r.t.Helper()
	r.revision++
	r.Feed().Update([]registry.Entry{c.entry(r.t, r.client.Layout(), r.revision, gone)})
}

// who is the app whose service web a name leads to, and what the clash says.
func (r *rackOf) who(name string) string {
	m := r.Snapshot().Lookup("web."+name, Stranger())
	app := "nobody"
	if m.Service != nil {
		app = m.Service.App()
	}
	for _, c := range r.Snapshot().Clashes() {
		if c.Namespace == name {
			return app + " before " + strings.Join(c.Apps, ", ")
		}
	}
	return app
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

func TestWhoHoldsANamespace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		all  []claimant
		want string
	}{
		{"nobody else wants it", []claimant{{id: "1", app: "zeta", ns: "shop", started: 1}}, "zeta"},
		{"the first holds it, whatever its name", []claimant{
			{id: "1", app: "zeta", ns: "shop", started: 1}, {id: "2", app: "aaa", ns: "shop", started: 2},
		}, "zeta before aaa"},
		{"at one time, by name", []claimant{
			{id: "1", app: "zeta", ns: "shop", started: 1}, {id: "2", app: "aaa", ns: "shop", started: 1},
		}, "aaa before zeta"},
		{"what was handed on counts", []claimant{
			{id: "1", app: "zeta", ns: "shop", started: 9, since: 1}, {id: "2", app: "aaa", ns: "shop", started: 2},
		}, "zeta before aaa"},
		{"the oldest of an app's counts", []claimant{
			{id: "1", app: "zeta", ns: "shop", started: 9}, {id: "3", app: "zeta", ns: "shop", started: 1}, {id: "2", app: "aaa", ns: "shop", started: 2},
		}, "zeta before aaa"},
		{"nobody gets older than its start by a younger date", []claimant{
			{id: "1", app: "zeta", ns: "shop", started: 1, since: 9}, {id: "2", app: "aaa", ns: "shop", started: 2},
		}, "zeta before aaa"},
		{"a service of another namespace claims nothing", []claimant{
			{id: "1", app: "zeta", ns: "other", started: 1}, {id: "3", app: "zeta", ns: "shop", started: 9, service: "api"}, {id: "2", app: "aaa", ns: "shop", started: 2},
		}, "aaa before zeta"},
		{"the app of that name has it", []claimant{
			{id: "1", app: "shop", ns: "shop", started: 1}, {id: "2", app: "aaa", ns: "shop", started: 2},
		}, "shop before aaa"},
		{"the app of that name, at one time", []claimant{
			{id: "1", app: "shop", ns: "shop", started: 1}, {id: "2", app: "aaa", ns: "shop", started: 1},
		}, "shop before aaa"},
		{"the app of that name in a rolling deployment", []claimant{
			{id: "1", app: "shop", ns: "shop", started: 9, since: 1}, {id: "2", app: "aaa", ns: "shop", started: 2},
		}, "shop before aaa"},
		{"a newcomer of that name takes it from nobody", []claimant{
			{id: "1", app: "zeta", ns: "shop", started: 1}, {id: "2", app: "shop", ns: "shop", started: 2},
		}, "zeta before shop"},
		{"an operator's app of that name has it", []claimant{
			{id: "1", app: "zeta", ns: "shop", started: 1}, {app: "shop", ns: "shop", declared: true},
		}, "shop before zeta"},
		{"what an operator declared comes before labels", []claimant{
			{id: "1", app: "aaa", ns: "shop", started: 1}, {app: "zeta", ns: "shop", declared: true}, {id: "2", app: "zeta", ns: "shop", started: 2},
		}, "zeta before aaa"},
		{"two are declared, and one was first", []claimant{
			{app: "zeta", ns: "shop", declared: true}, {id: "1", app: "zeta", ns: "shop", started: 1}, {app: "aaa", ns: "shop", declared: true},
		}, "zeta before aaa"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, order := range permutations(len(tt.all)) {
				live := newRackOf(t)
				var listed []claimant
				for _, n := range order {
					live.put(tt.all[n], false)
					listed = append(listed, tt.all[n])
				}
				if got := live.who("shop"); got != tt.want {
					t.Errorf("%v, one by one: %s, want %s", order, got, tt.want)
				}
				if got := newRackOf(t, listed...).who("shop"); got != tt.want {
					t.Errorf("%v, at once: %s, want %s", order, got, tt.want)
				}
			}
		})
	}
}

func TestNamespaceChangesHands(t *testing.T) {
	t.Parallel()
	zeta := claimant{id: "1", app: "zeta", ns: "shop", started: 1}
	aaa := claimant{id: "2", app: "aaa", ns: "shop", started: 2}
	next := claimant{id: "3", app: "zeta", ns: "shop", started: 9, since: 1}
	r := newRackOf(t, zeta, aaa)
	step := func(what string, c claimant, gone bool, want string, serial bool) {
		t.Helper()
		before, log := r.Snapshot().Serial(), strings.Count(r.log.String(), "\n")
		r.put(c, gone)
		if got := r.who("shop"); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		if got := r.Snapshot().Serial() > before; got != serial {
			t.Errorf("%s: serial changes %t, want %t", what, got, serial)
		}
		changed := 0
		if strings.HasPrefix(what, "!") {
			changed = 1
		}
		if got := strings.Count(r.log.String(), "\n") - log; got != changed {
			t.Errorf("%s: %d lines in the log, want %d:\n%s", what, got, changed, r.log)
		}
	}
	if got := strings.Count(r.log.String(), "holder=zeta others=[aaa]"); got != 1 {
		t.Errorf("the clash is logged %d times:\n%s", got, r.log)
	}
	// A rolling deployment.
	step("the next one starts", next, false, "zeta before aaa", true)
	step("the first one ends", zeta, true, "zeta before aaa", true)
	step("! the last one ends", next, true, "aaa", true)
	// It was stopped first, and started again within the hour.
	step("! it is back", next, false, "zeta before aaa", true)
	next.since = 0
	step("! it tells of no time any more", next, false, "aaa before zeta", true)
	step("! the holder leaves", aaa, true, "zeta", true)
	step("the last leaves", next, true, "nobody", true)
}

// An app whose own name another one holds is still there: to its own containers,
// and with what the holder doesn't have.
func TestDisplacedApp(t *testing.T) {
	t.Parallel()
	r := newRackOf(
		t,
		claimant{id: "a1", app: "shop-prod", ns: "shop", started: 1},
		claimant{id: "b1", app: "shop", ns: "shop", started: 2},
		claimant{id: "b2", app: "shop", ns: "shop", started: 3, service: "api"},
	)
	s := r.Snapshot()
	own := &Client{instance: s.ServiceOf("shop", "web").Instances()[0]}
	for _, tt := range []struct {
		name  string
		asker Asker
		want  string
	}{
		{"web.shop", Stranger(), "shop-prod"},
		{"a1.web.shop", Stranger(), "shop-prod"},
		{"b1.web.shop", Stranger(), ""},
		{"_80._tcp.web.shop", Stranger(), "shop-prod"},
		{"_90._tcp.web.shop", Stranger(), ""},
		{"api.shop", Stranger(), "shop"},
		{"b2.api.shop", Stranger(), "shop"},
		{"nosuch.shop", Stranger(), ""},
		{"web.shop-prod", Stranger(), "shop-prod"},
		{"web.shop", own, "shop"},
		{"b1.web.shop", own, "shop"},
		{"web.shop-prod", own, "shop-prod"},
	} {
		got := ""
		if m := s.Lookup(tt.name, tt.asker); m.Service != nil {
			got = m.Service.App()
		}
		if got != tt.want {
			t.Errorf("%s: of app %q, want %q", tt.name, got, tt.want)
		}
		if err := agrees(s, tt.name, tt.asker); err != nil {
			t.Error(err)
		}
	}
	if s.Lookup("shop", Stranger()).Kind != Empty {
		t.Error("the name itself is gone")
	}
	var apps []string
	for a := range s.Apps() {
		apps = append(apps, a.Name)
	}
	if diff := cmp.Diff([]string{"shop", "shop-prod"}, apps); diff != "" {
		t.Errorf("apps (-want +got):\n%s", diff)
	}
	if got := s.Holder("shop").Name; got != "shop-prod" {
		t.Errorf("shop is held by %s", got)
	}
}
