package rack

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// later is when an instance started.
func later(minutes int) func(*registry.Instance) {
	return func(i *registry.Instance) { i.Started = i.Started.Add(time.Duration(minutes) * time.Minute) }
}

// TestNameHeldByAnotherApp has an app that came too late for its own name: a
// transfer holds what strangers are told, and its own containers are told of
// their own.
func TestNameHeldByAnotherApp(t *testing.T) {
	t.Parallel()
	own := instance("b00000000001", "store", "web", at("10.1.0.2", 40000), later(1), on("net", "172.18.0.9", ""))
	r := newTestRack(
		t, own,
		instance("a00000000001", "first", "web", at("10.1.0.1", 40000), namespace("store")),
		instance("b00000000002", "store", "api", at("10.1.0.3", 40000), later(2)),
	)
	is := func(from, name, want string) {
		t.Helper()
		_, m := ask(t, r, from, question(name+"."+testZone, dns.TypeA))
		got := ""
		for _, rr := range m.Answer {
			got += rr.(*dns.A).A.String() //nolint:errcheck // A panic will do.
		}
		if got != want {
			t.Errorf("%s asked from %s: %s, want %s", name, from, got, want)
		}
	}
	is(outside, "web.store", "10.1.0.1")
	is(outside, "web.first", "10.1.0.1")
	is(outside, "api.store", "10.1.0.3")
	is(outside, "b00000000001.web.store", "")
	is("172.18.0.9", "web.store", "172.18.0.9")
	is("172.18.0.9", "web.first", "10.1.0.1")

	type set struct {
		name   string
		rrtype uint16
	}
	sets := map[set][]dns.RR{}
	for _, rr := range transferred(t, r, testZone, 0)[1:] {
		k := set{rr.Header().Name, rr.Header().Rrtype}
		sets[k] = append(sets[k], rr)
	}
	for k, want := range sets {
		_, m := ask(t, r, outside, question(k.name, k.rrtype))
		if diff := cmp.Diff(texts(m.Answer), texts(want)); diff != "" {
			t.Errorf("%s %s (-asked +transferred):\n%s", k.name, dns.TypeToString[k.rrtype], diff)
		}
	}
	for _, name := range []string{"web.store.", "api.store.", "web.first."} {
		if sets[set{name + testZone, dns.TypeA}] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}
