package test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"
)

// What is wrong is found out before anything is touched.
func TestUpRefuses(t *testing.T) {
	t.Parallel()
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	good := "services: {web: {image: " + ours + ", port: 3000}}\n"
	b := newBridge(t)
	r, quiet := startRack(t, b), startRack(t, nil)
	tests := []struct {
		name, manifest string
		rack           *rack
		args           []string
		want           string
	}{
		{
			"an image that nobody has", "services: {web: {image: \"127.0.0.1:1/none\"}}\n", r, nil,
			"service web: image 127.0.0.1:1/none: is not on this engine and can't be pulled: ",
		},
		{
			"a build of nothing", "services: {web: {build: web}}\n", r, nil,
			"convox.yml:1: service web: build: stat web/Dockerfile: no such file or directory",
		},
		{
			"an option of no resource", "resources: {db: {type: postgres, options: {colour: red}}}\n" + good, r, nil,
			`convox.yml:1: resource db: option "colour": type postgres has none of that name`,
		},
		{
			"a variable that nobody gives", "environment: [TOKEN]\n" + good, r, nil, "convox.yml: ",
		},
		{
			"a service with a resource's name", "resources: {db: {type: redis}}\nservices: {redis-db: {image: " + ours + "}}\n", r, nil,
			"convox.yml:2: service redis-db: resource db has that name too, by its type",
		},
		{
			"left out of DNS", "services: {web: {image: " + ours + ", labels: {rackdns.ignore: \"true\"}}}\n", r, nil,
			"convox.yml:1: service web: label rackdns.ignore: what is left out of DNS can't be seen to serve",
		},
		{
			"another rack's", "services: {web: {image: " + ours + ", labels: {rackdns.rack: other}}}\n", r, nil,
			"convox.yml:1: service web: label rackdns.rack: is rack other, and the app is brought up in rack " + r.name,
		},
		{
			"a mark of ours", "services: {web: {image: " + ours + ", labels: {rackdns.up.id: X}}}\n", r, nil,
			"convox.yml:1: service web: label rackdns.up.id: only rackdns itself sets it",
		},
		{
			"a server that doesn't know the zone", good, quiet, []string{"--dns", b.gateway.String()},
			"--dns " + b.gateway.String() + ": is no DNS server for " + strings.TrimSuffix(quiet.zone, ".") + ": ",
		},
		{
			"no DNS server where containers reach it", good, quiet, nil,
			"no DNS server for " + strings.TrimSuffix(quiet.zone, ".") + " answers at port 53 of ",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, tt.rack)
			a.write("convox.yml", tt.manifest)
			out, errOut, code := completed(t, a.command("up", tt.args...))
			wantCode := 1
			if strings.HasPrefix(tt.want, "convox.yml:") {
				wantCode = 2 // the input is wrong, not the world
			}
			if code != wantCode || !strings.HasPrefix(errOut, "rackdns: "+tt.want) || strings.Count(errOut, "\n") != 1 {
				t.Errorf("exit code %d\n%s%s\nwant %d and one line, %q", code, out, errOut, wantCode, tt.want)
			}
			if got := a.declared(); len(got) > 0 {
				t.Errorf("the registry has %v", got)
			}
			if _, err := a.cli.NetworkInspect(engineContext(t), "rackdns-"+tt.rack.name, network.InspectOptions{}); !errdefs.IsNotFound(err) {
				t.Errorf("there is a network (%v)", err)
			}
		})
	}
}

// On another host of the rack the app's resources aren't made a second time, and
// what is declared stays for as long as one of them runs the app.
func TestUpElsewhere(t *testing.T) {
	t.Parallel()
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.write("convox.yml", "services: {web: {image: "+ours+", port: 3000}}\n")
	a.run("up")
	declared := a.declared()
	a.put("instances/other/0123456789ab", `{"id": "0123456789ab", "node": "other", "app": "`+a.name+`", "service": "redis-cache", "status": "running"}`)
	if out := a.run("down"); !strings.Contains(out, "of node other: what is declared of it stays\n") {
		t.Errorf("down printed\n%s", out)
	}
	if diff := cmp.Diff(declared, a.declared()); diff != "" {
		t.Errorf("declared (-before +after):\n%s", diff)
	}

	a.shipped = true
	a.write("convox.yml", "resources: {cache: {type: redis, options: {image: \""+ours+"\"}}}\nservices: {web: {image: "+ours+"}}\n")
	out, errOut, code := completed(t, a.command("up"))
	if code != 1 || !strings.HasPrefix(errOut, "rackdns: resource cache: is run by node other already") {
		t.Errorf("up with a resource of another node: exit code %d\n%s%s", code, out, errOut)
	}
	if diff := cmp.Diff(declared, a.declared()); diff != "" {
		t.Errorf("declared (-before +after):\n%s", diff)
	}
}

