package test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// shop is an app with all that there is: a service that others link to, one
// that uses a resource, and values from outside.
const shop = `
environment:
  - GREETING
resources:
  cache:
    type: redis
    options:
      image: %s
services:
  web:
    image: %s
    command: -linger 2s
    environment:
      - COLOUR=%s
    port: 3000
    health:
      path: /
      interval: 1
      timeout: 30
    scale: 2
  worker:
    image: %[2]s
    links:
      - web
    resources:
      - cache
`

// An app comes up, does its work, is changed while it is used, goes, and comes
// back to its data.
func TestUp(t *testing.T) {
	t.Parallel()
	a, redis, ours := newRedisApp(t)
	r := a.rack
	a.write("convox.yml", fmt.Sprintf(shop, redis, ours, "red"))
	a.write(".env", "GREETING=hello\n")

	a.run("up")
	checkLinks(t, a)
	at := checkRedis(t, a)
	if out, err := a.one("redis-cache").exec("redis-cli", "-u", at, "SET", "key", "value"); err != nil || out != "OK" {
		t.Fatalf("redis: %q %v", out, err)
	}
	checked := run(t, "resources", "check", "--app", a.name, "--rack", r.name, "--etcd", r.etcd, "--node", r.node)
	hasLine(t, checked, "cache", "redis", "answers", ":6379")
	checkUnchanged(t, a)

	a.write("convox.yml", fmt.Sprintf(shop, redis, ours, "blue"))
	before := a.of("web")
	usedMeanwhile(t, r, r.service("web", a.name), func() { a.run("up") })
	for n, c := range a.of("web") {
		if c.id == before[n].id || c.environment("COLOUR") != "blue" || c.environment("RELEASE") == before[n].name {
			t.Errorf("container %s was not replaced", c.name)
		}
	}
	if n := len(a.of("web")); n != 2 {
		t.Errorf("%d containers of web, want 2", n)
	}
	checkBroken(t, a, fmt.Sprintf(shop, redis, ours, "green"))

	a.run("down")
	if left := a.ids(); len(left) != 0 {
		t.Errorf("containers %v are left", left)
	}
	if diff := cmp.Diff([]string{r.name + "." + a.name + ".cache"}, a.volumes()); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
	eventually(t, "the app is gone", func() error { return resolvesToNothing(r, r.service("web", a.name)) })
	a.run("down")

	a.write("convox.yml", fmt.Sprintf(shop, redis, ours, "blue"))
	a.run("up")
	if again := checkRedis(t, a); again != at {
		t.Errorf("the resource's URL was %s and is %s", at, again)
	}
	if out, err := a.one("redis-cache").exec("redis-cli", "-u", at, "GET", "key"); err != nil || out != "value" {
		t.Errorf("redis has %q, %v; want what it was given", out, err)
	}
	a.run("down", "--volumes", "--yes")
	if left, volumes := a.declared(), a.volumes(); len(left) != 0 || len(volumes) != 0 {
		t.Errorf("the registry still has %v, the engine volumes %v", left, volumes)
	}
}

// checkLinks checks that a service is given, and reaches, what it links to.
func checkLinks(t *testing.T, a *app) {
	t.Helper()
	worker := a.one("worker")
	if got := worker.environment("GREETING"); got != "hello" {
		t.Errorf("GREETING is %q", got)
	}
	u, err := url.Parse(worker.environment("WEB_URL"))
	if err != nil || u.Hostname()+"." != a.rack.service("web", a.name) {
		t.Fatalf("WEB_URL is %q (%v)", u, err)
	}
	known := map[string]bool{}
	for _, c := range a.of("web") {
		known[c.id] = true
	}
	for range 10 {
		got, err := worker.connect("http", u.Host)
		if err != nil || !known[got] {
			t.Fatalf("%s: %q, %v; want one of %v", u, got, err, known)
		}
	}
	// The registry says the same to whoever asks for the environment.
	env := command(t, "env", a.name, "worker", "--rack", a.rack.name, "--etcd", a.rack.etcd)
	out, errOut, code := completed(t, env)
	for _, name := range []string{"WEB_URL", "CACHE_URL", "CACHE_HOST", "RELEASE"} {
		if want := name + "=" + worker.environment(name) + "\n"; code != 0 || !strings.Contains(out, want) {
			t.Errorf("rackdns env lacks %q: exit code %d\n%s%s", want, code, out, errOut)
		}
	}
	// By the search domains of its resolver, too.
	if got, err := worker.connect("http", "web:"+u.Port()); err != nil || !known[got] {
		t.Errorf("web: %q, %v", got, err)
	}
}

