package convox_test

import (
	"context"
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
	"github.com/rackdns/rackdns/internal/httpapi/convox"
	"github.com/rackdns/rackdns/internal/registry"
)

func serve(t *testing.T, o convox.Options, racks ...*apitest.Rack) http.Handler {
	t.Helper()
	return apitest.Server(t, true, []httpapi.Family{convox.Family(o)}, racks...)
}

func rack(t *testing.T) *apitest.Rack {
	t.Helper()
	web := apitest.Instance("3485248b1d18", "nodejs", "web", "node-1", "10.0.2.10", 47889)
	web.Release, web.Image, web.Started = "RLEUTDHBBKD", "example/web:1", time.Date(2026, 11, 20, 9, 32, 51, 0, time.UTC)
	web.Command = "serve --password hunter2"
	return apitest.NewRack(t, "acme",
		&registry.Node{Node: "node-1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}, Started: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)},
		web, apitest.Instance("8db3b9378db0", "nodejs", "web", "node-2", "10.0.3.87", 32768),
		&registry.Service{App: "nodejs", Service: "worker", Namespace: "nodejs"},
		&registry.Resource{App: "nodejs", Name: "db", Type: "postgres", Host: "10.0.2.99", Port: 5432, Options: map[string]string{"Password": "hunter2", "Database": "app"}},
		&registry.Resource{Name: "cache", Type: "redis", Host: "10.0.2.98", Port: 6379, Links: []string{"nodejs"}},
	)
}

// What Convox's client reads, byte for byte: it knows the keys.
func TestReads(t *testing.T) {
	t.Parallel()
	h := serve(t, convox.Options{}, rack(t), apitest.NewRack(t, "beta"))
	for target, want := range map[string]string{
		"/racks": `[{"name":"acme","status":"running"},{"name":"beta","status":"running"}]`,
		"/system": `{"count":1,"domain":"acme.convox","name":"acme","outputs":{},"parameters":{"Node":"node-1","Zone":"acme.convox"},"provider":"docker",` +
			`"rack-domain":"acme.convox","region":"","status":"running","type":"","version":"20260101000000"}`,
		"/instances":   `[{"agent":true,"cpu":0,"id":"node-1","memory":0,"private-ip":"10.0.2.10","processes":1,"public-ip":"","started":"2026-11-20T09:00:00Z","status":"running"}]`,
		"/apps":        `[{"generation":"2","locked":false,"name":"nodejs","parameters":{},"release":"RLEUTDHBBKD","router":"","status":"running"}` + "]",
		"/apps/nodejs": `{"generation":"2","locked":false,"name":"nodejs","parameters":{},"release":"RLEUTDHBBKD","router":"","status":"running"}`,
		"/apps/nodejs/services": `[{"count":2,"cpu":0,"domain":"web.nodejs.acme.convox","memory":0,"name":"web","nlb":[],"ports":[{"balancer":3000,"certificate":"","container":3000}]},` +
			`{"count":0,"cpu":0,"domain":"","memory":0,"name":"worker","nlb":[],"ports":[]}]`,
		"/apps/nodejs/processes?release=RLEUTDHBBKD": `[{"app":"nodejs","command":"","cpu":0,"host":"10.0.2.10","id":"3485248b1d18","image":"example/web:1","instance":"node-1","memory":0,` +
			`"name":"web","ports":["47889:3000"],"release":"RLEUTDHBBKD","started":"2026-11-20T09:32:51Z","status":"running"}]`,
		"/apps/nodejs/processes?service=worker": `[]`,
		"/apps/nodejs/resources":                `[{"apps":[],"name":"db","parameters":{"Database":"app"},"status":"outside","type":"postgres","url":""}]`,
		"/resources/cache":                      `{"apps":[{"name":"nodejs"}],"name":"cache","parameters":{},"status":"outside","type":"redis","url":""}`,
		"/system/processes":                     `[]`,
	} {
		w := apitest.Get(t, h, target)
		if diff := cmp.Diff(want, strings.TrimSpace(w.Body.String())); w.Code != http.StatusOK || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", target, w.Code, diff)
		}
	}
	for target, status := range map[string]int{
		"/apps/none": 404, "/apps/none/services": 404, "/apps/nodejs/processes/x": 404, "/apps/nodejs/resources/x": 404, "/resources/x": 404,
		"/apps/nodejs/releases": 401, "/apps/nodejs/logs": 401,
	} {
		var e struct{ Error string }
		w := apitest.Get(t, h, target)
		if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code != status || err != nil || e.Error == "" {
			t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, status)
		}
	}
	w := apitest.Do(t, h, apitest.Request(t, http.MethodOptions, "/resources", apitest.Local, ""))
	var types []struct {
		Name       string
		Parameters []struct{ Name, Default, Description string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &types); err != nil || len(types) == 0 || types[0].Name != "memcached" {
		t.Errorf("types: %v %s", err, w.Body)
	}
	// The other rack, as the client asks for it.
	r := apitest.Request(t, http.MethodGet, "/system?", apitest.Local, "")
	r.Header.Set("Rack", "acme/beta")
	if w := apitest.Do(t, h, r); !strings.Contains(w.Body.String(), `"name":"beta"`) {
		t.Errorf("Rack: acme/beta: %s", w.Body)
	}
}

