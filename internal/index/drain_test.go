package index

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// drained is the key of an operator's word.
func (w *ward) drained(n int) registry.Entry {
	w.t.Helper()
	value, err := registry.Encode(registry.Drained{Node: nodeName(n), By: "ann@host", At: time.Unix(1e9, 0), Why: "new kernel"})
	if err != nil {
		w.t.Fatal(err)
	}
	return registry.Entry{Key: layout.Drained(nodeName(n)), Value: value}
}

func gone(e registry.Entry) registry.Entry { e.Value = nil; return e }

// An operator's word on a node is the registry's, whatever its agent does.
func TestDrainedNode(t *testing.T) {
	t.Parallel()
	const each = 4
	for name, do := range map[string]func(*ward){
		"whose agent does nothing": func(w *ward) {
			w.update(w.drained(1))
			w.want(0, "n0 n2")
			i := w.x.Snapshot().ServiceOf("app0", "web").Instances()[1]
			if got := i.State(); got != "drained" || i.Serving() {
				t.Errorf("its instance is %q, serving %t", got, i.Serving())
			}
			x, err := w.x.Snapshot().Explain("web.app0", Stranger())
			if err != nil {
				t.Fatal(err)
			}
			const why = "is on a node that is drained by ann@host since 2001-09-09T01:46:40Z: new kernel (rackdns node drain n1 --undo)"
			if got := x.Verdicts[1].Why; got != why {
				t.Errorf("explained by %q, want %q", got, why)
			}
		},
		"whose agent registers more": func(w *ward) {
			w.update(w.drained(1))
			w.update(w.instance(1, 0))
			w.update(w.instance(1, 9))
			w.want(0, "n0 n2")
			w.want(9, "")
		},
		"until it is taken back": func(w *ward) {
			w.update(w.drained(1))
			w.update(gone(w.drained(1)))
			w.want(0, "n0 n1 n2")
		},
		"over a reboot": func(w *ward) {
			w.update(w.drained(1))
			w.lease(1, each)
			w.pass(time.Hour)
			w.update(w.node(1, "listed"), w.instance(1, 0))
			w.want(0, "n0 n2")
		},
		"with a word that can't be read": func(w *ward) {
			e := w.drained(1)
			e.Value = []byte("nonsense")
			w.update(e)
			w.want(0, "n0 n2")
		},
		"is not preserved": func(w *ward) {
			w.update(w.drained(1))
			w.rack(3, each+2)
			for n := range 3 {
				w.lease(n, each+2)
			}
			w.want(0, "(n0) (n2)")
		},
		"is not preserved any more": func(w *ward) {
			for n := range 3 {
				w.lease(n, each)
			}
			w.want(0, "(n0) (n1) (n2)")
			w.update(w.drained(1))
			w.want(0, "(n0) (n2)")
		},
		"is not preserved over another history": func(w *ward) {
			w.h.BeginList(1, true)
			e := w.drained(1)
			e.ModRevision = 1
			w.h.List([]registry.Entry{e})
			w.h.EndList()
			w.want(0, "(n0) (n2)")
		},
		"by a list": func(w *ward) {
			w.revision++
			w.h.BeginList(w.revision+1, false)
			var all []registry.Entry
			for n := range 3 {
				all = append(all, w.instance(n, 0))
			}
			for _, e := range append([]registry.Entry{w.drained(1)}, all...) {
				e.ModRevision = w.revision + 1
				w.h.List([]registry.Entry{e})
			}
			w.h.EndList()
			w.want(0, "n0 n2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, 0)
			w.rack(3, each)
			w.want(0, "n0 n1 n2")
			do(w)
		})
	}
}

// A word on a node changes the zone, and so its serial, to the same on all
// servers; what was seen doesn't, since it has no record in it.
func TestSerialOfDrainedAndSeen(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	w.rack(2, 1)
	before := w.x.Snapshot().Serial()
	w.update(w.seenService("app0", "web"))
	if got := w.x.Snapshot().Serial(); got != before {
		t.Errorf("a service that was seen moves the serial from %d to %d", before, got)
	}
	w.update(w.drained(1))
	at := w.revision + 1
	if got := w.x.Snapshot().Serial(); got != at {
		t.Errorf("a drained node: serial %d, want %d", got, at)
	}
	w.update(gone(w.seenService("app0", "web")))
	if got := w.x.Snapshot().Serial(); got != at {
		t.Errorf("one that isn't known any more: serial %d, want %d", got, at)
	}

	other := newWard(t, 0)
	other.h.BeginList(at+1, false)
	for n := range 2 {
		e := other.instance(n, 0)
		e.ModRevision, e.CreateRevision = 2, 2
		other.h.List([]registry.Entry{e})
	}
	e := other.drained(1)
	e.ModRevision, e.CreateRevision = at, at
	other.h.List([]registry.Entry{e})
	other.h.EndList()
	if got := other.x.Snapshot().Serial(); got != at {
		t.Errorf("on a server that starts now: serial %d, want %d", got, at)
	}
}

// The words of a drained node are nobody's to forge lines of output with.
func TestDrainedWordIsOneLine(t *testing.T) {
	t.Parallel()
	w := newWard(t, 0)
	w.rack(1, 1)
	e := w.drained(0)
	e.Value = []byte(`{"by": "ann\nnode-2 is fine", "why": "\u001b[2J` + strings.Repeat("x", 1000) + `"}`)
	w.update(e)
	if got := w.x.Snapshot().Drained("n0").String(); strings.ContainsAny(got, "\n\x1b") || len(got) > 600 {
		t.Errorf("%q", got)
	}
}

// A copy has all that the instance has, but for what the latter remembers as a
// client. Who adds a field gives it a value here.
func TestCloneHasAll(t *testing.T) {
	t.Parallel()
	i := &Instance{traits: traits{id: "aaaaaaaaaaaa", serving: true}, drained: true, preservedUntil: 6, seen: 7}
	v := reflect.ValueOf(i).Elem()
	for n := range v.NumField() {
		if name := v.Type().Field(n).Name; name != "client" && v.Field(n).IsZero() {
			t.Errorf("field %s has no value here", name)
		}
	}
	if c := i.clone(); !reflect.DeepEqual(i, c) {
		t.Errorf("%+v\nis not\n%+v", c, i)
	}
}
