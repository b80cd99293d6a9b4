package deploy

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/registry"
)

// wanted works out what a manifest wants of app shop in rack acme.
func wanted(t *testing.T, text string, given, secrets map[string]string) (*up, error) {
	t.Helper()
	d := &registry.Declared{Secrets: secrets, Resources: map[string]*registry.Resource{}}
	for name := range secrets {
		d.Resources[name] = &registry.Resource{App: "shop", Name: name, Manager: registry.ManagerUp}
	}
	return wantedBeside(t, text, given, d)
}

// wantedBeside is wanted for an app of which something is declared.
func wantedBeside(t *testing.T, text string, given map[string]string, d *registry.Declared) (*up, error) {
	t.Helper()
	m, err := manifest.Parse("convox.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &up{
		cfg: UpConfig{
			Manifest: m, Suffix: "convox", Given: given,
			Ask: func(string) (string, bool) { return "", false },
		},
		site:     site{rack: "acme", app: "shop"},
		progress: progress{w: io.Discard},
		urls:     map[string]string{},
		declared: registry.Declared{Services: map[string]*registry.Service{}, Resources: map[string]*registry.Resource{}},
	}
	u.env = u.input()
	u.takeByHand(d)
	resources, err := u.resources(context.Background(), d.Secrets)
	if err != nil {
		return nil, err
	}
	u.env.Fill(u.urls, nil)
	services, err := u.services(resources)
	u.components = slices.Concat(resources, services)
	return u, err
}

const wantShop = `
resources:
  db: {type: postgres}
services:
  web:
    image: example/web
    port: https:3000
    ports: [9000, 53/udp]
    health: {path: /health, interval: 2, timeout: 1, grace: 3}
    labels: {rackdns.weight: "3", rackdns.port.9000: metrics, rackdns.app: other}
    scale: 2
  worker:
    image: example/worker
    command: run --now
    internal: true
    links: [web]
    resources: [db, "db:DATABASE_URL"]
`

func TestWant(t *testing.T) {
	t.Parallel()
	u, err := wanted(t, wantShop, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]string{"rackdns.up.rack": "acme", "rackdns.app": "shop"}
	with := func(more ...string) map[string]string {
		all := map[string]string{}
		for k, v := range own {
			all[k] = v
		}
		for n := 0; n < len(more); n += 2 {
			all[more[n]] = more[n+1]
		}
		return all
	}
	want := []*component{
		{
			name: "db", service: "postgres-db", resource: true, only: ownData, count: 1, image: "postgres:17",
			spec: spec{
				Labels: with("rackdns.service", "postgres-db", "rackdns.resource", "postgres", "rackdns.resource.name", "db"),
				Ports:  []string{"5432/tcp"}, Volume: "acme.shop.db", Data: "/var/lib/postgresql/pgdata",
				Health: &check{URL: "postgres://postgres@:5432/app", Interval: 2 * time.Second, Timeout: 5 * time.Second, Grace: time.Minute},
			},
		},
		{
			name: "web", service: "web", count: 2, image: "example/web",
			spec: spec{
				Labels: with("rackdns.service", "web", "rackdns.weight", "3", "rackdns.port.3000", "https", "rackdns.port.9000", "metrics"),
				Ports:  []string{"3000/tcp", "9000/tcp", "53/udp"}, Published: true,
				Health: &check{URL: "https://127.0.0.1:3000/health", Interval: 2 * time.Second, Timeout: time.Second, Grace: 3 * time.Second},
			},
		},
		{
			name: "worker", service: "worker", count: 1, image: "example/worker",
			spec: spec{Command: []string{"run", "--now"}, Labels: with("rackdns.service", "worker", "rackdns.links", "web")},
		},
	}
	if diff := cmp.Diff(want, u.components, cmp.AllowUnexported(spec{}, mounted{}, component{}), cmpopts.IgnoreFields(component{}, "environment", "kind", "made", "space")); diff != "" {
		t.Errorf("components (-want +got):\n%s", diff)
	}
	if got := u.components[0].space; got != alone {
		t.Errorf("a resource has room %+v", got)
	}
	wantServices := map[string]*registry.Service{
		"web": {App: "shop", Service: "web", Namespace: "shop", Links: []string{}, Resources: []string{}, Ports: []registry.ServicePort{
			{Name: "https", Protocol: "tcp", Container: 3000, Scheme: "https"},
			{Protocol: "tcp", Container: 9000},
			{Protocol: "udp", Container: 53},
		}},
		"worker": {
			App: "shop", Service: "worker", Namespace: "shop", Ports: []registry.ServicePort{},
			Links: []string{"web"}, Resources: []string{"db", "db:DATABASE_URL"},
		},
	}
	if diff := cmp.Diff(wantServices, u.declared.Services); diff != "" {
		t.Errorf("declared services (-want +got):\n%s", diff)
	}
	if db := u.declared.Resources["db"]; db == nil || db.Host != "" || db.Port != 5432 || db.Type != "postgres" {
		t.Errorf("declared resource %+v", db)
	}
}

