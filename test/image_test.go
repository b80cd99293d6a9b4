package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/miekg/dns"
)

// productImage is what `make image` builds, under a name of this run.
var productImage = sync.OnceValues(func() (string, error) {
	ref := "rackdns-test:" + runID
	cmd := exec.Command("make", "image", "IMAGE="+ref, "VERSION="+version)
	cmd.Dir = repository()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make image: %w\n%s", err, out)
	}
	return ref, nil
})

// startProduct runs the product as its own image on a network, with the
// directory of Docker's socket, and returns where its DNS server is.
func startProduct(t *testing.T, b *bridge, env []string, args ...string) (c *instance, at netip.Addr) {
	t.Helper()
	needTool(t, "make")
	needTool(t, "docker")
	host, err := client.ParseHostURL(engine(t).DaemonHost())
	if err != nil {
		t.Fatal(err)
	}
	demand(t, host.Scheme == "unix", "the Docker Engine is at %s, not at a socket that can be mounted", host)
	socket, err := filepath.EvalSymlinks(host.Host + host.Path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s: no owner", socket)
	}
	ref, err := productImage()
	if err != nil {
		t.Fatal(err)
	}
	c = start(t, spec{
		image: ref, command: args, env: env, network: b,
		labels: map[string]string{"rackdns.ignore": "true"},
		binds:  []string{filepath.Dir(socket) + ":/var/run:ro"},
		groups: []string{strconv.Itoa(int(stat.Gid))},
	})
	return c, c.address()
}

// The whole product as a container: it sees the engine by the socket's
// directory, and serves other containers, which reach each other by what it
// tells them.
func TestProductAsContainer(t *testing.T) {
	t.Parallel()
	b, app, name := newBridge(t), unique("shop"), unique("r")
	zone := name + ".convox."
	product, at := startProduct(t, b, nil, "standalone", "--rack", name, "--node", unique("node"),
		"--host-address", b.gateway.String(), "--dns", "0.0.0.0:53", "--data", "/data")
	server := net.JoinHostPort(at.String(), "53")
	answersFor(t, product, server, zone)

	r := &rack{t: t, zone: zone}
	instances := web(t, 2, app, b)
	asker := start(t, spec{app: app, service: "asker", network: b, dns: at})
	reachesEach(t, asker, r.service("web", app), instances)
	eventually(t, "the host sees published ports", func() error {
		web := r.service("web", app)
		return servedBy(server, web, atHost(web, instances...))
	})

	instances[0].kill()
	reachesEach(t, asker, r.service("web", app), instances[1:])

	// Its data is where the image says, and may be written by who runs it.
	product.stop()
	if code := product.inspect().State.ExitCode; code != 0 {
		t.Errorf("exit code %d after docker stop, want 0", code)
	}
	product.start()
	server = net.JoinHostPort(product.address().String(), "53")
	answersFor(t, product, server, zone)
	eventually(t, "the same after a restart", func() error {
		web := r.service("web", app)
		return servedBy(server, web, atHost(web, instances[1:]...))
	})
}

// The image needs to be told nothing to serve the host and the containers that
// it runs on: it finds the address at which all of those reach published ports,
// and says once that nobody else does.
func TestImageDefaults(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	product, at := startProduct(t, b, nil)
	server := net.JoinHostPort(at.String(), "53")
	answersFor(t, product, server, "local.convox.")
	r := &rack{t: t, zone: "local.convox."}
	name := r.service("web", app)
	instances := web(t, 2, app, b)
	eventually(t, "two instances", func() error { return servedBy(server, name, atHost(name, instances...)) })
	if err := resolvesTo(server, name, b.gateway.String()); err != nil {
		t.Error(err)
	}
	log := product.logs()
	if n := strings.Count(log, "--host-address"); n != 1 || !strings.Contains(log, b.gateway.String()) {
		t.Errorf("%d lines tell of --host-address, want one that names %s:\n%s", n, b.gateway, log)
	}

	info, err := product.cli.ImageInspect(engineContext(t), "rackdns-test:"+runID)
	if err != nil {
		t.Fatal(err)
	}
	if user := info.Config.User; user != "65532:65532" {
		t.Errorf("the image runs as %q, want 65532:65532", user)
	}
	for _, port := range []string{"53/udp", "53/tcp"} {
		if _, ok := info.Config.ExposedPorts[port]; !ok {
			t.Errorf("the image exposes %v, %s is missing", info.Config.ExposedPorts, port)
		}
	}
}

// answersFor waits until a server in a container answers for its zone.
func answersFor(t *testing.T, c *instance, server, zone string) {
	t.Helper()
	eventually(t, server+" serves "+zone, func() error {
		m, err := found(server, zone, dns.TypeSOA)
		if err == nil && len(m.Answer) == 0 {
			err = fmt.Errorf("no SOA: %v", m)
		}
		if state := c.inspect().State; !state.Running {
			t.Fatalf("the container ended with exit code %d", state.ExitCode)
		}
		return err
	})
}

// stop stops the container as `docker stop` does.
func (c *instance) stop() {
	c.t.Helper()
	grace := 10
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.cli.ContainerStop(ctx, c.id, container.StopOptions{Timeout: &grace}); err != nil {
		c.t.Fatalf("stopping container %s: %v", c.name, err)
	}
}
