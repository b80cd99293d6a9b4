package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

// spec says what container to start.
type spec struct {
	// app and service go into rackdns's labels; empty means no such label.
	app, service string
	labels       map[string]string
	// image and command default to the test image, which serves HTTP on 3000.
	image   string
	command []string
	// entrypoint stands in for the image's.
	entrypoint []string
	network    *bridge
	// expose lists ports, such as "3000/tcp", that are published at random.
	expose []string
	// dns is the server that the container asks.
	dns    netip.Addr
	env    []string
	binds  []string
	groups []string
	// stopTimeout is how many seconds Docker leaves it after its stop signal.
	stopTimeout *int
}

// instance is a container that a test started.
type instance struct {
	id, name string
	// ours tells that it runs the test image, and thus serves HTTP.
	ours bool
	cli  *client.Client
	net  *bridge
	t    *testing.T
}

// start starts a container and removes it at the end of the test.
func start(t *testing.T, s spec) *instance {
	t.Helper()
	cli, ours := engine(t), s.image == ""
	if ours {
		ref, err := testImage()
		if err != nil {
			t.Fatal(err)
		}
		s.image = ref
	}
	labels := map[string]string{label: runID}
	for k, v := range s.labels {
		labels[k] = v
	}
	if s.app != "" {
		labels["rackdns.app"], labels["rackdns.service"] = s.app, s.service
	}
	ports := nat.PortSet{}
	for _, p := range s.expose {
		ports[nat.Port(p)] = struct{}{}
	}
	host := &container.HostConfig{
		NetworkMode:     container.NetworkMode(s.network.name),
		PublishAllPorts: len(ports) > 0,
		Binds:           s.binds,
		GroupAdd:        s.groups,
	}
	if s.dns.IsValid() {
		host.DNS = []string{s.dns.String()}
	}
	name := unique("rackdns-test")
	made, err := cli.ContainerCreate(engineContext(t), &container.Config{
		Image: s.image, Entrypoint: s.entrypoint, Cmd: s.command, Labels: labels, ExposedPorts: ports, Env: s.env, StopTimeout: s.stopTimeout,
	}, host, nil, nil, name)
	if err != nil {
		t.Fatalf("creating container %s: %v", name, err)
	}
	c := &instance{id: made.ID[:12], name: name, ours: ours, cli: cli, net: s.network, t: t}
	t.Cleanup(c.remove)
	c.start()
	return c
}

// start starts the container and waits until it listens.
func (c *instance) start() {
	c.t.Helper()
	if err := c.cli.ContainerStart(engineContext(c.t), c.id, container.StartOptions{}); err != nil {
		c.t.Fatalf("starting container %s: %v", c.name, err)
	}
	if !c.ours {
		return
	}
	eventually(c.t, "container "+c.name+" listens", func() error {
		_, err := c.ask("/")
		return err
	})
}

func (c *instance) kill() {
	c.t.Helper()
	if err := c.cli.ContainerKill(engineContext(c.t), c.id, "KILL"); err != nil {
		c.t.Fatalf("killing container %s: %v", c.name, err)
	}
}

// remove removes the container, with what it said if the test failed.
func (c *instance) remove() {
	if c.t.Failed() {
		c.t.Logf("container %s (%s):\n%s", c.name, c.id, c.logs())
	}
	err := c.cli.ContainerRemove(engineContext(c.t), c.id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		c.t.Errorf("removing container %s: %v", c.name, err)
	}
}

func (c *instance) logs() string {
	out, err := c.cli.ContainerLogs(engineContext(c.t), c.id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return err.Error()
	}
	defer out.Close()
	var text strings.Builder
	if _, err := stdcopy.StdCopy(&text, &text, out); err != nil {
		return err.Error()
	}
	return text.String()
}

func (c *instance) inspect() container.InspectResponse {
	c.t.Helper()
	got, err := c.cli.ContainerInspect(engineContext(c.t), c.id)
	if err != nil {
		c.t.Fatalf("inspecting container %s: %v", c.name, err)
	}
	return got
}

// address is the container's own address on the test's network.
func (c *instance) address() netip.Addr {
	c.t.Helper()
	n := c.inspect().NetworkSettings.Networks[c.net.name]
	addr, err := netip.ParseAddr(n.IPAddress)
	if err != nil {
		c.t.Fatalf("container %s: its address on %s: %v", c.name, c.net.name, err)
	}
	return addr
}

// published is the port of the host where a port such as "3000/tcp" is found.
func (c *instance) published(port string) string {
	c.t.Helper()
	bindings := c.inspect().NetworkSettings.Ports[nat.Port(port)]
	if len(bindings) == 0 {
		c.t.Fatalf("container %s: port %s is not published", c.name, port)
	}
	return bindings[0].HostPort
}

// answer is what the container's own resolver found.
type answer struct {
	Addresses []string
	Services  []struct {
		Target string
		Port   uint16
	}
	NotFound bool `json:"not_found"`
	Error    string
}

// lookup asks the container to look up a name.
func (c *instance) lookup(kind, name string) (answer, error) {
	var got answer
	body, err := c.ask("/lookup?" + url.Values{"type": {kind}, "name": {name}}.Encode())
	if err != nil {
		return got, err
	}
	err = json.Unmarshal(body, &got)
	return got, err
}

// connect asks the container to connect to an address and returns what it read.
func (c *instance) connect(network, address string) (string, error) {
	body, err := c.ask("/connect?" + url.Values{"network": {network}, "address": {address}}.Encode())
	return strings.TrimSpace(string(body)), err
}

// variable returns a variable of the environment that the container's program
// was started in.
func (c *instance) variable(name string) (string, error) {
	body, err := c.ask("/env?" + url.Values{"name": {name}}.Encode())
	return string(body), err
}

// ask sends a request to the container's HTTP port, from the host.
func (c *instance) ask(path string) ([]byte, error) {
	return get("http://" + netip.AddrPortFrom(c.address(), 3000).String() + path)
}

// get fetches a URL. It never goes through a proxy.
func get(address string) ([]byte, error) {
	cli := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
	resp, err := cli.Get(address)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", address, resp.Status, body)
	}
	return body, err
}

// attach attaches the container to another network.
func (c *instance) attach(b *bridge) {
	c.t.Helper()
	if err := c.cli.NetworkConnect(engineContext(c.t), b.id, c.id, &network.EndpointSettings{}); err != nil {
		c.t.Fatalf("attaching container %s to %s: %v", c.name, b.name, err)
	}
}

func (c *instance) detach(b *bridge) {
	c.t.Helper()
	if err := c.cli.NetworkDisconnect(engineContext(c.t), b.id, c.id, false); err != nil {
		c.t.Fatalf("detaching container %s from %s: %v", c.name, b.name, err)
	}
}
