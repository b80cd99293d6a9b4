package index

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// A service shows what serves and knows what doesn't, on the way up and on the
// way down, and so does a snapshot from before a change.
func TestServiceOfAnySize(t *testing.T) {
	t.Parallel()
	const most = 7
	for serving := range most + 1 {
		t.Run(fmt.Sprint(serving, " serve"), func(t *testing.T) {
			t.Parallel()
			x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "elsewhere"}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			h := (*handler)(x)
			h.BeginList(1, false)
			h.EndList()
			ids := []string{}
			is := func(s *Snapshot, ids []string) {
				t.Helper()
				told, known := []string{}, []string{}
				v := s.Lookup("web.shop", Stranger())
				for n := range v.Endpoints {
					told = append(told, v.Endpoints[n].ID())
				}
				if v.Kind == AService {
					for _, i := range v.Service.Instances() {
						known = append(known, i.ID())
					}
				}
				if want := ids[:min(serving, len(ids))]; !slices.Equal(told, want) {
					t.Errorf("of %q, DNS tells of %q, want %q", ids, told, want)
				}
				if !slices.Equal(known, ids) {
					t.Errorf("the instances are %q, want %q", known, ids)
				}
				for n := range most {
					id := fmt.Sprintf("i%d", n)
					kind := None
					if slices.Contains(ids, id) {
						kind = AnInstance
					}
					m := s.Lookup(id+".web.shop", Stranger())
					if m.Kind != kind || len(m.Endpoints) == 1 != slices.Contains(told, id) {
						t.Errorf("%s of %q: kind %d with %d endpoints, want kind %d", id, ids, m.Kind, len(m.Endpoints), kind)
					}
				}
			}
			revision := int64(1)
			update := func(e registry.Entry) {
				before, was := x.Snapshot(), slices.Clone(ids)
				revision++
				e.ModRevision = revision
				h.Update([]registry.Entry{e})
				is(before, was)
			}
			for n := range most {
				i := web(fmt.Sprintf("i%d", n))
				i.Draining = n >= serving
				value, err := registry.Encode(i)
				if err != nil {
					t.Fatal(err)
				}
				update(registry.Entry{Key: layout.Instance(i.Node, i.ID), Value: value})
				ids = append(ids, i.ID)
				is(x.Snapshot(), ids)
			}
			for n := most - 1; n >= 0; n-- {
				update(registry.Entry{Key: layout.Instance("n1", ids[n])})
				ids = ids[:n]
				is(x.Snapshot(), ids)
			}
		})
	}
}

// A name is found and told of whatever its length. 63 octets are a label's limit
// (RFC 1035, section 2.3.4).
func TestNamesOfAnyLength(t *testing.T) {
	t.Parallel()
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "elsewhere"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := (*handler)(x)
	h.BeginList(1, false)
	apps := []int{1, 2, 20, 44, 61, 62, 63}
	each := func(do func(id, service, app string)) {
		for length := 1; length <= 63; length++ {
			for _, app := range apps {
				do(fmt.Sprintf("i%d-%d", length, app), strings.Repeat("s", length), strings.Repeat("a", app))
			}
		}
	}
	each(func(id, service, app string) {
		i := web(id)
		i.Service, i.App = service, app
		value, err := registry.Encode(i)
		if err != nil {
			t.Fatal(err)
		}
		h.List([]registry.Entry{{Key: layout.Instance(i.Node, i.ID), Value: value, ModRevision: 1}})
	})
	h.EndList()
	s := x.Snapshot()
	each(func(id, service, app string) {
		m := s.Lookup(service+"."+app, Stranger())
		if m.Kind != AService || len(m.Endpoints) != 1 || m.Endpoints[0].ID() != id {
			t.Fatalf("a service of %d octets of an app of %d: kind %d with %d endpoints", len(service), len(app), m.Kind, len(m.Endpoints))
		}
		if m.Service.Name() != service || m.Service.App() != app {
			t.Errorf("%q of %q is told as %q of %q", service, app, m.Service.Name(), m.Service.App())
		}
	})
	if m := s.Lookup(strings.Repeat("s", 64)+".a", Stranger()); m.Kind != None {
		t.Errorf("a name that nobody has is of kind %d", m.Kind)
	}
}

// A declaration stays whatever comes and goes of the service, and the name with
// it.
func TestDeclarationOutlivesInstances(t *testing.T) {
	t.Parallel()
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "elsewhere"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := (*handler)(x)
	h.BeginList(1, false)
	h.EndList()
	i := web("i0")
	value, err := registry.Encode(i)
	if err != nil {
		t.Fatal(err)
	}
	const declares = `{"app": "shop", "service": "web"}`
	instance, declaration := layout.Instance(i.Node, i.ID), layout.Service("shop", "web")
	for n, tt := range []struct {
		key, value string
		declared   bool
		kind       Kind
		endpoints  int
	}{
		{declaration, declares, true, AService, 0},
		{instance, string(value), true, AService, 1},
		{instance, "", true, AService, 0},
		{instance, string(value), true, AService, 1},
		{declaration, "", false, AService, 1},
		{declaration, declares, true, AService, 1},
		{instance, "", true, AService, 0},
		{declaration, "", false, None, 0},
	} {
		e := registry.Entry{Key: tt.key, ModRevision: int64(n) + 2}
		if tt.value != "" {
			e.Value = []byte(tt.value)
		}
		h.Update([]registry.Entry{e})
		m := x.Snapshot().Lookup("web.shop", Stranger())
		if m.Kind != tt.kind || len(m.Endpoints) != tt.endpoints {
			t.Errorf("step %d: kind %d with %d endpoints, want %d with %d", n, m.Kind, len(m.Endpoints), tt.kind, tt.endpoints)
		}
		if declared := m.Service != nil && m.Service.Declared() != nil; declared != tt.declared {
			t.Errorf("step %d: declared %t, want %t", n, declared, tt.declared)
		}
	}
}
