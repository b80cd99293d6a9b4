package index

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// aliased gives an instance aliases: "db", or "web:3001" for one port.
func aliased(i *registry.Instance, aliases ...registry.Alias) *registry.Instance {
	i.Aliases = aliases
	return i
}

// told is what a stranger is told of a name: "<id> <address>:<ports>".
func told(s *Snapshot, name string) []string {
	var all []string
	m := s.Lookup(name, Stranger())
	for n := range m.Endpoints {
		e := &m.Endpoints[n]
		line := e.ID()
		for p := range e.Ports() {
			if number := e.Number(&e.Ports()[p]); number != 0 && m.Wants(&e.Ports()[p]) {
				line += " " + netip.AddrPortFrom(e.All()[0], number).String()
			}
		}
		all = append(all, line)
	}
	return all
}

// An alias is found like a service, lists the same instances, and goes with the
// last of them.
func TestAliases(t *testing.T) {
	t.Parallel()
	twoPorts := func(i *registry.Instance) *registry.Instance {
		i.Ports = []registry.Port{
			{Protocol: registry.TCP, Container: 8000, Bindings: []registry.Binding{{IP: netip.MustParseAddr("10.0.0.1"), Port: 40000}}},
			{Protocol: registry.TCP, Container: 9000, Bindings: []registry.Binding{{IP: netip.MustParseAddr("100.64.0.7"), Port: 40001}}},
		}
		i.Host = netip.MustParseAddr("10.0.0.1")
		return i
	}
	other := web("i3")
	other.Service = "queue"
	taken := aliased(web("i4"), registry.Alias{Name: "web"})
	taken.Service = "store"
	var log bytes.Buffer
	x, err := Open(Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	revision := int64(1)
	update := func(i *registry.Instance, in bool) *Snapshot {
		t.Helper()
		e := registry.Entry{Key: layout.Instance(i.Node, i.ID), ModRevision: revision}
		if in {
			if e.Value, err = registry.Encode(i); err != nil {
				t.Fatal(err)
			}
		}
		revision++
		x.Feed().Update([]registry.Entry{e})
		return x.Snapshot()
	}
	x.Feed().BeginList(1, false)
	x.Feed().EndList()
	ports := aliased(twoPorts(web("i1")), registry.Alias{Name: "front"}, registry.Alias{Name: "admin", Port: 9000})
	update(ports, true)
	update(aliased(other, registry.Alias{Name: "front"}), true)
	s := update(taken, true)
	for _, tc := range []struct {
		name string
		kind Kind
		want []string
	}{
		{"front.shop", AService, []string{"i1 10.0.0.1:40000 100.64.0.7:40001", "i3 10.0.0.1:40000"}},
		{"admin.shop", AService, []string{"i1 100.64.0.7:40001"}},
		{"i1.front.shop", AnInstance, nil},
		{"i4.front.shop", None, nil},
		{"_9000._tcp.admin.shop", Ports, []string{"i1 100.64.0.7:40001"}},
		{"_8000._tcp.admin.shop", None, nil},
		{"web.shop", AService, nil},
		{"back.shop", None, nil},
	} {
		m := s.Lookup(tc.name, Stranger())
		if m.Kind != tc.kind {
			t.Errorf("%s: kind %d, want %d", tc.name, m.Kind, tc.kind)
		}
		if got := told(s, tc.name); tc.want != nil && !sameLines(got, tc.want) {
			t.Errorf("%s: told %q, want %q", tc.name, got, tc.want)
		}
		x, err := s.Explain(tc.name, Stranger())
		if (err == nil) != (tc.kind != None) {
			t.Errorf("explain %s: %v", tc.name, err)
		}
		if tc.kind == AService && len(x.Verdicts) == 0 {
			t.Errorf("explain %s: says nothing of its instances", tc.name)
		}
	}
	if got := told(s, "web.shop"); len(got) == 0 || strings.Contains(strings.Join(got, " "), "i4") {
		t.Errorf("web.shop: told %q, want the service's own alone", got)
	}
	clash := s.AliasClashes()
	if len(clash) != 1 || clash[0].Name != "web" || clash[0].Owner != "service" || !slices.Equal(clash[0].Instances, []string{"i4"}) {
		t.Errorf("clashes %+v, want that of i4's alias web", clash)
	}
	before := s
	update(web("i5"), true)
	if n := strings.Count(log.String(), "leads nowhere"); n != 1 {
		t.Errorf("the clash is logged %d times, want once:\n%s", n, log.String())
	}
	update(web("i5"), false)
	s = update(ports, false)
	if got := told(s, "web.shop"); len(got) != 1 || !strings.HasPrefix(got[0], "i4") {
		t.Errorf("web.shop without a service of the name: %q, want i4", got)
	}
	if len(s.AliasClashes()) != 0 {
		t.Errorf("clashes %+v, want none", s.AliasClashes())
	}
	s = update(aliased(other), true)
	if m := s.Lookup("front.shop", Stranger()); m.Kind != None {
		t.Errorf("front.shop without an instance: kind %d, want none", m.Kind)
	}
	if m := before.Lookup("front.shop", Stranger()); len(m.Endpoints) < 2 {
		t.Error("a snapshot from before has changed")
	}
}

// sameLines is equality, but for further addresses of the same instance.
func sameLines(got, want []string) bool {
	joined := map[string][]string{}
	for _, line := range got {
		id, rest, _ := strings.Cut(line, " ")
		joined[id] = append(joined[id], rest)
	}
	if len(joined) != len(want) {
		return false
	}
	for _, line := range want {
		id, rest, _ := strings.Cut(line, " ")
		if strings.Join(joined[id], " ") != rest {
			return false
		}
	}
	return true
}
