package index

import (
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// seenService is the key of a service that was seen, with the namespaces of its
// app.
func (w *ward) seenService(app, service string, namespaces ...string) registry.Entry {
	w.t.Helper()
	s := registry.Seen{Node: "n1", Since: map[string]time.Time{}}
	for _, ns := range namespaces {
		s.Since[ns] = time.Unix(1e9, 0)
	}
	value, err := registry.Encode(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return registry.Entry{Key: layout.Seen(app, service), Value: value}
}

func (w *ward) kinds(want map[string]Kind) {
	w.t.Helper()
	for name, kind := range want {
		if got := w.x.Snapshot().Lookup(name, Stranger()); got.Kind != kind || len(got.Endpoints) > 0 {
			w.t.Errorf("%s is of kind %d with %d endpoints, want kind %d and none", name, got.Kind, len(got.Endpoints), kind)
		}
	}
}

// What was seen is there, and has nothing to tell.
func TestSeen(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*ward){
		"its names": func(w *ward) {
			w.update(w.seenService("orders", "web", "orders", "trade"))
			w.kinds(map[string]Kind{
				"orders": Empty, "trade": Empty, "web.orders": AService, "web.trade": AService,
				"api.orders": None, "other": None, "web.other": None, "web": None,
				"i0.web.orders": None, "_http._tcp.web.orders": None, "resource.orders": None,
			})
		},
		"without a value": func(w *ward) {
			e := w.seenService("orders", "web")
			e.Value = []byte{}
			w.update(e)
			w.kinds(map[string]Kind{"orders": Empty, "web.orders": AService})
		},
		"a namespace that is known later": func(w *ward) {
			w.update(w.seenService("orders", "web", "orders"))
			w.update(w.seenService("orders", "web", "orders", "trade"))
			w.kinds(map[string]Kind{"orders": Empty, "web.trade": AService})
			w.update(w.seenService("orders", "web", "orders"))
			w.kinds(map[string]Kind{"orders": Empty, "web.trade": None, "trade": None})
		},
		"one of two services": func(w *ward) {
			w.update(w.seenService("orders", "web", "trade"))
			w.update(w.seenService("orders", "api", "trade"))
			w.update(gone(w.seenService("orders", "web")))
			w.kinds(map[string]Kind{"orders": Empty, "trade": Empty, "web.orders": None, "api.trade": AService})
		},
		"until it isn't known": func(w *ward) {
			w.update(w.seenService("orders", "web", "trade"))
			w.update(gone(w.seenService("orders", "web")))
			w.kinds(map[string]Kind{"orders": None, "trade": None, "web.orders": None})
		},
		"until a list doesn't have it": func(w *ward) {
			w.update(w.seenService("orders", "web", "trade"))
			w.revision++
			w.h.BeginList(w.revision+1, false)
			w.h.EndList()
			w.kinds(map[string]Kind{"orders": None, "trade": None, "web.orders": None})
		},
		"what can't be a name": func(w *ward) {
			e := w.seenService("orders", "web")
			e.Key = layout.Seen("or_ders", "web")
			w.update(e)
			w.kinds(map[string]Kind{"or_ders": None})
			if got := w.x.Snapshot().Invalid(); got != 1 {
				t.Errorf("%d entries are skipped", got)
			}
		},
		"after its last instance": func(w *ward) {
			w.update(w.node(1, "listed"))
			w.update(w.instance(1, 0), w.seenService("app0", "web", "app0"))
			w.want(0, "n1")
			w.update(gone(w.instance(1, 0)))
			w.kinds(map[string]Kind{"app0": Empty, "web.app0": AService})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, 0)
			do(w)
		})
	}
}

// It is in no list, and claims no namespace from those that are there.
func TestSeenIsNoApp(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	w.update(w.seenService("orders", "web", "orders", "app0"))
	w.update(w.node(1, "listed"))
	w.update(w.instance(1, 0))
	s := w.x.Snapshot()
	for a := range s.Apps() {
		if a.Name == "orders" {
			t.Error("an app that was seen is listed")
		}
	}
	if s.App("orders") != nil || s.ServiceOf("orders", "web") != nil || len(s.Clashes()) != 0 {
		t.Errorf("there is an app %v, clashes %v", s.App("orders"), s.Clashes())
	}
	w.want(0, "n1")
	for name, want := range map[string]bool{"orders": true, "app0": true, "app1": false} {
		if got := s.Known(name); got != want {
			t.Errorf("%s is known: %t", name, got)
		}
	}
}
