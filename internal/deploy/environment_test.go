package deploy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func TestAsk(t *testing.T) {
	t.Parallel()
	s := &env.Service{Environment: []env.Variable{
		{Name: "SET", Value: "1", Set: true}, {Name: "GIVEN"}, {Name: "ASKED"}, {Name: "NOBODY"}, {Name: "SET"},
	}}
	ask(s, map[string]string{"GIVEN": "2"}, func(name string) (string, bool) { return "3", name != "NOBODY" })
	want := []env.Variable{
		{Name: "SET", Value: "1", Set: true}, {Name: "GIVEN"}, {Name: "ASKED", Value: "3", Set: true}, {Name: "NOBODY"}, {Name: "SET"},
	}
	if diff := cmp.Diff(want, s.Environment); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

// The resources of the rack are for those that they are linked to.
func TestLinkRack(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client, err := registry.Open(registry.Config{Endpoints: etcd.Endpoints(), Rack: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	links := map[string][]string{"mail": {"shop"}, "logs": {"shop/web", "blog"}, "other": {"blog"}, "none": nil}
	err = client.Edit(t.Context(), "", func(d *registry.Declared) error {
		for name, l := range links {
			d.Resources[name] = &registry.Resource{Name: name, Type: "redis", Links: l}
			d.Secrets[name] = "redis://" + name + ":6379/0"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	of := func(u *up, service string) []string {
		list, err := u.environmentOf(service, "R1")
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(list, func(kv string) bool { return !strings.Contains(kv, "_URL=") })
	}
	u, err := wanted(t, "services: {web: {image: example/web}, worker: {image: example/worker}}\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	u.registry = client
	urls, err := u.linkRack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(urls)); !slices.Equal(got, slices.Sorted(maps.Keys(links))) {
		t.Errorf("URLs of %v", got)
	}
	u.env.Fill(nil, urls)
	for service, want := range map[string][]string{
		"web":    {"LOGS_URL=redis://logs:6379/0", "MAIL_URL=redis://mail:6379/0"},
		"worker": {"MAIL_URL=redis://mail:6379/0"},
	} {
		if diff := cmp.Diff(want, of(u, service)); diff != "" {
			t.Errorf("service %s (-want +got):\n%s", service, diff)
		}
	}

	// What of the two a service would get can't be told.
	u, err = wanted(t, "resources: {mail: {type: redis}}\nservices: {web: {image: example/web}}\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	u.registry = client
	if _, err := u.linkRack(t.Context()); err == nil || !strings.Contains(err.Error(), "resource mail: ") {
		t.Errorf("error %v, want one about resource mail", err)
	}
}
