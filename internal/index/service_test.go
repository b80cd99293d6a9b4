package index

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"unsafe"

	"github.com/rackdns/rackdns/internal/registry"
)

// A service shows what serves and knows what doesn't, whether its instances fit
// into it or not, on the way up and on the way down, and so does a snapshot from
// before a change.
func TestServiceOfAnySize(t *testing.T) {
	t.Parallel()
	const most = 2*fewEndpoints + 1
	for serving := range most + 1 {
		t.Run(fmt.Sprint(serving, " serve"), func(t *testing.T) {
			t.Parallel()
			x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "elsewhere"}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			h := (*handler)(x)
			h.BeginList(1, false)
			h.EndList(1)
			ids := []string{}
			is := func(s *Snapshot, ids []string) {
				t.Helper()
				told, known := []string{}, []string{}
				v := s.Lookup("web.shop", Asker{})
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
					m := s.Lookup(id+".web.shop", Asker{})
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

// Large racks are why both are as small as that: an answer waits for each line.
func TestLinesOfTheCache(t *testing.T) {
	t.Parallel()
	const line = 64
	if size := unsafe.Sizeof(listed{}); size > line {
		t.Errorf("an entry of the directory has %d octets, want at most %d", size, line)
	}
	if size := unsafe.Sizeof(Service{}); size > 2*line {
		t.Errorf("a service has %d octets, want at most %d", size, 2*line)
	}
}
