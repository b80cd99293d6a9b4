package index

import (
	"net/netip"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// bridged is an instance of n0's service web of an app, on a network that ends at
// its node.
func (w *ward) bridged(id string, revision int64, change func(*registry.Instance)) registry.Entry {
	w.t.Helper()
	i := web(id)
	i.Node, i.Started = "n0", time.Unix(1000, 0)
	i.Networks = []registry.Network{{ID: "net-n0", Name: "bridge", Scope: "local", IPv4: netip.MustParseAddr("172.17.0.2")}}
	if change != nil {
		change(i)
	}
	value, err := registry.Encode(i)
	if err != nil {
		w.t.Fatal(err)
	}
	return registry.Entry{Key: layout.Instance(i.Node, i.ID), Value: value, ModRevision: revision, CreateRevision: revision}
}

func (w *ward) list(revision int64, reset bool, entries ...registry.Entry) {
	w.h.BeginList(revision, reset)
	w.h.List(entries)
	w.h.EndList()
}

// Rules that only show where two have one address, one revision or one of the two
// has just changed.
func TestCollisions(t *testing.T) {
	t.Parallel()
	ip := netip.MustParseAddr("172.17.0.2")
	later := func(i *registry.Instance) { i.Started = i.Started.Add(time.Minute) }
	for name, do := range map[string]func(*ward){
		"a value of another history counts, at the same revision too": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, nil))
			w.list(8, true, w.bridged("aaaaaaaaaaaa", 5, func(i *registry.Instance) { i.Release = "RNEW" }))
			if got := w.x.Snapshot().ServiceOf("shop", "web").Instances()[0].Release(); got != "RNEW" {
				w.t.Errorf("its release is %q", got)
			}
		},
		"within one history, the same revision is no news": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, nil))
			before := w.x.Snapshot().ServiceOf("shop", "web").Instances()[0]
			w.list(11, false, w.bridged("aaaaaaaaaaaa", 5, nil))
			if after := w.x.Snapshot().ServiceOf("shop", "web").Instances()[0]; after != before {
				w.t.Error("it was decoded again")
			}
		},
		"of two with one address, the one that started last asks": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, nil), w.bridged("bbbbbbbbbbbb", 6, later))
			if got := w.x.Snapshot().Asker(ip).Instance().ID(); got != "bbbbbbbbbbbb" {
				w.t.Errorf("%s asks", got)
			}
		},
		"and whichever of them was heard of last": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, later), w.bridged("bbbbbbbbbbbb", 6, nil))
			if got := w.x.Snapshot().Asker(ip).Instance().ID(); got != "aaaaaaaaaaaa" {
				w.t.Errorf("%s asks", got)
			}
		},
		"of two that started at once, always the same asks": func(w *ward) {
			w.list(10, false, w.bridged("bbbbbbbbbbbb", 6, nil), w.bridged("aaaaaaaaaaaa", 5, nil))
			if got := w.x.Snapshot().Asker(ip).Instance().ID(); got != "aaaaaaaaaaaa" {
				w.t.Errorf("%s asks", got)
			}
		},
		"one that goes leaves the address to the other": func(w *ward) {
			b := w.bridged("bbbbbbbbbbbb", 6, later)
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, nil), b)
			b.Value, b.ModRevision = nil, 11
			w.h.Update([]registry.Entry{b})
			if got := w.x.Snapshot().Asker(ip).Instance().ID(); got != "aaaaaaaaaaaa" {
				w.t.Errorf("%s asks", got)
			}
		},
		"another node's address on a network that ends there has no PTR": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, func(i *registry.Instance) { i.Node, i.Networks[0].ID = "n1", "net-n1" }))
			if got := w.x.Snapshot().Reverse(ip); len(got) != 0 {
				w.t.Errorf("it has one, to %s", got[0].ID())
			}
		},
		"this node's has one": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, nil))
			if got := w.x.Snapshot().Reverse(ip); len(got) != 1 {
				w.t.Errorf("it has %d", len(got))
			}
		},
		"a draining instance has no PTR": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, func(i *registry.Instance) { i.Draining = true }))
			if got := w.x.Snapshot().Reverse(ip); len(got) != 0 {
				w.t.Errorf("it has one, to %s", got[0].ID())
			}
		},
		"an instance on a drained node has no PTR": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, nil))
			w.revision = 10
			w.update(w.drained(0))
			if got := w.x.Snapshot().Reverse(ip); len(got) != 0 {
				w.t.Errorf("it has one, to %s", got[0].ID())
			}
		},
		"another priority is another zone": func(w *ward) {
			w.list(10, false, w.bridged("aaaaaaaaaaaa", 5, nil))
			w.h.Update([]registry.Entry{w.bridged("aaaaaaaaaaaa", 12, func(i *registry.Instance) { i.Priority = 7 })})
			if got := w.x.Snapshot().Serial(); got != 12 {
				w.t.Errorf("serial %d, want 12", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { do(newWard(t, -1)) })
	}
}