// shown is a release as Convox's client reads it.
type shown struct{ ID, App, Env, Description string }

func post(t *testing.T, h http.Handler, target string, form url.Values, v any) int {
	t.Helper()
	w := apitest.Post(t, h, http.MethodPost, target, apitest.Token, form)
	if w.Code < 400 && v != nil {
		if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
			t.Fatalf("%s: %v: %s", target, err, w.Body)
		}
	}
	return w.Code
}

func read(t *testing.T, h http.Handler, target string, v any) {
	t.Helper()
	w := apitest.Do(t, h, apitest.Request(t, http.MethodGet, target, apitest.Local, apitest.Token))
	if err := json.Unmarshal(w.Body.Bytes(), v); w.Code != http.StatusOK || err != nil {
		t.Fatalf("%s: %d %v: %s", target, w.Code, err, w.Body)
	}
}

// An environment is set whole, as the client sends it, and read back byte for byte
// with its history; one of before can be promoted.
func TestReleases(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	h := serve(t, convox.Options{}, r)
	var all []shown
	if read(t, h, "/apps/shop/releases?limit=1", &all); all == nil || len(all) > 0 {
		t.Errorf("before: %v", all)
	}
	var first, second shown
	env := "A=1\nURL=https://u:p@h/?a=1&b='2'\""
	if code := post(t, h, "/apps/shop/releases", url.Values{"env": {env}, "description": {"env add:A"}}, &first); code != 200 || first.Env != env || first.App != "shop" {
		t.Errorf("%d %+v", code, first)
	}
	post(t, h, "/apps/shop/releases", url.Values{"env": {"A=2"}}, &second)
	if read(t, h, "/apps/shop/releases", &all); len(all) != 2 || all[0].ID != second.ID || all[1].Env != env || all[1].Description != "env add:A" {
		t.Errorf("%+v", all)
	}
	if read(t, h, "/apps/shop/releases?limit=1", &all); len(all) != 1 || all[0].Env != "A=2" {
		t.Errorf("%+v", all)
	}
	var one shown
	if read(t, h, "/apps/shop/releases/"+first.ID, &one); one.Env != env {
		t.Errorf("%+v", one)
	}
	for name, form := range map[string]url.Values{
		"none": {}, "no pair": {"env": {"A"}}, "no name": {"env": {"=x"}}, "a bad name": {"env": {"A-B=x"}},
	} {
		if code := post(t, h, "/apps/shop/releases", form, nil); code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code := post(t, h, "/apps/shop/releases/RNONE/promote", nil, nil); code != http.StatusNotFound {
		t.Errorf("of no release: %d", code)
	}
	if code := post(t, h, "/apps/shop/releases/"+first.ID+"/promote", nil, nil); code != http.StatusOK {
		t.Errorf("promote: %d", code)
	}
	if read(t, h, "/apps/shop/releases?limit=1", &all); all[0].Env != env || all[0].ID == first.ID {
		t.Errorf("after a promotion of the first: %+v", all)
	}
}

// A promotion has what runs here replaced, and the app says that it is updating
// until that is done.
func TestPromotion(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	begun, end := make(chan string, 1), make(chan error)
	h := serve(t, convox.Options{Promote: func(_ context.Context, rack, app string) error {
		begun <- rack + " " + app
		return <-end
	}}, r)
	c, err := r.Registry()
	if err != nil {
		t.Fatal(err)
	}
	host := registry.HostInstance("shop", "web", netip.MustParseAddrPort("10.0.5.1:80"))
	if err := c.Register(t.Context(), host, time.Minute); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		w := apitest.Get(t, h, "/apps/shop")
		var a struct{ Status string }
		_ = json.Unmarshal(w.Body.Bytes(), &a) // an app that isn't there has none
		return a.Status
	}
	until := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); status() != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it is %q, want %q", status(), want)
			}
		}
	}
	until("running")
	var one shown
	post(t, h, "/apps/shop/releases", url.Values{"env": {"A=1"}}, &one)
	if code := post(t, h, "/apps/shop/releases/"+one.ID+"/promote", nil, nil); code != http.StatusOK {
		t.Fatalf("%d", code)
	}
	if got := <-begun; got != "acme shop" {
		t.Errorf("promoted %s", got)
	}
	until("updating")
	end <- fmt.Errorf("it failed")
	until("running")
}

