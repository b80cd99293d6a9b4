package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/api"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/httpguard"
	"github.com/rackdns/rackdns/internal/registry"
)

// web is on node-1's bridge as well as published.
func web(id string, port uint16) *registry.Instance {
	i := apitest.Instance(id, "shop", "web", "node-1", "10.0.2.10", port)
	i.Networks = []registry.Network{{ID: "5f1c7d2e8a90", Name: "bridge", Scope: "local", IPv4: netip.AddrFrom4([4]byte{172, 17, 0, byte(port % 100)})}}
	return i
}

func node() *registry.Node {
	return &registry.Node{
		Node: "node-1", Engine: "A", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")},
		Networks: []registry.NodeNetwork{{ID: "5f1c7d2e8a90", Name: "bridge", Driver: "bridge", Scope: "local", Subnets: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}}},
	}
}

func families() []httpapi.Family { return []httpapi.Family{api.Family()} }

func TestReads(t *testing.T) {
	t.Parallel()
	claims := apitest.Instance("00000000000a", "other", "web", "node-1", "10.0.2.10", 40009)
	claims.Namespace = "shop"
	r := apitest.NewRack(t, "acme", node(), web("8db3b9378db0", 40002), web("3485248b1d18", 40001), claims,
		&registry.Drained{Node: "node-9", Why: "burnt"},
		&registry.Service{App: "shop", Service: "api", Namespace: "shop"},
		&registry.Resource{App: "shop", Name: "db", Type: "postgres", Host: "10.0.2.99", Port: 5432},
		&registry.Resource{Name: "cache", Type: "redis", Host: "10.0.2.98", Port: 6379},
	)
	h := apitest.Server(t, true, families(), r, apitest.NewRack(t, "beta"))
	for target, want := range map[string]string{
		"services":                                 "[api other? web shop/web]",
		"services/shop":                            "api.shop.acme.convox web.shop.acme.convox",
		"services/SHOP":                            "web.shop.acme.convox",
		"services/shop/web":                        `"endpoints":[{"instance":"3485248b1d18","node":"node-1","address":"10.0.2.10","port":40001,"port_name":"http","protocol":"tcp","weight":1,"priority":0}`,
		"services/shop/api":                        `"declared":true`,
		"services/shop/nothing":                    "404 no service",
		"services/nothing":                         "404 no app",
		"services?ap=shop":                         "400 no parameter",
		"instances?app=shop&app=x":                 "400 twice",
		"instances?app=shop":                       `"id":"3485248b1d18"`,
		"instances?app=shop&service=api":           "[]",
		"instances?node=node-2":                    "[]",
		"instances/3485":                           `"id":"3485248b1d18"`,
		"instances/34":                             "404 no instance",
		"nodes":                                    `"node":"node-9","absent":true`,
		"nodes/node-1":                             `"name":"bridge"`,
		"nodes/node-2":                             "404 no node",
		"resources":                                `"name":"cache"`,
		"resources/shop":                           `"domain":"db.resource.shop.acme.convox"`,
		"resources/@rack":                          `"domain":"cache.resource.acme.convox"`,
		"resources/shop/db":                        `"port":5432`,
		"resources/shop/x":                         "404 no resource",
		"clashes":                                  `"in_vain":["other"]`,
		"resolve?name=web.shop":                    `"told":true`,
		"resolve?name=web&from=3485248b":           `"name":"web.shop.acme.convox"`,
		"resolve?name=web":                         "404 bare name",
		"resolve?name=x.shop":                      "404 x",
		"resolve":                                  "400 name",
		"resolve?name=web.shop&from=x":             "400 neither",
		"racks":                                    `"name":"beta"`,
		"racks/beta/services":                      "[]",
		"racks/gamma/services":                     "404 acme, beta",
		"services/shop?index=1&wait=1ns":           "web.shop.acme.convox",
		"resolve?name=" + strings.Repeat("x", 300): "400 longer",
	} {
		if target == "services" {
			want = `"app":"other","service":"web"`
		}
		w := apitest.Get(t, h, "/api/v1/"+target)
		code := 200
		if n, err := fmt.Sscanf(want, "%d ", &code); err == nil && n == 1 {
			want = want[4:]
		}
		for _, word := range strings.Split(want, " ") {
			if w.Code != code || !strings.Contains(w.Body.String(), word) {
				t.Errorf("%s: %d %s, want %d %s", target, w.Code, w.Body, code, word)
			}
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %s is no JSON", target, w.Body)
		}
	}
}

// Who asks gets the endpoints by which it reaches the service: a container on the
// network its neighbours' own, anybody else what is published.
func TestEndpointsByWhoAsks(t *testing.T) {
	t.Parallel()
	h := apitest.Server(t, false, families(), apitest.NewRack(t, "acme", node(), web("3485248b1d18", 40001)))
	for from, want := range map[string]string{
		apitest.Outside:    `"address":"10.0.2.10","port":40001`,
		"172.17.0.99:5000": `"address":"172.17.0.1","port":3000`,
	} {
		w := apitest.Do(t, h, apitest.Request(t, "GET", "/api/v1/services/shop/web", from, apitest.NamesToken))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("from %s: %d %s, want %s", from, w.Code, w.Body, want)
		}
	}
}