// Without an agent nothing would ever be seen to serve.
func TestUpWithoutAgent(t *testing.T) {
	t.Parallel()
	a := newApp(t, startRack(t, nil, "--docker", "off"))
	a.write("convox.yml", "services: {web: {image: example/web}}\n")
	_, errOut, code := completed(t, a.command("up"))
	want := "rackdns: no agent registers this engine's containers in rack " + a.rack.name + ": start rackdns agent or rackdns standalone\n"
	if code != 1 || errOut != want {
		t.Errorf("exit code %d, %q; want 1, %q", code, errOut, want)
	}
}

// Who interrupts up finds nothing half; somebody else's waits until then.
func TestUpInterrupted(t *testing.T) {
	t.Parallel()
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.shipped = true
	a.write("convox.yml", "services: {web: {image: "+ours+", port: 3000}}\n")
	a.run("up")
	ids := a.ids()

	// It will never be healthy.
	const sick = "services: {web: {image: %s, port: 3000, health: {path: /nothing, interval: 1}}}\n"
	a.write("convox.yml", fmt.Sprintf(sick, ours))
	first := launchCommand(t, a.command("up"))
	eventually(t, "a new container runs", func() error {
		if !strings.Contains(first.out.String(), "web      started ") {
			return errors.New(first.out.String())
		}
		return nil
	})
	second := launchCommand(t, a.command("up", "--timeout", "3s"))
	eventually(t, "another one waits", func() error {
		if want := "waiting for another up or down of app " + a.name + "\n"; second.out.String() != want {
			return errors.New(second.out.String())
		}
		return nil
	})
	first.signal(syscall.SIGINT)
	if err := first.wait(); err != nil {
		t.Fatal(err)
	}
	if want := "rackdns: interrupted; the same again completes it\n"; first.cmd.ProcessState.ExitCode() != 130 || !strings.HasSuffix(first.out.String(), want) {
		t.Errorf("%v, %q; want exit code 130 and %q", first.cmd.ProcessState, first.out, want)
	}
	if err := second.wait(); err != nil {
		t.Fatal(err)
	}
	want := "does not serve after 3s: its health check says "
	if out := second.out.String(); second.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out, want) || !strings.Contains(out, "/nothing: 404 Not Found") {
		t.Errorf("%v, %q; want exit code 1 and %q", second.cmd.ProcessState, out, want)
	}
	if diff := cmp.Diff(ids, a.ids()); diff != "" {
		t.Errorf("containers (-before +after):\n%s", diff)
	}
}

// What was declared by hand is used, and neither changed nor removed.
func TestUpByHand(t *testing.T) {
	t.Parallel()
	ours, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	const url = "redis://:secret@cache.example.com:6379/0"
	create := command(t, "resources", "create", "redis", "--name", "cache", "--app", a.name, "--rack", a.rack.name, "--etcd", a.rack.etcd)
	create.Env = append(create.Env, "RACKDNS_URL="+url)
	if out, errOut, code := completed(t, create); code != 0 {
		t.Fatalf("resources create: exit code %d\n%s%s", code, out, errOut)
	}
	declared := a.declared()
	a.write("convox.yml", fmt.Sprintf("resources:\n  cache: {type: redis}\nservices:\n  worker: {image: %q, resources: [cache]}\n", ours))
	a.run("up")
	if got := a.one("worker").environment("CACHE_URL"); got != url {
		t.Errorf("CACHE_URL is %q, want %q", got, url)
	}
	if n := len(a.containers()); n != 1 {
		t.Errorf("%d containers run, want the worker's alone", n)
	}
	a.write("convox.yml", fmt.Sprintf("services:\n  worker: {image: %q}\n", ours))
	a.run("up")
	a.run("down", "--volumes", "--yes")
	if diff := cmp.Diff(declared, a.declared()); diff != "" {
		t.Errorf("what was declared by hand (-before +after):\n%s", diff)
	}
}
