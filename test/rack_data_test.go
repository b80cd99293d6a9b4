package test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
)

// newRackResources returns what the resources of a rack are made in: the directory
// of an app.
func newRackResources(t *testing.T) *app {
	t.Helper()
	a := newApp(t, startRack(t, newBridge(t)))
	a.shipped = true
	t.Cleanup(func() {
		ctx := engineContext(t)
		own := filters.NewArgs(filters.Arg("label", "rackdns.rack="+a.rack.name))
		list, err := a.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: own})
		if err != nil {
			t.Error(err)
		}
		for _, c := range list {
			if err := a.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !errdefs.IsNotFound(err) {
				t.Error(err)
			}
		}
		volumes, err := a.cli.VolumeList(ctx, volume.ListOptions{Filters: own})
		if err != nil {
			t.Error(err)
		}
		for _, v := range volumes.Volumes {
			if err := a.cli.VolumeRemove(ctx, v.Name, true); err != nil {
				t.Error(err)
			}
		}
	})
	return a
}

// resources prepares a command about the rack's resources.
func (a *app) resources(args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := a.data("resources", args...)
	static, err := staticBinary()
	if err != nil {
		a.t.Fatal(err)
	}
	cmd.Path, cmd.Args[0] = static, static
	return cmd
}

// container finds one by its name.
func (a *app) container(name string) *instance {
	a.t.Helper()
	is, err := a.cli.ContainerInspect(engineContext(a.t), name)
	if err != nil {
		a.t.Fatal(err)
	}
	return &instance{id: is.ID[:12], name: name, cli: a.cli, net: &bridge{name: "rackdns-" + a.rack.name}, t: a.t}
}