// Equal states are equal bytes, in whatever order they came about.
func TestEqualStatesAreEqualBytes(t *testing.T) {
	t.Parallel()
	a := apitest.NewRack(t, "acme", node(), web("3485248b1d18", 40001), web("8db3b9378db0", 40002))
	b := apitest.NewRack(t, "acme", web("8db3b9378db0", 40002), node())
	b.Put(web("3485248b1d18", 40003))
	b.Put(web("3485248b1d18", 40001))
	for _, path := range []string{"services", "services/shop/web", "instances", "nodes", "resources", "clashes"} {
		x := apitest.Get(t, apitest.Server(t, true, families(), a), "/api/v1/"+path).Body.String()
		if y := apitest.Get(t, apitest.Server(t, true, families(), b), "/api/v1/"+path).Body.String(); x != y {
			t.Errorf("%s:\n%s\n%s", path, x, y)
		}
	}
}

// Each list waits for what it shows, and for nothing else.
func TestListsBlock(t *testing.T) {
	for path, tt := range map[string]struct{ other, it any }{
		"services/shop":                     {apitest.Instance("00000000000a", "other", "web", "node-1", "10.0.2.10", 1), web("8db3b9378db0", 40002)},
		"services/shop/web":                 {apitest.Instance("00000000000a", "shop", "api", "node-1", "10.0.2.10", 1), web("8db3b9378db0", 40002)},
		"instances?app=shop":                {apitest.Instance("00000000000a", "other", "web", "node-1", "10.0.2.10", 1), web("8db3b9378db0", 40002)},
		"nodes":                             {web("8db3b9378db0", 40002), &registry.Node{Node: "node-2", Engine: "B"}},
		"nodes/node-1":                      {web("8db3b9378db0", 40002), &registry.Drained{Node: "node-1"}},
		"resources/@rack":                   {web("8db3b9378db0", 40002), &registry.Resource{Name: "cache", Type: "redis", Host: "10.0.2.98", Port: 6379}},
		"resources/shop":                    {&registry.Resource{Name: "cache", Type: "redis", Host: "10.0.2.98", Port: 6379}, &registry.Resource{App: "shop", Name: "db", Type: "postgres", Host: "10.0.2.9", Port: 5432}},
		"resolve?name=web.shop.acme.convox": {apitest.Instance("00000000000a", "shop", "api", "node-1", "10.0.2.10", 1), web("8db3b9378db0", 40002)},
	} {
		t.Run(strings.ReplaceAll(path, "/", "-"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := apitest.NewRack(t, "acme", node(), web("3485248b1d18", 40001))
				h := apitest.Server(t, true, families(), r)
				mark := "?"
				if strings.Contains(path, "?") {
					mark = "&"
				}
				answered := make(chan int, 1)
				go func() {
					answered <- apitest.Get(t, h, fmt.Sprintf("/api/v1/%s%sindex=%d&wait=5m", path, mark, r.IndexNow())).Code
				}()
				synctest.Wait()
				r.Put(tt.other)
				synctest.Wait()
				select {
				case <-answered:
					t.Fatal("another change ends it")
				default:
				}
				begin := time.Now()
				r.Put(tt.it)
				if code := <-answered; code != 200 || time.Since(begin) > 0 {
					t.Errorf("%d, after %s", code, time.Since(begin))
				}
			})
		})
	}
}

// watch opens a stream and returns what reads one event of it.
func watch(t *testing.T, at, query, last string) (next func() (event, id, data string)) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/api/v1/watch"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", last)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() (event, id, data string) {
		t.Helper()
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case name == "event":
				event = value
			case name == "id":
				id = value
			case name == "data":
				data = value
			case lines.Text() == "" && event != "":
				return event, id, data
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return "", "", ""
	}
}

func listen(t *testing.T, r *apitest.Rack) string {
	t.Helper()
	hosts, err := httpguard.NewHosts("http-hosts")
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpapi.New(httpapi.Config{Hosts: hosts, Racks: []*httpapi.Rack{r.Rack}, Families: families(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Start(ln)
	t.Cleanup(s.Close)
	return ln.Addr().String()
}

// A stream tells each change once; one that was cut off goes on where it was; one
// that comes too late is told so.
func TestWatch(t *testing.T) {
	t.Parallel()
	r := apitest.NewRack(t, "acme", node(), web("3485248b1d18", 40001))
	at := listen(t, r)
	all, ofShop := watch(t, at, "", ""), watch(t, at, "?app=shop", "")
	for _, next := range []func() (string, string, string){all, ofShop} {
		if event, id, _ := next(); event != "ready" || id != fmt.Sprint(r.IndexNow()) {
			t.Fatalf("first %s %s", event, id)
		}
	}
	r.Put(apitest.Instance("00000000000a", "other", "web", "node-1", "10.0.2.10", 40009))
	r.Put(web("8db3b9378db0", 40002))
	var ids []string
	for _, want := range []string{`"what":"service"`, `"instance":"00000000000a"`, `"instance":"8db3b9378db0"`} {
		event, id, data := all()
		if event != "change" || !strings.Contains(data, want) {
			t.Errorf("%s %s, want %s", event, data, want)
		}
		ids = append(ids, id)
	}
	if _, _, data := ofShop(); !strings.Contains(data, `"8db3b9378db0"`) {
		t.Errorf("of shop: %s", data)
	}
	again := watch(t, at, "", ids[0])
	if event, id, _ := again(); event != "ready" || id != ids[0] {
		t.Errorf("again: %s %s", event, id)
	}
	for _, want := range ids[1:] {
		if _, id, _ := again(); id != want {
			t.Errorf("again: %s, want %s", id, want)
		}
	}
	late := watch(t, at, "", "999999")
	late()
	if event, _, data := late(); event != "reset" || !strings.Contains(data, "read everything again") {
		t.Errorf("late: %s %s", event, data)
	}
	resp, err := http.Get("http://" + at + "/api/v1/watch?index=x")
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a bad position: %d", resp.StatusCode)
	}
}
