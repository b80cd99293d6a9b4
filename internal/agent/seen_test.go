package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/rackdns/rackdns/internal/registry"
)

// noted waits until it is noted in the registry that a service was seen, or that
// it isn't.
func noted(t *testing.T, c *registry.Client, r *reader, app, service string, want bool) {
	t.Helper()
	key := c.Layout().Seen(app, service)
	eventually(t, fmt.Sprintf("%s noted: %t", key, want), func() string {
		keys, _, _ := r.snapshot()
		if _, ok := keys[key]; ok != want {
			return fmt.Sprintf("there are %v", slices.Sorted(maps.Keys(keys)))
		}
		return ""
	})
}

// A service is noted while there is a container of it, running or not, and for an
// hour after that, whichever agent was there when.
func TestSeenOnARealEngine(t *testing.T) {
	r := docker(t)
	c, reg := etcd(t)
	start := func() (stop func()) {
		a, err := New(Config{DockerHost: r.host, Registry: c, Node: "node-1", HostAddress: testHost, Logger: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		stop = startAgent(t, a)
		waitReady(t, a)
		return stop
	}
	app := "seen-" + r.suffix
	of := func(service string, more ...string) spec {
		l := labels{"rackdns.app": app, "rackdns.service": service, "rackdns.namespace": app + "-ns"}
		for _, label := range more {
			key, value, _ := strings.Cut(label, "=")
			l[key] = value
		}
		return spec{name: "seen-" + service, Config: container.Config{Labels: l}}
	}
	// One that stopped before the agent was there, one that never ran.
	stopped := r.run(t, of("stopped"))
	r.kill(t, stopped, "SIGKILL")
	r.create(t, of("created"))
	r.run(t, of("ignored", "rackdns.ignore=1"))
	stop := start()
	noted(t, c, reg, app, "stopped", true)
	noted(t, c, reg, app, "created", true)

	web := r.run(t, of("web"))
	noted(t, c, reg, app, "web", true)
	keys, _, _ := reg.snapshot()
	first := string(keys[c.Layout().Seen(app, "web")])
	if !strings.Contains(first, `"`+app+`-ns":"20`) {
		t.Errorf("it says %s", first)
	}
	// Neither its end nor that of the agent is a write.
	r.kill(t, web, "SIGKILL")
	registered(t, c, reg, web, false)
	stop()
	stop = start()
	mark := r.run(t, of("mark"))
	noted(t, c, reg, app, "mark", true)
	keys, _, _ = reg.snapshot()
	if now := string(keys[c.Layout().Seen(app, "web")]); now != first {
		t.Errorf("after a restart it says %s, before %s", now, first)
	}
	seen := 0
	for key := range keys {
		if strings.HasPrefix(key, c.Layout().Seen(app, "")) {
			seen++
		}
	}
	if seen != 4 {
		t.Errorf("%d services are noted of 4", seen)
	}

	// Removed while an agent is there, and while none is.
	r.remove(t, web)
	r.remove(t, mark)
	stop()
	r.remove(t, stopped)
	stop = start()
	defer stop()
	last := r.run(t, of("last"))
	registered(t, c, reg, last, true)
	for _, service := range []string{"web", "mark", "stopped"} {
		noted(t, c, reg, app, service, true)
	}
	noted(t, c, reg, app, "ignored", false)
}
