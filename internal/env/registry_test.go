package env_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// snapshot is an index of the given keys, relative to the rack's, and values.
func snapshot(t *testing.T, entries map[string]string) *index.Snapshot {
	t.Helper()
	x, err := index.Open(index.Config{Registry: registry.Config{Rack: "acme"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	var all []registry.Entry
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		all = append(all, registry.Entry{Key: "/rackdns/v1/acme/" + k, Value: []byte(entries[k]), ModRevision: int64(len(all) + 1), CreateRevision: int64(len(all) + 1)})
	}
	f := x.Feed()
	f.BeginList(int64(len(all)), false)
	f.List(all)
	f.EndList()
	s := x.Snapshot()
	if s.Invalid() > 0 {
		t.Fatalf("%d of the entries are invalid", s.Invalid())
	}
	return s
}

// instance is an instance, which runs unless its fields say something else.
func instance(id int, service, fields string) (key, value string) {
	if !strings.Contains(fields, "status") {
		fields += `, "status": "running"`
	}
	return fmt.Sprintf("instances/node-1/%012d", id), fmt.Sprintf(
		`{"id": "%012d", "node": "node-1", "app": "shop", "service": %q, "host": "10.0.2.10", %s}`, id, service, fields)
}

// published is a port 3000 that is published.
const published = `"ports": [{"name": "http", "protocol": "tcp", "container": 3000, "bindings": [{"ip": "10.0.2.10", "port": %d}]}]`

func rack(instances ...func() (string, string)) map[string]string {
	all := map[string]string{
		"services/shop/web":       `{"app": "shop", "service": "web", "ports": [{"name": "https", "protocol": "tcp", "container": 3001, "scheme": "https"}]}`,
		"services/shop/worker":    `{"app": "shop", "service": "worker", "links": ["web"], "resources": ["db", "cache:REDIS_URL"]}`,
		"services/shop/idle":      `{"app": "shop", "service": "idle"}`,
		"services/auth/api":       `{"app": "auth", "service": "api"}`,
		"resources/shop/db":       `{"app": "shop", "name": "db", "type": "mysql", "host": "000000000009"}`,
		"resources/shop/cache":    `{"app": "shop", "name": "cache", "type": "redis", "host": "cache.example"}`,
		"resources/@rack/log":     `{"app": "", "name": "log", "type": "syslog", "links": ["shop/idle", "auth"]}`,
		"resources/@rack/hooks-1": `{"app": "", "name": "hooks-1", "type": "webhook", "links": ["shop"]}`,
	}
	for _, i := range instances {
		k, v := i()
		all[k] = v
	}
	return all
}

func with(id int, service, fields string) func() (string, string) {
	return func() (string, string) { return instance(id, service, fields) }
}

func TestFromRegistry(t *testing.T) {
	t.Parallel()
	s := snapshot(t, rack(
		with(1, "worker", `"release": "R1", "started": "2026-11-20T09:00:00Z", "links": ["api", "web"]`),
		with(2, "worker", `"release": "R2", "started": "2026-11-20T10:00:00Z", "links": ["idle"]`),
		with(3, "worker", `"release": "R3", "started": "2026-11-20T11:00:00Z", "status": "exited"`),
		with(4, "api", `"ports": [{"protocol": "udp", "container": 53}, {"protocol": "tcp", "container": 9000}, {"name": "http", "protocol": "tcp", "container": 9001}]`),
		with(5, "dns", `"ports": [{"protocol": "udp", "container": 53}]`),
		with(6, "plain", `"ports": [{"protocol": "tcp", "container": 9002}, {"protocol": "tcp", "container": 9001}]`),
	))
	got, err := env.FromRegistry(s, "acme", "shop", "worker")
	if err != nil {
		t.Fatal(err)
	}
	got.Endpoint, got.Connect = nil, nil
	want := &env.Input{
		Rack: "acme", App: "shop", Service: "worker", Release: "R2",
		Services: []env.Service{
			{Name: "api", Port: 9001, Scheme: "http"},
			{Name: "dns", Port: 53, Scheme: "udp"},
			{Name: "idle"},
			{Name: "plain", Port: 9001},
			{Name: "web", Port: 3001, Scheme: "https"},
			{Name: "worker", Links: []string{"web", "api", "idle"}, Resources: []env.ResourceRef{{Name: "db"}, {Name: "cache", Env: "REDIS_URL"}, {Name: "hooks-1"}}},
		},
		Resources: []env.Resource{
			{Name: "cache", Type: "redis"}, {Name: "db", Type: "mysql"}, {Name: "hooks-1", Type: "webhook", OfRack: true},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got.Fill(map[string]string{"db": "mysql://h", "hooks-1": "not this"}, map[string]string{"hooks-1": "https://h", "db": "not this"})
	var urls []string
	for _, r := range got.Resources {
		urls = append(urls, r.URL)
	}
	if d := cmp.Diff([]string{"", "mysql://h", "https://h"}, urls); d != "" {
		t.Error(d)
	}
}

// A link's URL is the same however many instances its target has, and wherever
// they are; a resource's is, whatever container it is.
func TestURLOutlivesInstances(t *testing.T) {
	t.Parallel()
	moved := func(id int, service, fields string) func() (string, string) {
		return func() (string, string) {
			k, v := instance(id, service, fields)
			return strings.Replace(k, "node-1", "node-2", 1), strings.NewReplacer("node-1", "node-2", "10.0.2.10", "10.0.3.87").Replace(v)
		}
	}
	port := func(n int) string { return fmt.Sprintf(published, n) }
	database := func(n int) string { return `"resource": {"type": "mysql", "name": "db"}, ` + port(n) }
	want := map[string]string{
		"WEB_URL": "https://web.shop.acme.convox:3001", "DB_URL": "mysql://app:s3cret@db.resource.shop.acme.convox:3306/app",
	}
	for name, entries := range map[string]map[string]string{
		"none":    rack(),
		"one":     rack(with(1, "web", port(47889)), with(9, "db", database(1))),
		"several": rack(with(1, "web", port(47889)), with(2, "web", port(47890)), moved(3, "web", port(32768)), with(9, "db", database(1))),
		"moved":   rack(moved(4, "web", port(32769)), moved(8, "db", database(2))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, err := env.FromRegistry(snapshot(t, entries), "acme", "shop", "worker")
			if err != nil {
				t.Fatal(err)
			}
			in.Suffix = "convox"
			in.Fill(map[string]string{"db": want["DB_URL"], "cache": "redis://cache.example/0"}, map[string]string{"hooks-1": "https://hooks.example"})
			all, err := in.Variables()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, v := range all {
				if want[v.Name] != "" {
					got[v.Name] = v.Value
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFromRegistryErrors(t *testing.T) {
	t.Parallel()
	twice := rack()
	twice["resources/@rack/db"] = `{"app": "", "name": "db", "type": "mysql", "links": ["shop"]}`
	for _, c := range []struct {
		name         string
		entries      map[string]string
		app, service string
		want         string
	}{
		{"unknown app", rack(), "shoop", "web", `app "shoop": there is none in the rack; there are auth and shop; did you mean shop?`},
		{"no app", nil, "shop", "web", `app "shop": there is none in the rack, nor any other`},
		{"unknown service", rack(), "shop", "www", `service "www": there is none in app shop; there are idle, web and worker`},
		{"a resource of the app and one of the rack", twice, "shop", "worker", `service worker: its app and the rack each have a resource db for it`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := env.FromRegistry(snapshot(t, c.entries), "acme", c.app, c.service)
			if err == nil || err.Error() != c.want {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

func TestViaHost(t *testing.T) {
	t.Parallel()
	at := func(port int) string { return fmt.Sprintf(published, port) }
	for _, c := range []struct {
		name      string
		instances []func() (string, string)
		want      []string
		err       string
	}{
		{"nothing", nil, nil, "no instance of it serves"},
		{"not serving", []func() (string, string){with(1, "one", at(1)+`, "health": "starting"`)}, nil, "no instance of it serves"},
		{"not published", []func() (string, string){with(1, "one", `"ports": [{"protocol": "tcp", "container": 3000}]`)}, nil, "none of its 1 serving instances has published port 3000"},
		{"another port", []func() (string, string){with(1, "one", `"ports": [{"protocol": "tcp", "container": 99, "bindings": [{"ip": "10.0.2.10", "port": 1}]}]`)}, nil, "none of its 1 serving instances has published port 3000"},
		{"published", []func() (string, string){with(1, "one", at(47889))}, []string{"10.0.2.10:47889"}, ""},
		{"several", []func() (string, string){with(1, "one", at(1)), with(2, "one", at(2))}, []string{"10.0.2.10:1", "10.0.2.10:2"}, ""},
		{"the lowest priority", []func() (string, string){
			with(1, "one", at(1)+`, "priority": 5`), with(2, "one", at(2)+`, "priority": 1`), with(3, "one", at(3)+`, "priority": 2`),
		}, []string{"10.0.2.10:2"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			entries := map[string]string{"services/shop/one": `{"app": "shop", "service": "one", "ports": [{"protocol": "tcp", "container": 3000}]}`}
			for _, i := range c.instances {
				k, v := i()
				entries[k] = v
			}
			in, err := env.FromRegistry(snapshot(t, entries), "acme", "shop", "one")
			if err != nil {
				t.Fatal(err)
			}
			got := map[netip.AddrPort]bool{}
			for range 100 {
				a, err := in.Endpoint("one")
				if c.err != "" {
					if err == nil || err.Error() != c.err {
						t.Errorf("%v, want %s", err, c.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got[a] = true
			}
			var all []string
			for a := range got {
				all = append(all, a.String())
			}
			slices.Sort(all)
			if d := cmp.Diff(c.want, all); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestViaConnect(t *testing.T) {
	t.Parallel()
	s := snapshot(t, rack(
		with(1, "worker", `"connect": {"6002": "web", "6001": "web", "6003": "idle.shop", "6004": "api.auth"}`),
		with(2, "worker", `"connect": {"6005": "worker.shop.acme.convox"}`),
	))
	in, err := env.FromRegistry(s, "acme", "shop", "worker")
	if err != nil {
		t.Fatal(err)
	}
	in.Suffix = "convox"
	for service, want := range map[string]uint16{"web": 6001, "idle": 6003, "worker": 6005, "api": 0} {
		if got, ok := in.Connect(service); got != want || ok != (want != 0) {
			t.Errorf("%s: %d, %t; want %d", service, got, ok, want)
		}
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	all := []env.Dependency{
		{Name: "web"}, {Name: "idle"}, {Name: "gone"},
		{Name: "db", Resource: &env.Resource{}}, {Name: "cache", Resource: &env.Resource{}}, {Name: "new", Resource: &env.Resource{}},
	}
	for _, c := range []struct {
		name      string
		instances []func() (string, string)
		want      string
	}{
		{"nothing runs", nil, "web idle gone db new"},
		{"not yet healthy", []func() (string, string){with(1, "web", `"health": "starting"`)}, "web idle gone db new"},
		{"some run", []func() (string, string){with(1, "web", `"health": "healthy"`), with(9, "database", `"health": ""`)}, "idle gone new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := &env.Input{App: "shop"}
			var got []string
			for _, d := range in.Waiting(snapshot(t, rack(c.instances...)), all) {
				got = append(got, d.Name)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
		})
	}
}

func TestInstanceOf(t *testing.T) {
	t.Parallel()
	s := snapshot(t, rack(with(7, "web", `"release": "R7"`)))
	if i := env.InstanceOf(s, "000000000007"); i == nil || i.Service() != "web" {
		t.Errorf("%v, want an instance of web", i)
	}
	if i := env.InstanceOf(s, "000000000008"); i != nil {
		t.Errorf("%v, want none", i)
	}
}
