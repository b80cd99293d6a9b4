package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// secretURL is what must never be seen where it doesn't belong.
const secretURL = "postgres://app:d45eea0e492cf51b@db.resource.shop.acme.convox:5432/app"

// declareShop fills in what an app can have one of.
func declareShop(d *registry.Declared) error {
	d.Services["web"] = &registry.Service{
		App: "shop", Service: "web", Namespace: "shop",
		Ports: []registry.ServicePort{{Name: "http", Protocol: "tcp", Container: 3000, Scheme: "http"}},
		Links: []string{"worker"}, Resources: []string{"db:DATABASE_URL"},
	}
	d.Resources["db"] = &registry.Resource{
		App: "shop", Name: "db", Type: "postgres", Host: "10.0.2.7", Port: 5432, Options: map[string]string{"Version": "17"},
	}
	d.Secrets["db"] = secretURL
	return nil
}

func nothing(*registry.Declared) error { return nil }

// revision returns the registry's, which only a write changes.
func revision(t *testing.T, etcd *etcdtest.Cluster) int64 {
	t.Helper()
	r, err := etcd.Client().Get(context.Background(), "any")
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func edit(t *testing.T, c *registry.Client, app string, f func(*registry.Declared) error) {
	t.Helper()
	if err := c.Edit(context.Background(), app, f); err != nil {
		t.Fatal(err)
	}
}

func TestEditAndDeclared(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
	ctx := context.Background()
	want := &registry.Declared{App: "shop", Services: map[string]*registry.Service{}, Resources: map[string]*registry.Resource{}, Secrets: map[string]string{}}
	read := func(app string, secrets bool) *registry.Declared {
		t.Helper()
		d, err := c.Declared(ctx, app, secrets)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if diff := cmp.Diff(want, read("shop", true)); diff != "" {
		t.Errorf("of an empty registry (-want +got):\n%s", diff)
	}
	_ = declareShop(want)
	edit(t, c, "shop", declareShop)
	if diff := cmp.Diff(want, read("shop", true)); diff != "" {
		t.Errorf("after a round trip (-want +got):\n%s", diff)
	}
	want.Secrets = nil
	if diff := cmp.Diff(want, read("shop", false)); diff != "" {
		t.Errorf("without secrets (-want +got):\n%s", diff)
	}
	for key, value := range keys(t, etcd, "/rackdns/v1/") {
		if strings.Contains(key+value, "d45eea0e") {
			t.Errorf("%s holds credentials: %s", key, value)
		}
	}

	// Other apps and the rack are not concerned.
	edit(t, c, "shop2", func(d *registry.Declared) error {
		if len(d.Services)+len(d.Resources)+len(d.Secrets) > 0 {
			t.Errorf("shop2 is shown %+v", d)
		}
		return nil
	})
	edit(t, c, "", func(d *registry.Declared) error {
		d.Resources["db"] = &registry.Resource{Name: "db", Type: "mysql", Links: []string{"shop/web"}}
		return nil
	})
	if r := read("", true).Resources["db"]; r == nil || r.Type != "mysql" || len(r.Links) != 1 {
		t.Errorf("the rack's db is %+v", r)
	}

	at := revision(t, etcd)
	edit(t, c, "shop", declareShop)
	edit(t, c, "shop", nothing)
	if now := revision(t, etcd); now != at {
		t.Errorf("revision %d after %d, though nothing differs", now, at)
	}

	edit(t, c, "shop", func(d *registry.Declared) error {
		clear(d.Services)
		clear(d.Resources)
		clear(d.Secrets)
		return nil
	})
	if left := keys(t, etcd, "/rackdns/"); len(left) != 1 {
		t.Errorf("left: %v, want the rack's db alone", left)
	}
	if now := revision(t, etcd); now != at+1 {
		t.Errorf("removed at revision %d, want all at once at %d", now, at+1)
	}
}

func TestEditErrors(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
	ctx := context.Background()
	edit(t, c, "shop", declareShop)
	at := revision(t, etcd)
	mine := errors.New("not today")
	long := secretURL + strings.Repeat("x", registry.MaxValue)
	for _, tc := range []struct {
		name, app string
		edit      func(*registry.Declared)
		want      string
	}{
		{"its own", "shop", func(d *registry.Declared) { clear(d.Services) }, mine.Error()},
		{"app", "No App", func(*registry.Declared) {}, `app "No App": only a-z, 0-9 and inner dashes make a DNS label`},
		{"reserved app", "dns", func(*registry.Declared) {}, `app "dns": is reserved`},
		{
			"service", "shop", func(d *registry.Declared) { d.Services["web"].Ports[0].Container = 0 }, "port 0: no container listens there",
		},
		{
			"service under another name", "shop", func(d *registry.Declared) { d.Services["www"] = d.Services["web"] },
			`service "web" of app "shop": contradicts its key`,
		},
		{
			"resource of another app", "shop", func(d *registry.Declared) { d.Resources["db"].App = "blog" },
			`resource "db" of app "blog": contradicts its key`,
		},
		{
			"host", "shop", func(d *registry.Declared) { d.Resources["db"].Host = "127.0.0.1" }, "host 127.0.0.1: is a loopback address",
		},
		{
			"secret's name", "shop", func(d *registry.Declared) { d.Secrets["a/b"] = secretURL },
			`resource "a/b": only a-z, 0-9 and inner dashes make a DNS label`,
		},
		{"secret's length", "shop", func(d *registry.Declared) { d.Secrets["db"] = long }, "URL of resource db: value over 64 KiB"},
		{"options", "shop", func(d *registry.Declared) { d.Resources["db"].Options["x"] = long }, "resource db: value over 64 KiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := c.Edit(ctx, tc.app, func(d *registry.Declared) error {
				tc.edit(d)
				if tc.name == "its own" {
					return mine
				}
				return nil
			})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %.200v, want %s", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "d45eea0e") {
				t.Error("the error has credentials in it")
			}
			if now := revision(t, etcd); now != at {
				t.Errorf("something was written at %d", now)
			}
		})
	}
}

