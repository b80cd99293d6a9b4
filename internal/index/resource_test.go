package index

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rackdns/rackdns/internal/registry"
)

// said is all that a snapshot says of resources, in words.
func said(s *Snapshot) []string {
	var all []string
	names := []string{"resource"}
	for _, name := range []string{"one", "two"} {
		names = append(names, name+".resource")
		for _, app := range []string{"a", "b"} {
			names = append(names, app, "resource."+app, name+".resource."+app, name+"."+app, "mysql."+app, "redis."+app, "mysql-"+name+"."+app, "redis-"+name+"."+app)
		}
	}
	for _, name := range names {
		m := s.Lookup(name, Stranger())
		text := fmt.Sprint(name, " ", m.Kind)
		if err := agrees(s, name, Stranger()); err != nil {
			text += " " + err.Error()
		}
		if r := m.Resource; r != nil {
			text += fmt.Sprint(" ", r.App, "/", r.Name, " ", r.Type, " ", r.Addr, " ", r.Host, " ", r.Backed)
		}
		for _, e := range m.Endpoints {
			text += " " + e.ID() + " " + netip.AddrFrom4([4]byte(e.V4())).String()
		}
		all = append(all, text)
	}
	return all
}

func drawSupply(t *rapid.T) (key func(registry.Layout) string, value any) {
	if rapid.Bool().Draw(t, "instance") {
		n := rapid.IntRange(1, 4).Draw(t, "id")
		ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})
		i := &registry.Instance{
			ID: fmt.Sprintf("%012x", n), Node: "n1", App: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app"), Service: "db", Weight: 1,
			Status: rapid.SampledFrom([]string{"running", "running", "exited"}).Draw(t, "status"), Host: ip,
			Ports: []registry.Port{{Protocol: "tcp", Container: 3306, Bindings: []registry.Binding{{IP: ip, Port: 40000}}}},
		}
		if rapid.Bool().Draw(t, "says") {
			i.Resource = &registry.InstanceResource{
				Name: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "name"), Type: rapid.SampledFrom([]string{"mysql", "redis"}).Draw(t, "type"),
			}
		}
		return func(l registry.Layout) string { return l.Instance(i.Node, i.ID) }, i
	}
	r := &registry.Resource{
		App: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "owner"), Name: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "name"),
		Type: rapid.SampledFrom([]string{"mysql", "redis"}).Draw(t, "type"), Default: rapid.Bool().Draw(t, "default"),
		Host: rapid.SampledFrom([]string{"", "10.0.9.1", "db.example.com", "000000000001", "000000000002"}).Draw(t, "host"),
	}
	return func(l registry.Layout) string { return l.Resource(r.App, r.Name) }, r
}

// TestResourcesAreAsIfListed compares an index that has seen changes, in
// whatever order, with one that is told the result at once.
func TestResourcesAreAsIfListed(t *testing.T) {
	t.Parallel()
	open := func(t *rapid.T) *Index {
		x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Options: Options{Node: "n1"}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	list := func(x *Index, entries map[string]registry.Entry, revision int64) {
		x.Feed().BeginList(revision, false)
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			x.Feed().List([]registry.Entry{entries[key]})
		}
		x.Feed().EndList()
	}
	rapid.Check(t, func(t *rapid.T) {
		x, entries, revision := open(t), map[string]registry.Entry{}, int64(1)
		list(x, nil, revision)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				key, value := drawSupply(t)
				b, err := registry.Encode(value)
				if err != nil {
					t.Fatal(err)
				}
				revision++
				e := registry.Entry{Key: key(x.client.Layout()), Value: b, ModRevision: revision}
				entries[e.Key] = e
				x.Feed().Update([]registry.Entry{e})
			},
			"drop": func(t *rapid.T) {
				if len(entries) == 0 {
					t.Skip("nothing to remove")
				}
				key := rapid.SampledFrom(slices.Sorted(maps.Keys(entries))).Draw(t, "key")
				delete(entries, key)
				revision++
				x.Feed().Update([]registry.Entry{{Key: key, ModRevision: revision}})
			},
			"": func(t *rapid.T) {
				fresh := open(t)
				list(fresh, entries, revision)
				for _, text := range said(fresh.Snapshot()) {
					if strings.Contains(text, "explained") {
						t.Fatal(text)
					}
				}
				if diff := cmp.Diff(said(fresh.Snapshot()), said(x.Snapshot())); diff != "" {
					t.Fatalf("(-listed +changed):\n%s", diff)
				}
			},
		})
		for key := range entries {
			revision++
			x.Feed().Update([]registry.Entry{{Key: key, ModRevision: revision}})
		}
		if b := x.builder; b.apps.size != 0 || len(b.known) != 0 || len(b.hosted) != 0 || b.rack.size != 0 {
			t.Fatalf("an empty registry leaves %d apps, %d resources, %d hosts", b.apps.size, len(b.known), len(b.hosted))
		}
	})
}
