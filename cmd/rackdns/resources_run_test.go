package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/engine"
	"github.com/rackdns/rackdns/internal/resource/engine/enginetest"
)

// A resource that is run here, from its making to its end: what fails on the
// way changes nothing, neither on the engine nor in the registry.
func TestResourceRunsHere(t *testing.T) {
	t.Parallel()
	rack := enginetest.New(t)
	etcd := etcdtest.Start(t, 1, nil)
	// run runs a command and returns what it prints, its error included.
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		cmd := rootCommand()
		cmd.SetArgs(append([]string{"resources"}, append(args, "--rack", rack.Name, "--etcd", etcd.Endpoints()[0])...))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			out.WriteString(oneLine(err.Error()))
		}
		return out.String()
	}
	says := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	client, err := registry.Open(registry.Config{Endpoints: etcd.Endpoints(), Rack: rack.Name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	declared := func() *registry.Declared {
		t.Helper()
		d, err := client.Declared(context.Background(), "", true)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	// isAt checks that the container that runs is the one that is declared.
	isAt := func() string {
		t.Helper()
		is := rack.Containers()
		ids := slices.Collect(maps.Keys(is))
		d := declared().Resources["db"]
		if len(ids) != 1 || is[ids[0]] != "running" || d == nil || d.Host != ids[0] || d.Port != 5432 {
			t.Fatalf("containers %v, declared %+v", is, d)
		}
		return ids[0]
	}
	nothing := func() {
		t.Helper()
		if d := declared(); len(rack.Containers())+len(rack.Volumes())+len(d.Resources)+len(d.Secrets) > 0 {
			t.Errorf("left: %v, %v, %v", rack.Containers(), rack.Volumes(), d)
		}
	}

	says(run("create", "postgres", "--name", "db", "Image="+rack.Name, "Version=bad"), "container "+rack.Name+"-db: ended at once")
	nothing()
	says(run("create", "postgres", "--name", "db", "Image="+rack.Name+":good", "Username=me"), "Creating resource... OK, db\n")
	first := isAt()
	url := declared().Secrets["db"]
	password := strings.TrimPrefix(strings.Split(url, "@")[0], "postgres://me:")
	if len(password) != 32 || !strings.HasSuffix(url, "@db.resource."+rack.Name+".convox:5432/app?sslmode=disable") {
		t.Errorf("URL %s", url)
	}
	says(run("create", "postgres", "--name", "db", "Image="+rack.Name+":good"), "has one of that name already")
	says(run("info", "db"), url)

	says(run("update", "db", "Username=you"), "option Username: can't be changed any more")
	says(run("update", "db", "Image="+rack.Name, "Version=bad"), "ended at once")
	if isAt() != first {
		t.Error("a failed update replaces the container")
	}
	says(run("update", "db", "Image="+rack.Name, "Version=good"), "Updating db... OK\n")
	if isAt() == first || declared().Secrets["db"] != url {
		t.Errorf("still at %s, or with another URL", first)
	}
	for key, value := range etcdKeys(t, etcd) {
		if strings.HasPrefix(key, "/rackdns/v1/") && strings.Contains(key+value, password) {
			t.Errorf("%s holds credentials", key)
		}
	}

	// Whoever was to settle this one was killed.
	e, err := engine.Open("", rack.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	spec, err := resource.Lookup("postgres").New(map[string]string{"Image": rack.Name + ":good"}, password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Replace(t.Context(), "db", "postgres", spec); err != nil {
		t.Fatal(err)
	}
	says(run("update", "db", "Version=good", "Image="+rack.Name), "Updating db... OK\n")
	isAt()

	run("link", "db", "shop")
	says(run("delete", "db", "--volumes", "--yes"), "resource db: is linked to shop; unlink it first")
	isAt()
	run("unlink", "db", "shop")
	says(run("delete", "db", "--volumes", "--yes"), "Deleting db... OK\n")
	nothing()

	// And so was whoever was to declare these.
	for _, heal := range [][]string{{"create", "postgres", "--name", "db", "Image=" + rack.Name + ":good"}, {"delete", "db"}} {
		if _, err := e.Run(t.Context(), "db", "postgres", spec); err != nil {
			t.Fatal(err)
		}
		if err := client.Edit(t.Context(), "", func(d *registry.Declared) error { d.Secrets["db"] = creating; return nil }); err != nil {
			t.Fatal(err)
		}
		says(run(heal...), "... OK")
		if heal[0] == "create" {
			isAt()
			says(run("delete", "db", "--volumes", "--yes"), "Deleting db... OK\n")
		}
		nothing()
	}

	// Somebody has removed the declaration alone, or written what nobody can read:
	// the data are somebody's.
	says(run("create", "postgres", "--name", "db", "Image="+rack.Name+":good"), "Creating resource... OK, db\n")
	orphan := isAt()
	if _, err := etcd.Client().Put(t.Context(), client.Layout().Resource("", "db"), "{"); err != nil {
		t.Fatal(err)
	}
	const why = "resource db: rack %s has credentials of one, and perhaps its data, though none that can be read: "
	says(run("create", "postgres", "--name", "db", "Image="+rack.Name+":good"), fmt.Sprintf(why, rack.Name)+"choose another name, or remove them for ever with resources delete db --volumes")
	says(run("delete", "db"), fmt.Sprintf(why, rack.Name)+"--volumes removes all of that for ever")
	says(run("delete", "db", "--volumes"), "--volumes: would remove the data of resource db in volume "+rack.Name+"-db for ever, and there is nobody to ask: nothing was changed; say --yes")
	if is := rack.Containers(); is[orphan] != "running" || len(rack.Volumes()) != 1 {
		t.Errorf("containers %v, volumes %v", is, rack.Volumes())
	}
	says(run("delete", "db", "--volumes", "--yes"), "Deleting db... OK\n")
	nothing()
}

func etcdKeys(t *testing.T, etcd *etcdtest.Cluster) map[string]string {
	t.Helper()
	r, err := etcd.Client().Get(context.Background(), "/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range r.Kvs {
		all[string(kv.Key)] = string(kv.Value)
	}
	return all
}