// What other programs wrote stays, whether it can be used or not, and keeps
// nobody from changing the rest.
func TestEditLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
	client := etcd.Client()
	for key, value := range map[string]string{
		"v1/acme/services/shop/web":     `{"owner":"me","app":"shop","service":"web","ports":[]}`,
		"v1/acme/resources/shop/db":     `{"type":"mysql","name":"db","app":"shop","backup":{"at":"night"}}`,
		"v1/acme/services/shop/broken":  `{"app":`,
		"v1/acme/services/shop/other":   `{"app":"blog","service":"other"}`,
		"v1/acme/services/shop/No Name": `{"app":"shop","service":"No Name"}`,
		"v1/acme/services/shop/a/b":     `{}`,
		"v1/acme/resources/shop/wide":   `{"app":"shop","name":"wide","type":"x","options":{"x":"` + strings.Repeat("y", registry.MaxValue-70) + `"}}`,
		"v1/acme/resources/shop/c/d":    `{}`,
		"secrets/acme/shop/No Name":     "x",
		"secrets/acme/shop/a/b":         "x",
		"secrets/acme/shop/empty":       "",
	} {
		put(t, client, "/rackdns/"+key, value)
	}
	was := keys(t, etcd, "/rackdns/")
	at := revision(t, etcd)
	if _, err := c.Declared(context.Background(), "shop", false); err != nil {
		t.Fatal(err)
	}
	edit(t, c, "shop", nothing)
	if now := revision(t, etcd); now != at {
		t.Errorf("revision %d after %d, though nothing was changed", now, at)
	}
	edit(t, c, "shop", func(d *registry.Declared) error {
		if len(d.Services) != 1 || len(d.Resources) != 1 || len(d.Secrets) != 1 {
			t.Errorf("shown: %+v", d)
		}
		d.Services["web"].Links = []string{"worker"}
		delete(d.Resources, "db")
		delete(d.Secrets, "empty")
		d.Services["broken"] = &registry.Service{App: "shop", Service: "broken", Namespace: "shop"}
		return nil
	})
	want := was
	want["/rackdns/v1/acme/services/shop/web"] = `{"app":"shop","links":["worker"],"namespace":"shop","owner":"me","ports":[],"resources":null,"service":"web"}`
	want["/rackdns/v1/acme/services/shop/broken"] = `{"app":"shop","service":"broken","namespace":"shop","ports":null,"links":null,"resources":null}`
	delete(want, "/rackdns/v1/acme/resources/shop/db")
	delete(want, "/rackdns/secrets/acme/shop/empty")
	if diff := cmp.Diff(want, keys(t, etcd, "/rackdns/")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// meanwhile makes f run between an edit's reading and its writing, once.
func meanwhile(t *testing.T, c *registry.Client, f func(), change func(*registry.Declared) error) (calls int) {
	t.Helper()
	edit(t, c, "shop", func(d *registry.Declared) error {
		if calls++; calls == 1 {
			f()
		}
		return change(d)
	})
	return calls
}

func TestEditBeginsAgain(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	one, other := open(t, registry.Config{Endpoints: etcd.Endpoints()}), open(t, registry.Config{Endpoints: etcd.Endpoints()})
	add := func(name string) func(*registry.Declared) error {
		return func(d *registry.Declared) error {
			d.Services[name] = &registry.Service{App: "shop", Service: name, Namespace: "shop"}
			return nil
		}
	}
	edit(t, one, "shop", declareShop)
	client := etcd.Client()
	for _, tc := range []struct {
		name  string
		other func()
		calls int
	}{
		{"another key is added", func() { edit(t, other, "shop", add("b")) }, 2},
		{"a key is changed", func() { put(t, client, "/rackdns/secrets/acme/shop/db", secretURL+"?new") }, 2},
		{"the key itself is removed", func() {
			edit(t, other, "shop", func(d *registry.Declared) error { delete(d.Services, "web"); return nil })
		}, 2},
		{"another app is changed", func() { edit(t, other, "shop2", func(d *registry.Declared) error { d.Secrets["x"] = "y"; return nil }) }, 1},
	} {
		// One after the other: each goes on from where the last one ended.
		changed := func(d *registry.Declared) error {
			if d.Services["web"] == nil {
				return add("web")(d)
			}
			d.Services["web"].Links = append(d.Services["web"].Links, "worker")
			return nil
		}
		if calls := meanwhile(t, one, tc.other, changed); calls != tc.calls {
			t.Errorf("%s: %d calls, want %d", tc.name, calls, tc.calls)
		}
	}
	d, err := one.Declared(context.Background(), "shop", true)
	if err != nil {
		t.Fatal(err)
	}
	if d.Services["b"] == nil || d.Services["web"] == nil || d.Secrets["db"] != secretURL+"?new" {
		t.Errorf("a change is lost: %+v", d)
	}
}

// Two that count up never lose a count.
func TestConcurrentEdits(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	const each = 20
	done := make(chan error)
	for range 2 {
		c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
		go func() {
			for range each {
				err := c.Edit(context.Background(), "shop", func(d *registry.Declared) error {
					d.Secrets["count"] += "x"
					return nil
				})
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(keys(t, etcd, "/rackdns/secrets/")["/rackdns/secrets/acme/shop/count"]); n != 2*each {
		t.Errorf("counted to %d, want %d", n, 2*each)
	}
}

// More than fits into one transaction, by number and by size.
func TestEditMuch(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
	for _, tc := range []struct {
		name    string
		n, size int
	}{{"250 small ones", 250, 10}, {"60 large ones", 60, registry.MaxValue}} {
		t.Run(tc.name, func(t *testing.T) {
			other := open(t, registry.Config{Endpoints: etcd.Endpoints()})
			calls := meanwhile(t, c, func() {
				edit(t, other, "shop", func(d *registry.Declared) error { d.Secrets["r0"] = "first"; return nil })
			}, func(d *registry.Declared) error {
				clear(d.Secrets)
				for n := range tc.n {
					d.Secrets[fmt.Sprint("r", n)] = strings.Repeat("x", tc.size)
				}
				return nil
			})
			if calls != 2 {
				t.Errorf("%d calls, want 2", calls)
			}
			if got := keys(t, etcd, "/rackdns/secrets/"); len(got) != tc.n || len(got["/rackdns/secrets/acme/shop/r0"]) != tc.size {
				t.Errorf("%d are there, want %d", len(got), tc.n)
			}
		})
	}
}

func TestDeclaredWithoutTheRight(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	edit(t, open(t, registry.Config{Endpoints: etcd.Endpoints()}), "shop", declareShop)
	u := enableAuth(t, etcd)
	c, ctx := open(t, u.config), context.Background()
	d, err := c.Declared(ctx, "shop", false)
	if err != nil || d.Services["web"] == nil {
		t.Errorf("declared: %+v, %v", d, err)
	}
	_, err = c.Declared(ctx, "shop", true)
	for what, err := range map[string]error{"secrets": err, "edit": c.Edit(ctx, "shop", declareShop)} {
		var said *registry.Error
		if !errors.As(err, &said) || !strings.Contains(err.Error(), `user "reader" has no role that permits it`) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}
