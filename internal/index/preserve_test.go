package index

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// ward is an index that is fed by hand, with a clock of its own.
type ward struct {
	t        *testing.T
	x        *Index
	h        *handler
	now      time.Time
	revision int64
}

func newWard(t *testing.T, preserve time.Duration) *ward {
	t.Helper()
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "n0"}, Preserve: preserve, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := &ward{t: t, x: x, h: (*handler)(x), now: time.Unix(1e9, 0)}
	x.builder.loss.now = func() time.Time { return w.now }
	w.h.BeginList(1, false)
	w.h.EndList()
	return w
}

// node is the key of one, with an option: listed or draining.
func (w *ward) node(n int, option string) registry.Entry {
	w.t.Helper()
	value, err := registry.Encode(registry.Node{Node: nodeName(n), Listed: option == "listed", Draining: option == "draining"})
	if err != nil {
		w.t.Fatal(err)
	}
	return registry.Entry{Key: layout.Node(nodeName(n)), Value: value}
}

func nodeName(n int) string { return fmt.Sprintf("n%d", n) }

// instance is the key of one on a node, of the service web of the app of that
// number.
func (w *ward) instance(node, n int) registry.Entry {
	w.t.Helper()
	i := web(fmt.Sprintf("i%d-%d", node, n))
	i.Node, i.App, i.Namespace = nodeName(node), fmt.Sprintf("app%d", n), fmt.Sprintf("app%d", n)
	i.Host = netip.AddrFrom4([4]byte{10, 0, byte(node), byte(n)})
	i.Ports[0].Bindings[0].IP = i.Host
	value, err := registry.Encode(i)
	if err != nil {
		w.t.Fatal(err)
	}
	return registry.Entry{Key: layout.Instance(i.Node, i.ID), Value: value}
}

// update is one transaction.
func (w *ward) update(entries ...registry.Entry) {
	w.revision++
	for n := range entries {
		entries[n].ModRevision = w.revision + 1
	}
	w.h.Update(entries)
}

// rack registers nodes with as many instances each.
func (w *ward) rack(nodes, each int) {
	for n := range nodes {
		w.update(w.node(n, "listed"))
		for i := range each {
			w.update(w.instance(n, i))
		}
	}
}

// lease is the end of a node's lease.
func (w *ward) lease(node, each int) {
	gone := func(e registry.Entry) registry.Entry { e.Value = nil; return e }
	entries := []registry.Entry{}
	for i := range each {
		entries = append(entries, gone(w.instance(node, i)))
	}
	w.update(append(entries, gone(w.node(node, "")))...)
}

func (w *ward) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.h.Tick(w.now)
}