// The data of a rack's resource live longer than it, and its password as long as
// they do; what may not be changed is refused as for an app's.
func TestResourcesKeepData(t *testing.T) {
	t.Parallel()
	d := databases[0]
	ref := d.need(t)
	a := newRackResources(t)
	does := func(args ...string) (stdout, stderr string) {
		t.Helper()
		out, errOut, code := completed(t, a.resources(args...))
		if code != 0 {
			t.Fatalf("%v: exit code %d\n%s%s", args, code, out, errOut)
		}
		return out, errOut
	}
	account := func() *url.URL {
		t.Helper()
		out, _ := does("info", "db")
		for line := range strings.Lines(out) {
			if at, ok := strings.CutPrefix(line, "URL"); ok {
				u, err := url.Parse(strings.TrimSpace(at))
				if err != nil {
					t.Fatal(err)
				}
				return u
			}
		}
		t.Fatalf("no URL in\n%s", out)
		return nil
	}
	query := func(statement string) string {
		t.Helper()
		u := account()
		password, _ := u.User.Password()
		got, err := d.rows(a.container(a.rack.name+"-db"), u.User.Username(), password, strings.TrimPrefix(u.Path, "/"), statement)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	does("create", "postgres", "--name", "db", "Image="+ref, "Username=me")
	if is := a.container(a.rack.name + "-db").inspect().State.Health; is == nil || is.Status != container.Healthy {
		t.Errorf("health %+v", is)
	}
	query("CREATE TABLE kept (name VARCHAR(9) PRIMARY KEY)")
	query("INSERT INTO kept VALUES ('row')")
	first := account().String()
	kept := func(what string) {
		t.Helper()
		if got := query("SELECT name FROM kept"); got != "row" {
			t.Fatalf("%s: the server has %q", what, got)
		}
	}

	if out, errOut, code := completed(t, a.resources("update", "db", "Username=you")); code != 2 || !strings.Contains(errOut, "option Username: can't be changed any more, since the data were made with me: ") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	if out, errOut, code := completed(t, a.resources("update", "db", "Image="+versioned(t, ref, d.version))); code != 1 || !strings.Contains(errOut, "volume "+a.rack.name+"-db was written by postgres ") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	kept("after what was refused")
	if err := os.WriteFile(filepath.Join(a.dir, "password"), []byte("an'other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	does("update", "db", "--password-file", "password")
	if account().String() == first {
		t.Error("it still has its first password")
	}
	kept("with another password")

	_, said := does("delete", "db")
	if want := "rackdns: its data are kept in volume " + a.rack.name + "-db, with their password: "; !strings.HasPrefix(said, want) {
		t.Errorf("delete says %q, want %q", said, want)
	}
	if out, errOut, code := completed(t, a.resources("create", "redis", "--name", "db")); code != 1 || !strings.Contains(errOut, "of type postgres") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	does("create", "postgres", "--name", "db", "Image="+ref)
	kept("after it was deleted and created")

	backup := a.data("backup", "@rack", "db", "db.dump")
	if out, errOut, code := completed(t, backup); code != 0 || out != "db.dump\n" {
		t.Fatalf("backup: exit code %d\n%s%s", code, out, errOut)
	}
	query("DELETE FROM kept")
	if out, errOut, code := completed(t, a.data("restore", "@rack", "db", "db.dump", "--yes")); code != 0 {
		t.Fatalf("restore: exit code %d\n%s%s", code, out, errOut)
	}
	kept("after a restore")
	does("delete", "db", "--volumes", "--yes")
	if _, err := a.cli.VolumeInspect(engineContext(t), a.rack.name+"-db"); !errdefs.IsNotFound(err) {
		t.Errorf("the volume: %v", err)
	}
}

// Nobody gets at what is run for the rack without a password, but from its own
// host; unless that is said.
func TestResourcesAreClosed(t *testing.T) {
	t.Parallel()
	needTool(t, "redis-server")
	needTool(t, "memcached")
	redis, err := redisServer()
	if err != nil {
		t.Fatal(err)
	}
	memcached, err := memcachedImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newRackResources(t)
	for _, tc := range []struct {
		name, typ, image string
		args             []string
		host             string
		password         bool
		said             string
	}{
		{"cache", "redis", redis, nil, "0.0.0.0", true, ""},
		{"open", "redis", redis, []string{"--open"}, "0.0.0.0", false, "rackdns: this redis has no password: whoever reaches this host can read and write all that is in it\n"},
		{"near", "memcached", memcached, nil, "127.0.0.1", false, ""},
		{"far", "memcached", memcached, []string{"--open"}, "0.0.0.0", false, "rackdns: this memcached has no password: whoever reaches this host can read and write all that is in it\n"},
	} {
		out, errOut, code := completed(t, a.resources(append([]string{"create", tc.typ, "--name", tc.name, "Image=" + tc.image}, tc.args...)...))
		if code != 0 || errOut != tc.said {
			t.Fatalf("%s: exit code %d, %q, want %q\n%s", tc.name, code, errOut, tc.said, out)
		}
		c := a.container(a.rack.name + "-" + tc.name)
		is := c.inspect()
		if is.State.Health == nil || is.State.Health.Status != container.Healthy {
			t.Errorf("%s: health %+v", tc.name, is.State.Health)
		}
		for port, bindings := range is.NetworkSettings.Ports {
			for _, b := range bindings {
				if b.HostIP != tc.host && b.HostIP != "::" {
					t.Errorf("%s: port %s is published at %s, want %s", tc.name, port, b.HostIP, tc.host)
				}
			}
		}
		if tc.typ != "redis" {
			continue
		}
		pong, err := c.exec("redis-cli", "PING")
		if refused := strings.Contains(pong, "NOAUTH"); err != nil || refused != tc.password {
			t.Errorf("%s: PING without a password says %q, %v", tc.name, pong, err)
		}
		if out, err := exec.CommandContext(t.Context(), "ps", "-eo", "args").Output(); tc.password && err == nil {
			for _, kv := range is.Config.Env {
				if password, ok := strings.CutPrefix(kv, "REDIS_PASSWORD="); ok && strings.Contains(string(out), password) {
					t.Errorf("%s: the password is among the arguments of a process", tc.name)
				}
			}
		}
	}
}
