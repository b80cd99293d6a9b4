package prometheus_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/httpapi/prometheus"
	"github.com/rackdns/rackdns/internal/registry"
)

func web(change func(*registry.Instance)) *registry.Instance {
	i := apitest.Instance("3485248b1d18", "shop", "web", "node-1", "10.0.2.10", 40001)
	i.Release, i.Tags = "RLEUTDHBBKD", map[string]string{"az": "a", "team.name": "x"}
	i.Ports = append(i.Ports,
		registry.Port{Name: "metrics", Protocol: registry.TCP, Container: 9100, Bindings: []registry.Binding{{IP: i.Host, Port: 40002}}},
		registry.Port{Protocol: registry.UDP, Container: 53, Bindings: []registry.Binding{{IP: i.Host, Port: 40003}}},
		registry.Port{Protocol: registry.TCP, Container: 8000},
	)
	change(i)
	return i
}

func as(*registry.Instance) {}

func TestTargets(t *testing.T) {
	t.Parallel()
	r := apitest.NewRack(t, "acme", web(as))
	w := apitest.Get(t, apitest.Server(t, true, []httpapi.Family{prometheus.Family()}, r), "/sd/prometheus?app=shop&service=web&port=metrics")
	var got []prometheus.Group
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	want := []prometheus.Group{{Targets: []string{"10.0.2.10:40002"}, Labels: map[string]string{
		"__meta_rackdns_app": "shop", "__meta_rackdns_service": "web", "__meta_rackdns_instance": "3485248b1d18", "__meta_rackdns_node": "node-1",
		"__meta_rackdns_release": "RLEUTDHBBKD", "__meta_rackdns_tag_az": "a", "__meta_rackdns_tag_team_name": "x",
		"__meta_rackdns_port_name": "metrics", "__meta_rackdns_health": "",
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if kind := w.Header().Get("Content-Type"); kind != "application/json" {
		t.Errorf("it is %s, which Prometheus refuses", kind)
	}
}

func TestWhichTargets(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		query  string
		change func(*registry.Instance)
		want   string
	}{
		"all TCP ports":  {"", as, "10.0.2.10:40001 10.0.2.10:40002"},
		"a port by name": {"?port=http", as, "10.0.2.10:40001"},
		"by number":      {"?port=9100", as, "10.0.2.10:40002"},
		"no such port":   {"?port=x", as, ""},
		"not reached":    {"?port=8000", as, ""},
		"no such app":    {"?app=x", as, ""},
		"other service":  {"?service=x", as, ""},
		"in capitals":    {"?app=SHOP&service=Web&port=http", as, "10.0.2.10:40001"},
		"unhealthy":      {"?port=http", func(i *registry.Instance) { i.Health = "unhealthy" }, "10.0.2.10:40001"},
		"draining":       {"?port=http", func(i *registry.Instance) { i.Draining = true }, ""},
		"paused":         {"?port=http", func(i *registry.Instance) { i.Status = "paused" }, ""},
		"weight 0":       {"?port=http", func(i *registry.Instance) { i.Weight = 0 }, "10.0.2.10:40001"},
		"IPv6": {"?port=http", func(i *registry.Instance) {
			i.Host = netip.MustParseAddr("fd00::2")
			i.Ports[0].Bindings[0].IP = i.Host
		}, "[fd00::2]:40001"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := apitest.Server(t, true, []httpapi.Family{prometheus.Family()}, apitest.NewRack(t, "acme", web(tt.change)), apitest.NewRack(t, "beta"))
			w := apitest.Get(t, h, "/sd/prometheus"+tt.query)
			var all []prometheus.Group
			if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || all == nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			var got []string
			for _, g := range all {
				got = append(got, g.Targets...)
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%q, want %q", s, tt.want)
			}
			if w := apitest.Get(t, h, "/sd/prometheus/beta"+tt.query); w.Body.String() != "[]\n" {
				t.Errorf("another rack: %s", w.Body)
			}
			if w := apitest.Get(t, h, "/sd/prometheus?prot=http"); w.Code != 400 {
				t.Errorf("a parameter that there isn't: %d", w.Code)
			}
		})
	}
}
