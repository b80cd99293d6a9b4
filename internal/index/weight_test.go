package index

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

// fed is what an index makes of these values.
func fed(t *testing.T, values ...any) *Snapshot {
	t.Helper()
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "n1"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	f, l := x.Feed(), x.client.Layout()
	f.BeginList(1, false)
	for _, v := range values {
		e := registry.Entry{ModRevision: 1}
		switch v := v.(type) {
		case registry.Instance:
			e.Key = l.Instance(v.Node, v.ID)
		case registry.Resource:
			e.Key = l.Resource(v.App, v.Name)
		default:
			t.Fatalf("%T", v)
		}
		if e.Value, err = registry.Encode(v); err != nil {
			t.Fatal(err)
		}
		f.List([]registry.Entry{e})
	}
	f.EndList()
	if n := x.Snapshot().Invalid(); n > 0 {
		t.Fatalf("%d values can't be used", n)
	}
	return x.Snapshot()
}

// TestInTurn: an instance of weight 0 is told where nothing else of what is asked
// for serves, and Explain says the same.
func TestInTurn(t *testing.T) {
	const name = "web.shop"
	weigh := func(id string, weight int, change ...func(*registry.Instance)) registry.Instance {
		i := *web(id)
		i.Weight = weight
		for _, c := range change {
			c(&i)
		}
		return i
	}
	port := func(container uint16, name string) func(*registry.Instance) {
		return func(i *registry.Instance) {
			i.Ports = []registry.Port{{Name: name, Protocol: registry.TCP, Container: container, Bindings: i.Ports[0].Bindings}}
		}
	}
	draining := func(i *registry.Instance) { i.Draining = true }
	for _, tc := range []struct {
		what      string
		name      string
		instances []registry.Instance
		want      string
	}{
		{"beside another", name, []registry.Instance{weigh("a", 0), weigh("b", 1)}, "b"},
		{"beside one that doesn't serve", name, []registry.Instance{weigh("a", 0), weigh("b", 1, draining)}, "a"},
		{"alone", name, []registry.Instance{weigh("a", 0)}, "a"},
		{"all", name, []registry.Instance{weigh("a", 0), weigh("b", 0)}, "a b"},
		{"none", name, []registry.Instance{weigh("a", 2), weigh("b", 3)}, "a b"},
		{"by its own name", "a.web.shop", []registry.Instance{weigh("a", 0), weigh("b", 1)}, "a"},
		{"a port that both have", "_http._tcp.web.shop", []registry.Instance{weigh("a", 0, port(80, "http")), weigh("b", 1, port(81, "http"))}, "b"},
		{"a port that it alone has", "_admin._tcp.web.shop", []registry.Instance{weigh("a", 0, port(80, "admin")), weigh("b", 1, port(81, "http"))}, "a"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			var values []any
			for _, i := range tc.instances {
				values = append(values, i)
			}
			s := fed(t, values...)
			m := s.Lookup(tc.name, Stranger())
			var ids, told []string
			for n := range m.Endpoints {
				e := &m.Endpoints[n]
				if m.Kind != Ports || m.WantsAny(e) {
					ids = append(ids, e.ID())
				}
				if w := e.Weight(); w < 1 {
					t.Errorf("%s is told with weight %d", e.ID(), w)
				}
			}
			if got := fmt.Sprint(ids); got != "["+tc.want+"]" {
				t.Errorf("told %s, want %s", got, tc.want)
			}
			x, err := s.Explain(tc.name, Stranger())
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range x.Verdicts {
				if v.Told {
					told = append(told, v.Instance.ID())
				}
			}
			if diff := cmp.Diff(ids, told); diff != "" {
				t.Errorf("explained (-told +explained):\n%s", diff)
			}
			if tc.what == "beside another" && !slices.ContainsFunc(x.Verdicts, func(v Verdict) bool { return v.Why == "has weight 0, and others serve" }) {
				t.Errorf("no reason for what is left out: %+v", x.Verdicts)
			}
		})
	}
}

// TestAnswersOfService: the least limit of those that are told counts.
func TestAnswersOfService(t *testing.T) {
	limit := func(id string, answers, weight int) registry.Instance {
		i := *web(id)
		i.Answers, i.Weight = answers, weight
		return i
	}
	for _, tc := range []struct {
		instances []any
		want      int
	}{
		{[]any{limit("a", 0, 1)}, 0},
		{[]any{limit("a", 0, 1), limit("b", 3, 1)}, 3},
		{[]any{limit("a", 2, 1), limit("b", 3, 1)}, 2},
		{[]any{limit("a", 2, 0), limit("b", 3, 1)}, 3},
	} {
		if got := fed(t, tc.instances...).Lookup("web.shop", Stranger()).Answers; got != tc.want {
			t.Errorf("%+v: %d, want %d", tc.instances, got, tc.want)
		}
	}
}

// TestLookupFolds: names are found as they were typed where they were given.
func TestLookupFolds(t *testing.T) {
	i := *web("a")
	i.App, i.Namespace, i.Service = "my-shop", "our-shop", "order-db"
	s := fed(t, i, registry.Resource{App: "my-shop", Name: "big-cache", Type: "redis", Host: "10.0.0.1"})
	for _, name := range []string{
		"order_db.my_shop", "order-db.our_shop", "a.order_db.my_shop", "big_cache.resource.my_shop", "redis-big_cache.my_shop", "my_shop",
	} {
		if s.Lookup(name, Stranger()).Kind == None {
			t.Errorf("%s isn't found", name)
		}
		if _, err := s.Explain(name, Stranger()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.App("my_shop") == nil || s.ServiceOf("my_shop", "order_db") == nil || s.Holder("our_shop") == nil {
		t.Error("an app or a service isn't found")
	}
	if s.Lookup("_order_db.my_shop", Stranger()).Kind != None {
		t.Error("an underscore that begins a label is taken for nothing")
	}
}
