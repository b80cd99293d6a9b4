package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"
)

// shellImage is the image of the tests' own program, with a shell and the little
// that a script needs.
var shellImage = sync.OnceValues(func() (string, error) {
	path, err := containerBinary()
	if err != nil {
		return "", err
	}
	files := map[string]string{"container": path}
	for name, program := range map[string]string{"bin/sh": "/bin/dash", "bin/cat": "/bin/cat", "bin/sleep": "/bin/sleep"} {
		files[name] = program
		addLibraries(files, program)
	}
	return importImage("rackdns-test-shell:"+runID, files, "ENV PATH=/bin")
})

// What the manifest says of a service's containers is what they are.
func TestUpManifest(t *testing.T) {
	t.Parallel()
	with, err := shellImage()
	if err != nil {
		t.Fatal(err)
	}
	without, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.shipped = true
	a.write("motd", "hello\n")
	manifest := `services:
  web:
    image: ` + with + `
    entrypoint: /container
    command: -http 3000 -tcp '4000'
    port: 3000
    health: /
    drain: 3
    termination: {grace: 7}
    init: true
    dnsConfig: {ndots: 2}
    labels: {team: shop}
    annotations: [example.org/owner=shop]
    scale: {count: 1, cpu: 512, memory: 64, limit: {cpu: 500, memory: 128}}
    volumes: [/data, 'files:/files', './motd:/motd:ro']
    volumeOptions: [{emptyDir: {id: tmp, medium: Memory, mountPath: /scratch}}]
    environment: ['*']
  worker:
    image: ` + with + `
    command: cat /motd > /files/said && exec sleep $LONG
    environment: {LONG: 1000}
    volumes: ['files:/files', './motd:/motd']
    health: false
`
	a.write("convox.yml", manifest)
	a.write(".env", "GIVEN=yes\n")
	a.run("up")

	web := a.one("web").inspect()
	h := web.HostConfig
	if d := cmp.Diff([]any{7, true, int64(512), int64(500_000_000), int64(128 << 20), int64(64 << 20), "shop", "shop"},
		[]any{*web.Config.StopTimeout, *h.Init, h.CPUShares, h.NanoCPUs, h.Memory, h.MemoryReservation, web.Config.Labels["team"], web.Config.Labels["example.org/owner"]}); d != "" {
		t.Errorf("settings (-want +got):\n%s", d)
	}
	if len(h.DNSOptions) != 1 || h.DNSOptions[0] != "ndots:2" {
		t.Errorf("options of the resolver: %v", h.DNSOptions)
	}
	if got := a.one("web").environment("GIVEN"); got != "yes" {
		t.Errorf("GIVEN is %q: not all of the environment was inherited", got)
	}
	if test := a.one("worker").inspect().Config.Healthcheck; test == nil || test.Test[0] != "NONE" {
		t.Errorf("the worker's health check is %v", test)
	}
	eventually(t, "the worker's script has run", func() error {
		got, err := a.one("web").exec("cat", "/files/said")
		if err == nil && got != "hello" {
			err = fmt.Errorf("it has written %q", got)
		}
		return err
	})
	if _, err := a.one("web").exec("sh", "-c", "echo kept > /data/x && echo > /scratch/x"); err != nil {
		t.Fatal(err)
	}

	// What is in volumes stays, what is scratch doesn't, and the host's file can't
	// be written.
	a.write("convox.yml", strings.Replace(manifest, "ndots: 2", "ndots: 3", 1))
	a.run("up")
	if got, err := a.one("web").exec("cat", "/data/x", "/files/said"); err != nil || got != "kept\nhello" {
		t.Errorf("after a change the volumes have %q, %v", got, err)
	}
	for _, script := range []string{"echo > /motd", "cat /scratch/x"} {
		if out, err := a.one("web").exec("sh", "-c", script); err == nil {
			t.Errorf("%s: is no error: %s", script, out)
		}
	}
	ids := a.ids()
	if out := a.run("up"); strings.Count(out, "unchanged") != 2 {
		t.Errorf("up again printed\n%s", out)
	}

	// What only a shell can run isn't tried where there is none.
	a.write("convox.yml", "services:\n  web: {image: "+without+", command: 'cat $HOME'}\n")
	out, errOut, code := completed(t, a.command("up"))
	if want := "web: its command is more than words, and image " + without + " has no /bin/sh"; code != 2 || !strings.Contains(errOut, want) {
		t.Errorf("without a shell: exit code %d\n%s%s", code, out, errOut)
	}
	if d := cmp.Diff(ids, a.ids()); d != "" {
		t.Errorf("containers (-before +after):\n%s", d)
	}

	// The data outlive the app until they are told to go.
	a.run("down")
	if n := len(a.volumes()); n != 2 {
		t.Errorf("volumes %v, want two", a.volumes())
	}
	a.run("down", "--volumes", "--yes")
	if left := a.volumes(); len(left) != 0 {
		t.Errorf("volumes %v are left", left)
	}
}

// A service that isn't alive any more is started again, and one that is not
// healthy is not.
func TestUpLiveness(t *testing.T) {
	t.Parallel()
	with, err := shellImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.shipped = true
	// Port 3000 ends with the process that serves it, and the first one stays.
	a.write("convox.yml", `services:
  web:
    image: `+with+`
    entrypoint: [/bin/sh, -c, "echo begun >> /begun; /container & echo $! > /pid; while :; do sleep 1; done"]
    port: 3000
    liveness: {path: /, interval: 1, timeout: 1, grace: 1, failureThreshold: 2}
`)
	a.run("up")
	web := a.one("web")
	if _, err := web.exec("sh", "-c", "kill -9 $(cat /pid)"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the container is started again", func() error {
		if n := web.inspect().RestartCount; n != 1 {
			return fmt.Errorf("%d restarts", n)
		}
		return nil
	})
	eventually(t, "it is healthy again", func() error {
		if is := web.inspect().State; is.Health == nil || is.Health.Status != container.Healthy {
			return fmt.Errorf("it is %+v", is.Health)
		}
		return nil
	})
}

// Keys that have no effect are one line, or each one with its reason; variables
// that are missing are one error.
func TestUpSays(t *testing.T) {
	t.Parallel()
	image, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, startRack(t, newBridge(t)))
	a.write("convox.yml", "services:\n  web: {image: "+image+", port: 3000, domain: shop.example.org, sticky: true, environment: [A, B]}\n  two: {image: "+image+", environment: [B], sticky: true}\n")
	for _, verbose := range []bool{false, true} {
		var args []string
		want := "rackdns: convox.yml: has no effect on a plain host: domain, sticky (--verbose says why)\n"
		if verbose {
			args = []string{"--verbose"}
			const why = ": has no effect: no load balancer is made here; names lead to the instances themselves\n"
			want = "rackdns: convox.yml:2: services.web.domain" + why + "rackdns: convox.yml:2: services.web.sticky" + why + "rackdns: convox.yml:3: services.two.sticky" + why
		}
		want += "rackdns: convox.yml: services list what neither the manifest nor the app's environment gives a value: A (web), B (web, two)\n"
		out, errOut, code := completed(t, a.command("up", args...))
		if code != 2 || errOut != want {
			t.Errorf("exit code %d, %s\nstderr (-want +got):\n%s", code, out, cmp.Diff(want, errOut))
		}
	}
	if _, err := os.Stat(filepath.Join(a.dir, "convox.yml")); err != nil || len(a.ids()) != 0 {
		t.Errorf("%v, containers %v", err, a.ids())
	}
}