// told are the nodes whose instance of an app is told, the preserved ones in
// parentheses.
func (w *ward) told(app int) string {
	var all []string
	for _, e := range w.x.Snapshot().Lookup(fmt.Sprintf("web.app%d", app), Stranger()).Endpoints {
		name := e.Node()
		if !e.Preserved().IsZero() {
			name = "(" + name + ")"
			if e.Priority() != lastPriority {
				w.t.Errorf("%s is preserved and has priority %d", name, e.Priority())
			}
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (w *ward) want(app int, want string) {
	w.t.Helper()
	if got := w.told(app); got != want {
		w.t.Errorf("app%d: told %q, want %q", app, got, want)
	}
	if got, want := w.x.builder.digest, w.digest(); got != want {
		w.t.Errorf("the digest is not that of the registry")
	}
}

// digest is that of what the registry has.
func (w *ward) digest() (d registry.Digest) {
	for k, i := range w.x.builder.instances.each() {
		if !i.isPreserved() {
			d.Set(layout.Instance(k.Owner, k.Name), 0, i.revision)
		}
	}
	for key, r := range w.x.builder.records {
		if r.revision != 0 {
			d.Set(key, 0, r.revision)
		}
	}
	return d
}

func TestPreservation(t *testing.T) {
	t.Parallel()
	const each = 4
	for name, do := range map[string]func(*ward){
		"one node of three is believed": func(w *ward) {
			w.lease(0, each)
			w.want(0, "n1 n2")
			w.pass(time.Minute)
			w.want(0, "n1 n2")
		},
		"most of the rack, one after the other": func(w *ward) {
			w.lease(0, each)
			w.want(0, "n1 n2")
			w.pass(10 * time.Second)
			w.lease(1, each)
			w.pass(5 * time.Second)
			w.lease(2, each)
			w.want(0, "(n0) (n1) (n2)")
		},
		"too slowly for one cause": func(w *ward) {
			w.lease(0, each)
			w.pass(31 * time.Second)
			w.lease(1, each)
			w.pass(31 * time.Second)
			w.lease(2, each)
			w.want(0, "")
		},
		"nodes that are back": func(w *ward) {
			for n := range 3 {
				w.lease(n, each)
			}
			w.update(w.node(0, ""))
			w.want(0, "(n0) (n1) (n2)")
			w.update(w.instance(0, 0))
			w.want(0, "(n1) (n2) n0")
			w.want(1, "(n0) (n1) (n2)")
			w.update(w.node(0, "listed"), w.instance(0, 1))
			w.want(1, "(n1) (n2) n0")
			w.want(2, "(n1) (n2)")
		},
		"a node that never says that it has listed all": func(w *ward) {
			for n := range 3 {
				w.lease(n, each)
			}
			w.update(w.node(0, ""))
			w.update(w.instance(0, 0))
			w.pass(29 * time.Second)
			w.want(1, "(n0) (n1) (n2)")
			w.pass(2 * time.Second)
			w.want(0, "(n1) (n2) n0")
			w.want(1, "(n1) (n2)")
		},
		"a node that is drained": func(w *ward) {
			for n := range 3 {
				w.lease(n, each)
			}
			w.update(w.node(1, "draining"))
			w.want(0, "(n0) (n2)")
		},
		"for ten minutes": func(w *ward) {
			for n := range 3 {
				w.lease(n, each)
			}
			w.pass(10*time.Minute - time.Second)
			w.want(0, "(n0) (n1) (n2)")
			w.pass(time.Second)
			w.want(0, "")
		},
		"what an agent removes is gone": func(w *ward) {
			gone := w.instance(0, 0)
			gone.Value = nil
			w.update(gone)
			for n := range 3 {
				w.lease(n, each)
			}
			w.want(0, "(n1) (n2)")
			w.want(1, "(n0) (n1) (n2)")
		},
		"a drain of every node is believed": func(w *ward) {
			for n := range 3 {
				for i := range each {
					gone := w.instance(n, i)
					gone.Value = nil
					w.update(gone)
				}
				node := w.node(n, "")
				node.Value = nil
				w.update(node)
			}
			w.want(0, "")
		},
		"another history, and empty": func(w *ward) {
			w.h.BeginList(1, true)
			w.h.EndList()
			w.want(0, "(n0) (n1) (n2)")
			if m := w.x.Snapshot().Lookup("web.app0", Stranger()); m.Kind != AService {
				w.t.Errorf("kind %d", m.Kind)
			}
			w.revision = 1
			w.update(w.node(2, ""))
			w.update(w.instance(2, 0), w.node(2, "listed"))
			w.want(0, "(n0) (n1) n2")
			w.want(1, "(n0) (n1)")
		},
		"another history that has a node": func(w *ward) {
			w.h.BeginList(3, true)
			listed, draining := w.node(0, "listed"), w.node(1, "draining")
			listed.ModRevision, draining.ModRevision = 1, 1
			back := w.instance(0, 1)
			back.ModRevision = 2
			w.h.List([]registry.Entry{back, listed, draining})
			w.h.EndList()
			w.want(0, "(n2)")
			w.want(1, "(n2) n0")
		},
		"another history twice": func(w *ward) {
			w.h.BeginList(1, true)
			w.h.EndList()
			w.pass(9 * time.Minute)
			w.h.BeginList(1, true)
			w.h.EndList()
			w.want(0, "(n0) (n1) (n2)")
			w.pass(time.Minute)
			w.want(0, "")
		},
		"a list of the same history without them": func(w *ward) {
			w.h.BeginList(w.revision+1, false)
			w.h.EndList()
			w.want(0, "(n0) (n1) (n2)")
		},
		"a list of the same history, whose nodes are there": func(w *ward) {
			w.h.BeginList(w.revision+1, false)
			for n := range 3 {
				e := w.node(n, "listed")
				e.ModRevision = w.revision + 1
				w.h.List([]registry.Entry{e})
			}
			w.h.EndList()
			w.want(0, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, 0)
			w.rack(3, each)
			w.want(0, "n0 n1 n2")
			serial := w.x.Snapshot().Serial()
			do(w)
			if is := w.x.Snapshot().Serial(); is < serial {
				t.Errorf("serial %d, was %d", is, serial)
			}
		})
	}
}

// Fewer than ten are no rack: a laptop that sleeps loses its lease.
func TestPreservationOfAFew(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	w.rack(1, lossLeast-1)
	w.lease(0, lossLeast-1)
	w.want(0, "")
}

func TestPreservationIsOff(t *testing.T) {
	t.Parallel()
	w := newWard(t, -1)
	w.rack(3, 4)
	w.h.BeginList(1, true)
	w.h.EndList()
	w.want(0, "")
}

// Declarations that an operator's copy may bring back stay as long.
func TestPreservationOfDeclarations(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	service := registry.Entry{Key: layout.Service("shop", "web"), Value: []byte(`{"app": "shop", "service": "web"}`)}
	resource := registry.Entry{Key: layout.Resource("shop", "db"), Value: []byte(`{"app": "shop", "name": "db", "type": "mysql", "host": "192.0.2.9"}`)}
	w.update(service, resource)
	kinds := func(service, resource Kind) {
		t.Helper()
		s := w.x.Snapshot()
		if a, b := s.Lookup("web.shop", Stranger()).Kind, s.Lookup("db.resource.shop", Stranger()).Kind; a != service || b != resource {
			t.Errorf("kinds %d and %d, want %d and %d", a, b, service, resource)
		}
	}
	w.h.BeginList(1, true)
	w.h.EndList()
	kinds(AService, Target)
	w.revision = 5
	w.update(resource)
	w.pass(10 * time.Minute)
	kinds(None, Target)
	resource.Value = nil
	w.update(resource)
	kinds(None, None)
}
