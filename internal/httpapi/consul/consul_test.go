package consul_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/httpapi/consul"
	"github.com/rackdns/rackdns/internal/registry"
)

func serve(t *testing.T, racks ...*apitest.Rack) http.Handler {
	t.Helper()
	return apitest.Server(t, true, []httpapi.Family{consul.Family()}, racks...)
}

// get decodes an answer into v.
func get(t *testing.T, h http.Handler, target string, v any) http.Header {
	t.Helper()
	w := apitest.Get(t, h, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		t.Fatalf("%s: %v: %s", target, err, w.Body)
	}
	return w.Header()
}

// ends are the addresses of entries, in their order.
func ends(t *testing.T, h http.Handler, target string) string {
	t.Helper()
	var all []consul.Entry
	get(t, h, target, &all)
	if all == nil {
		t.Fatalf("%s: null in place of an empty list", target)
	}
	var texts []string
	for _, e := range all {
		texts = append(texts, fmt.Sprintf("%s:%d", e.Service.Address, e.Service.Port))
	}
	return strings.Join(texts, " ")
}

func with(i *registry.Instance, change func(*registry.Instance)) *registry.Instance {
	change(i)
	return i
}

func rack(t *testing.T) *apitest.Rack {
	t.Helper()
	host := registry.HostInstance("default", "legacy", netip.MustParseAddrPort("10.0.7.7:8080"))
	host.Weight = 4
	return apitest.NewRack(t, "acme",
		&registry.Node{Node: "node-1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}},
		&registry.Node{Node: "node-2", Addresses: []netip.Addr{netip.MustParseAddr("10.0.3.87")}},
		with(apitest.Instance("000000000001", "shop", "web", "node-2", "10.0.3.87", 40001), func(i *registry.Instance) {
			i.Tags = map[string]string{"az": "a", "blue": ""}
			i.Ports = append(i.Ports, registry.Port{Name: "admin", Protocol: registry.TCP, Container: 9000, Bindings: []registry.Binding{{IP: i.Host, Port: 30000}}})
		}),
		apitest.Instance("000000000002", "shop", "web", "node-1", "10.0.2.10", 40002),
		with(apitest.Instance("000000000003", "shop", "web", "node-1", "10.0.2.10", 40003), func(i *registry.Instance) { i.Health = registry.HealthUnhealthy }),
		with(apitest.Instance("000000000004", "shop", "web", "node-1", "10.0.2.10", 40004), func(i *registry.Instance) { i.Weight = 0 }),
		with(apitest.Instance("000000000005", "shop", "worker", "node-1", "10.0.2.10", 40005), func(i *registry.Instance) { i.Ports[0].Bindings = nil }),
		// Of one name as Consul has them.
		apitest.Instance("000000000006", "default", "a-b", "node-1", "10.0.2.10", 40006),
		apitest.Instance("000000000007", "b", "a", "node-1", "10.0.2.10", 40007),
		&host,
	)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := serve(t, rack(t))
	all := "10.0.3.87:40001 10.0.2.10:40002 10.0.2.10:40003 10.0.2.10:40004"
	for target, want := range map[string]string{
		"web-shop":                      all,
		"web.shop":                      all,
		"WEB.shop":                      all,
		"web-shop?passing":              "10.0.3.87:40001 10.0.2.10:40002",
		"web-shop?passing=true":         "10.0.3.87:40001 10.0.2.10:40002",
		"web-shop?passing=false":        all,
		"web-shop?passing&near=_agent":  "10.0.2.10:40002 10.0.3.87:40001",
		"web-shop?passing&near=node-2":  "10.0.3.87:40001 10.0.2.10:40002",
		"web-shop?tag=blue":             "10.0.3.87:40001",
		"web-shop?tag=az=a&tag=blue":    "10.0.3.87:40001",
		"web-shop?tag=green":            "",
		"web-shop?dc=ACME&passing":      "10.0.3.87:40001 10.0.2.10:40002",
		"web-shop?stale&passing&pretty": "10.0.3.87:40001 10.0.2.10:40002",
		"web-shop?filter=" + url.QueryEscape(`Service.Port == 40002`):                                                          "10.0.2.10:40002",
		"web-shop?filter=" + url.QueryEscape(`"blue" in Service.Tags`):                                                         "10.0.3.87:40001",
		"web-shop?filter=" + url.QueryEscape(`ServiceTags contains blue and Node.Node != "node-1"`):                            "10.0.3.87:40001",
		"web-shop?filter=" + url.QueryEscape(`Service.Tags not contains "blue" and Checks.Status=="passing"`):                  "10.0.2.10:40002",
		"web-shop?filter=" + url.QueryEscape(`"blue" not in Service.Tags and Service.Meta.az != "a" and ServicePort != 40002`): "10.0.2.10:40003 10.0.2.10:40004",
		"worker-shop": "",
		"nothing":     "",
		"a-b":         "10.0.2.10:40006",
		"a.b":         "10.0.2.10:40007",
		"legacy":      "10.0.7.7:8080",
		"-":           "",
	} {
		if got := ends(t, h, "/v1/health/service/"+target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	var entries []consul.Entry
	get(t, h, "/v1/health/service/legacy", &entries)
	e := entries[0]
	if e.Node.Node != "10.0.7.7" || e.Node.Address != "10.0.7.7" || e.Service.Weights.Passing != 4 || e.Checks[0].Status != "passing" || e.Service.Service != "legacy" {
		t.Errorf("%+v", e)
	}
	var checks []consul.Check
	get(t, h, "/v1/health/state/critical", &checks)
	var got []string
	for _, c := range checks {
		got = append(got, c.ServiceID+" "+c.Output)
	}
	want := []string{"000000000003 is unhealthy", "000000000004 has weight 0, and others serve"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("critical (-want +got):\n%s", diff)
	}
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	h := serve(t, rack(t), apitest.NewRack(t, "beta"))
	var names map[string][]string
	get(t, h, "/v1/catalog/services", &names)
	want := map[string][]string{"web-shop": {"az=a", "blue"}, "worker-shop": {}, "a-b": {}, "a.b": {}, "legacy": {}}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	var one []consul.CatalogEntry
	get(t, h, "/v1/catalog/service/web-shop?passing", &one)
	if len(one) != 2 || one[0].ServiceAddress != "10.0.3.87" || one[0].ServicePort != 40001 || one[0].Node != "node-2" || one[0].Datacenter != "acme" {
		t.Errorf("%+v", one)
	}
	var nodes []consul.Node
	get(t, h, "/v1/catalog/nodes", &nodes)
	if len(nodes) != 2 || nodes[0].Node != "node-1" || nodes[0].Address != "10.0.2.10" || len(nodes[0].ID) != 36 {
		t.Errorf("%+v", nodes)
	}
	var dcs []string
	get(t, h, "/v1/catalog/datacenters", &dcs)
	if diff := cmp.Diff([]string{"acme", "beta"}, dcs); diff != "" {
		t.Error(diff)
	}
	get(t, h, "/v1/catalog/services?dc=beta", &names)
	var self struct {
		Config struct{ Datacenter, NodeName string }
	}
	get(t, h, "/v1/agent/self", &self)
	if self.Config.Datacenter != "acme" || self.Config.NodeName != "node-1" {
		t.Errorf("%+v", self)
	}
	var leader string
	get(t, h, "/v1/status/leader", &leader)
	if leader != "10.0.2.10:8300" {
		t.Errorf("leader %s", leader)
	}
}

// What isn't understood is refused in words, and lets nothing pass.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h := serve(t, rack(t))
	for target, status := range map[string]int{
		"health/service/web-shop?dc=none":                             404,
		"health/service/web-shop?index=x":                             400,
		"health/service/web-shop?wait=x":                              400,
		"health/service/web-shop?node-meta=a:b":                       400,
		"health/service/web-shop?filter=x":                            400,
		"health/service/web-shop?filter=Service.Port%3D%3D80+or+1":    400,
		"health/service/web-shop?filter=Service.Nothing%3D%3D1":       400,
		"health/service/web-shop?filter=Service.Tags%3D%3Dblue":       400,
		"health/service/web-shop?filter=%22":                          400,
		"health/service/web-shop?filter=(Service.Port%3D%3D80)":       400,
		"health/service/web-shop?filter=Service.Tags+matches+%22b%22": 400,
		"health/state/nonsense":                                       400,
		"catalog/services?filter=a%3D%3Db":                            400,
		"catalog/register":                                            404,
		"kv/x":                                                        404,
	} {
		w := apitest.Get(t, h, "/v1/"+target)
		if w.Code != status || w.Body.Len() == 0 {
			t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, status)
		}
	}
	q := apitest.Request(t, http.MethodPut, "/v1/catalog/register", apitest.Local, apitest.Token)
	if w := apitest.Do(t, h, q); w.Code != http.StatusNotFound {
		t.Errorf("a write: %d", w.Code)
	}
}

// A blocking query is woken by a change of its service, by no other, and its index
// doesn't move with those of others.
func TestBlocking(t *testing.T) {
	t.Parallel()
	r := rack(t)
	h := serve(t, r)
	indexOf := func(target string) string {
		var v any
		return get(t, h, target, &v).Get("X-Consul-Index")
	}
	first := indexOf("/v1/health/service/web-shop")
	r.Put(apitest.Instance("0000000000aa", "other", "api", "node-1", "10.0.2.10", 41000))
	if got := indexOf("/v1/health/service/web-shop"); got != first {
		t.Errorf("the index went from %s to %s with another service's", first, got)
	}
	if got := indexOf("/v1/catalog/services"); got == first {
		t.Error("that of all services didn't move")
	}
	type answer struct{ ends, index string }
	done := make(chan answer, 1)
	go func() {
		w := apitest.Get(t, h, "/v1/health/service/web-shop?passing&wait=2m&index="+first)
		var all []consul.Entry
		_ = json.Unmarshal(w.Body.Bytes(), &all) // it is compared below
		done <- answer{fmt.Sprint(len(all)), w.Header().Get("X-Consul-Index")}
	}()
	r.Put(apitest.Instance("0000000000ab", "other", "api", "node-1", "10.0.2.10", 41001))
	select {
	case got := <-done:
		t.Fatalf("woken by another service: %+v", got)
	case <-time.After(100 * time.Millisecond):
	}
	r.Put(apitest.Instance("000000000009", "shop", "web", "node-1", "10.0.2.10", 40009))
	select {
	case got := <-done:
		if got.ends != "3" || got.index == first {
			t.Errorf("%+v", got)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("not woken")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	h := apitest.Server(t, false, []httpapi.Family{consul.Family()}, rack(t))
	q := apitest.Request(t, http.MethodGet, "/v1/catalog/services", apitest.Outside, "")
	if w := apitest.Do(t, h, q); w.Code != http.StatusUnauthorized {
		t.Errorf("without: %d", w.Code)
	}
	q.Header.Set("X-Consul-Token", apitest.NamesToken)
	if w := apitest.Do(t, h, q); w.Code != http.StatusOK {
		t.Errorf("with: %d %s", w.Code, w.Body)
	}
}