// The data were made with a password, so it is made once.
func TestPasswordStays(t *testing.T) {
	t.Parallel()
	first, err := wanted(t, wantShop, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := wanted(t, wantShop, nil, first.urls)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.urls, again.urls); diff != "" {
		t.Errorf("URLs (-first +again):\n%s", diff)
	}
	db := first.components[0]
	if err := db.complete(); err != nil {
		t.Fatal(err)
	}
	if hidden := strings.NewReplacer(db.passwords()...); hidden.Replace(first.urls["db"]) != "postgres://postgres:(password)@db.resource.shop.acme.convox:5432/app?sslmode=disable" {
		t.Error("the password would be shown in what the container says")
	}
	other, err := wanted(t, wantShop, nil, map[string]string{"db": "postgres://me:secret@db.example.com:5432/app"})
	if err != nil {
		t.Fatal(err)
	}
	if got := other.urls["db"]; strings.Contains(got, "secret") || got == first.urls["db"] {
		t.Errorf("URL %s: its password is another's", got)
	}
	for _, o := range first.declared.Resources["db"].Options {
		if strings.Contains(first.urls["db"], ":"+o+"@") {
			t.Error("the password is among the options that are declared")
		}
	}
}

// Where the user says where a resource is nothing is run for it.
func TestOutside(t *testing.T) {
	t.Parallel()
	u, err := wanted(t, wantShop, map[string]string{"DB_URL": "postgres://me:secret@db.example.com/app"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := u.components[0]; c.resource {
		t.Errorf("%s is to be run", c)
	}
	if len(u.urls) > 0 {
		t.Error("its URL is to be kept")
	}
	want := &registry.Resource{App: "shop", Name: "db", Type: "postgres", Host: "db.example.com", Port: 5432, Manager: registry.ManagerUp, Options: map[string]string{}}
	if diff := cmp.Diff(want, u.declared.Resources["db"]); diff != "" {
		t.Errorf("declared (-want +got):\n%s", diff)
	}
}

// A resource that was declared by hand is elsewhere as well, and stays as it was
// declared.
func TestByHand(t *testing.T) {
	t.Parallel()
	const url = "postgres://me:secret@db.example.com/app"
	d := &registry.Declared{
		Resources: map[string]*registry.Resource{"db": {App: "shop", Name: "db", Type: "oracle"}, "other": {App: "shop", Name: "other"}},
		Secrets:   map[string]string{"db": url, "other": "http://other.example.com"},
	}
	u, err := wantedBeside(t, wantShop, nil, d)
	if err != nil {
		t.Fatal(err)
	}
	if c := u.components[0]; c.resource {
		t.Errorf("%s is to be run", c)
	}
	if len(u.urls) > 0 || len(u.declared.Resources) > 0 {
		t.Errorf("it is to be declared anew: %v", u.declared.Resources)
	}
	variables, err := u.environmentOf("worker", "")
	if err != nil || !slices.Contains(variables, "DB_URL="+url) {
		t.Errorf("worker is given %v, %v", variables, err)
	}
	if slices.ContainsFunc(variables, func(v string) bool { return strings.HasPrefix(v, "OTHER") }) {
		t.Errorf("worker is given what it doesn't list: %v", variables)
	}
}