// checkRedis checks that a real client finds the resource by its URL.
func checkRedis(t *testing.T, a *app) string {
	t.Helper()
	at := a.one("worker").environment("CACHE_URL")
	if want := "redis://cache.resource." + strings.TrimSuffix(a.name+"."+a.rack.zone, ".") + ":6379/0"; at != want {
		t.Fatalf("CACHE_URL is %q, want %q", at, want)
	}
	if out, err := a.one("redis-cache").exec("redis-cli", "-u", at, "PING"); err != nil || out != "PONG" {
		t.Fatalf("redis-cli -u %s: %q %v", at, out, err)
	}
	host := a.one("redis-cache").inspect().HostConfig
	if len(host.PortBindings) > 0 {
		t.Errorf("the resource is published at %v", host.PortBindings)
	}
	if got := host.RestartPolicy.Name; got != container.RestartPolicyUnlessStopped {
		t.Errorf("the resource is restarted: %s", got)
	}
	return at
}

// checkUnchanged brings the app up again, which changes nothing.
func checkUnchanged(t *testing.T, a *app) {
	t.Helper()
	ids, declared := a.ids(), a.declared()
	out := a.run("up")
	if want := "cache    unchanged\nweb      unchanged\nworker   unchanged\n"; out != want {
		t.Errorf("up again printed (-want +got):\n%s", cmp.Diff(want, out))
	}
	if diff := cmp.Diff(ids, a.ids()); diff != "" {
		t.Errorf("containers (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(declared, a.declared()); diff != "" {
		t.Errorf("declared (-before +after):\n%s", diff)
	}
}

// checkBroken brings up a version that ends at once: the one before stays.
func checkBroken(t *testing.T, a *app, good string) {
	t.Helper()
	ids, declared := a.ids(), a.declared()
	a.write("convox.yml", strings.NewReplacer("-linger 2s", "-no-such-flag", "port: 3000", "port: 4000").Replace(good))
	out, errOut, code := completed(t, a.command("up"))
	if code != 1 || errOut != "rackdns: service web: instance 1 exited with code 2\n" {
		t.Errorf("a version that ends at once: exit code %d\n%s%s", code, out, errOut)
	}
	if !strings.Contains(out, "web      | flag provided but not defined: -no-such-flag\n") {
		t.Errorf("what it said last is missing in\n%s", out)
	}
	if diff := cmp.Diff(ids, a.ids()); diff != "" {
		t.Errorf("containers (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(declared, a.declared()); diff != "" {
		t.Errorf("what others are told of the app (-before +after):\n%s", diff)
	}
}

func nameIs(r *rack, name string, rcode int) error {
	m, err := ask(r.dns, "udp", name, dns.TypeA)
	if err == nil && m.Rcode != rcode {
		err = fmt.Errorf("%s: %s, want %s", name, dns.RcodeToString[m.Rcode], dns.RcodeToString[rcode])
	}
	return err
}

// usedMeanwhile looks a service up 200 times a second while something is done,
// and sends a request to one of the answers. None may be missing or fail.
func usedMeanwhile(t *testing.T, r *rack, name string, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var (
		user  sync.WaitGroup
		count int
		fault error
	)
	user.Go(func() {
		tick := time.NewTicker(time.Second / 200)
		defer tick.Stop()
		for fault == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				count++
				fault = use(r, name)
			}
		}
	})
	do()
	cancel()
	user.Wait()
	t.Logf("%s was used %d times", name, count)
	if fault != nil {
		t.Errorf("after %d times: %v", count, fault)
	}
}

func use(r *rack, name string) error {
	m, err := found(r.dns, name, dns.TypeSRV)
	if err != nil {
		return err
	}
	all, err := endpoints(m)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: no instance", name)
	}
	for _, at := range all {
		_, err = get("http://" + at + "/")
		break
	}
	return err
}
