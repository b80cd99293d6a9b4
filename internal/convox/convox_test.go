package convox

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// snapshot returns an index of these values.
func snapshot(t *testing.T, values ...any) *index.Snapshot {
	t.Helper()
	x, err := index.Open(index.Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := registry.NewLayout(registry.DefaultPrefix, "acme")
	if err != nil {
		t.Fatal(err)
	}
	x.Feed().BeginList(1, false)
	for _, v := range values {
		e := registry.Entry{ModRevision: 1}
		switch v := v.(type) {
		case *registry.Instance:
			e.Key = l.Instance(v.Node, v.ID)
		case *registry.Service:
			e.Key = l.Service(v.App, v.Service)
		}
		if e.Value, err = registry.Encode(v); err != nil {
			t.Fatal(err)
		}
		x.Feed().List([]registry.Entry{e})
	}
	x.Feed().EndList()
	return x.Snapshot()
}

// web is an instance that serves, published at host:port.
func web(id, node, host string, port uint16) *registry.Instance {
	ip := netip.MustParseAddr(host)
	return &registry.Instance{
		ID: id, Node: node, App: "nodejs", Service: "web", Release: "RLEUTDHBBKD", Image: "example/web:1",
		Started: time.Date(2019, 9, 25, 9, 32, 51, 123456789, time.FixedZone("", 7200)),
		Status:  registry.StatusRunning, Host: ip, Weight: 1,
		Ports: []registry.Port{{Protocol: registry.TCP, Container: 3000, Bindings: []registry.Binding{{IP: ip, Port: port}}}},
	}
}

// with returns an instance with a change.
func with(i *registry.Instance, change func(*registry.Instance)) *registry.Instance {
	change(i)
	return i
}

// asJSON is how the commands and the HTTP interface write it.
func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// TestProcesses compares bytes: programs that read them know Convox's order of
// keys, and its empty values.
func TestProcesses(t *testing.T) {
	t.Parallel()
	s := snapshot(t,
		web("8db3b9378db0", "node-2", "10.0.3.87", 32768),
		web("3485248b1d18", "node-1", "10.0.2.10", 47889),
		with(web("000000000001", "node-1", "10.0.2.10", 1), func(i *registry.Instance) { i.App = "other" }),
		with(web("0a0a0a0a0a0a", "node-1", "10.0.2.10", 0), func(i *registry.Instance) {
			i.Service, i.Ports, i.Command = "worker", nil, "sleep 9"
		}),
	)
	want, err := os.ReadFile(filepath.Join("testdata", "processes.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(asJSON(t, Processes(s, s.App("nodejs"), Filter{})))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProcessesOfAnAppWithoutAny(t *testing.T) {
	t.Parallel()
	s := snapshot(t, &registry.Service{App: "nodejs", Service: "web", Namespace: "nodejs"})
	if got := string(asJSON(t, Processes(s, s.App("nodejs"), Filter{}))); got != "[]\n" {
		t.Errorf("%s, want an empty list", got)
	}
}

func TestProcessesFilter(t *testing.T) {
	t.Parallel()
	other := func(id, service, release string) *registry.Instance {
		return with(web(id, "node-1", "10.0.2.10", 1), func(i *registry.Instance) { i.Service, i.Release = service, release })
	}
	s := snapshot(t, other("b", "web", "R1"), other("a", "web", "R2"), other("c", "api", "R2"), other("d", "api", ""))
	for _, tc := range []struct {
		filter Filter
		want   []string
	}{
		{Filter{}, []string{"c", "d", "a", "b"}},
		{Filter{Service: "web"}, []string{"a", "b"}},
		{Filter{Release: "R2"}, []string{"c", "a"}},
		{Filter{Service: "web", Release: "R1"}, []string{"b"}},
		{Filter{Service: "worker"}, []string{}},
	} {
		got := []string{}
		for _, p := range Processes(s, s.App("nodejs"), tc.filter) {
			got = append(got, p.ID)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.filter, diff)
		}
	}
}

// TestProcessPorts shows which ports count as such that can be dialled.
func TestProcessPorts(t *testing.T) {
	t.Parallel()
	at := func(ip string, port uint16) []registry.Binding {
		return []registry.Binding{{IP: netip.MustParseAddr(ip), Port: port}}
	}
	for _, tc := range []struct {
		name   string
		change func(*registry.Instance)
		status string
		host   string
		ports  []string
	}{
		{"serves", func(*registry.Instance) {}, "running", "10.0.2.10", []string{"47889:3000"}},
		{"not published", func(i *registry.Instance) { i.Ports[0].Bindings = nil }, "running", "10.0.2.10", []string{}},
		{"published elsewhere", func(i *registry.Instance) { i.Ports[0].Bindings = at("10.0.9.9", 80) }, "running", "10.0.9.9", []string{"80:3000"}},
		{"paused", func(i *registry.Instance) { i.Status = "paused" }, "paused", "10.0.2.10", []string{}},
		{"draining", func(i *registry.Instance) { i.Draining = true }, "draining", "10.0.2.10", []string{}},
		{"starting", func(i *registry.Instance) { i.Health = "starting" }, "starting", "10.0.2.10", []string{}},
		{"unhealthy", func(i *registry.Instance) { i.Health = "unhealthy" }, "unhealthy", "10.0.2.10", []string{}},
		{"TCP and UDP", func(i *registry.Instance) {
			i.Ports = append(i.Ports,
				registry.Port{Protocol: registry.UDP, Container: 3000, Bindings: at("10.0.2.10", 47889)},
				registry.Port{Protocol: registry.TCP, Container: 9000, Bindings: at("10.0.2.10", 47890)})
		}, "running", "10.0.2.10", []string{"47889:3000", "47890:9000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := snapshot(t, with(web("a", "node-1", "10.0.2.10", 47889), tc.change))
			p := Processes(s, s.App("nodejs"), Filter{})[0]
			want := Process{Status: tc.status, Host: tc.host, Ports: tc.ports}
			if diff := cmp.Diff(want, Process{Status: p.Status, Host: p.Host, Ports: p.Ports}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestJQ runs the line that Convox's page on service discovery shows, as it
// stands there. It is for apps that have no other service than web.
func TestJQ(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("jq"); err != nil {
		if os.Getenv("RACKDNS_REQUIRE_DOCKER") == "1" {
			t.Fatal("RACKDNS_REQUIRE_DOCKER=1, but there is no jq on the PATH")
		}
		t.Skip("no jq on the PATH")
	}
	s := snapshot(t,
		web("8db3b9378db0", "node-2", "10.0.3.87", 32768),
		web("3485248b1d18", "node-1", "10.0.2.10", 47889),
		with(web("000000000001", "node-1", "10.0.2.10", 1), func(i *registry.Instance) { i.Ports[0].Bindings = nil }),
		with(web("000000000002", "node-1", "10.0.2.10", 2), func(i *registry.Instance) { i.Health = registry.HealthUnhealthy }),
	)
	const line = `.[] | if .name == "web" then {node: .host, port: .ports[] | split(":")[0]} else "" end | join(":")`
	cmd := exec.Command("jq", line)
	cmd.Stdin = bytes.NewReader(asJSON(t, Processes(s, s.App("nodejs"), Filter{})))
	got, err := cmd.CombinedOutput()
	if want := "\"10.0.2.10:47889\"\n\"10.0.3.87:32768\"\n"; err != nil || string(got) != want {
		t.Errorf("%s%v; want %s", got, err, want)
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	port := func(n uint16, protocol string) registry.ServicePort {
		return registry.ServicePort{Protocol: protocol, Container: n}
	}
	s := snapshot(t,
		with(web("a", "node-1", "10.0.2.10", 1), func(i *registry.Instance) {
			i.Ports = append(i.Ports, registry.Port{Protocol: "udp", Container: 53}, registry.Port{Protocol: "tcp", Container: 53})
		}),
		with(web("b", "node-1", "10.0.2.10", 2), func(i *registry.Instance) { i.Namespace = "front" }),
		&registry.Service{App: "nodejs", Service: "api", Namespace: "nodejs", Ports: []registry.ServicePort{port(8443, "tcp"), port(80, "tcp")}},
		// What is declared counts, and not what its image exposes besides.
		with(web("c", "node-1", "10.0.2.10", 3), func(i *registry.Instance) { i.Service = "api" }),
		&registry.Service{App: "nodejs", Service: "worker", Namespace: "nodejs"},
		web("d", "node-1", "10.0.2.10", 4),
	)
	want := []Service{
		{"nodejs", "api", "api.nodejs.acme.convox", []ServicePort{{8443, 8443}, {80, 80}}},
		{"nodejs", "web", "web.nodejs.acme.convox", []ServicePort{{53, 53}, {3000, 3000}}},
		{"nodejs", "worker", "", []ServicePort{}},
	}
	// By the namespace as by the name.
	for _, name := range []string{"nodejs", "front"} {
		if diff := cmp.Diff(want, Services(s, s.App(name), "acme.convox")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := want[0].Ports[0].String(); got != "8443:8443" {
		t.Errorf("a port is written %s", got)
	}
}