// What isn't served is refused by a sentence that says what to do instead.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	h := serve(t, convox.Options{}, rack(t))
	for _, f := range convox.Family(convox.Options{}).Routes {
		if f.Right != httpapi.Write {
			continue
		}
		method, target, _ := strings.Cut(f.Pattern, " ")
		target = strings.NewReplacer("{app}", "nodejs", "{service}", "web", "{id}", "x", "{name}", "cache", "{release}", "R", "{host}", "h", "{port}", "1").Replace(target)
		w := apitest.Post(t, h, method, target, apitest.Token, nil)
		var e struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code < 400 || err != nil || len(e.Error) < 10 {
			t.Errorf("%s: %d %s", f.Pattern, w.Code, w.Body)
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	h := serve(t, convox.Options{}, r)
	c, err := r.Registry()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Edit(t.Context(), "", func(d *registry.Declared) error {
		d.Resources["cache"] = &registry.Resource{Name: "cache", Type: "redis", Host: "10.0.2.98", Port: 6379}
		d.Secrets["cache"] = "redis://:hunter2@10.0.2.98:6379/0"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var one struct {
		URL  string
		Apps []struct{ Name string }
	}
	if code := post(t, h, "/resources/cache/links", url.Values{"app": {"shop"}}, &one); code != 200 || len(one.Apps) != 1 || one.Apps[0].Name != "shop" {
		t.Errorf("%d %+v", code, one)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		w := apitest.Do(t, h, apitest.Request(t, http.MethodGet, "/resources/cache", apitest.Local, apitest.Token))
		if w.Code == http.StatusOK && strings.Contains(w.Body.String(), `"apps":[{"name":"shop"}]`) && strings.Contains(w.Body.String(), "hunter2") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if w := apitest.Get(t, h, "/resources/cache"); strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("without a token: %s", w.Body)
	}
	if w := apitest.Post(t, h, http.MethodDelete, "/resources/cache/links/shop", apitest.Token, nil); w.Code != http.StatusOK {
		t.Errorf("unlink: %d %s", w.Code, w.Body)
	}
	if w := apitest.Post(t, h, http.MethodDelete, "/resources/cache/links/shop", apitest.Token, nil); w.Code != http.StatusConflict {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
	if code := post(t, h, "/resources/none/links", url.Values{"app": {"shop"}}, nil); code != http.StatusNotFound {
		t.Errorf("of none: %d", code)
	}
}
