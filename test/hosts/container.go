package hosts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// Spec is a container to be: what `docker run` takes.
type Spec struct {
	Name string
	// Networks are those that it is on, bridge by default. The first one may be
	// host, none or container:NAME.
	Networks []string
	// IP is its address on the first of them, by default Docker's choice.
	IP string
	// TCP and UDP are the ports at which it says who it is. All are exposed.
	TCP, UDP []uint16
	// Publish is as for -p: [IP:][PORT:]PORT[/udp]. PublishAll is -P.
	Publish    []string
	PublishAll bool
	// DNS are the servers that its resolver is given.
	DNS    []string
	Labels map[string]string
}

// Container is a running one. It is a client, too, whose name is what Dial
// returns where it answers: HOST/NAME.
type Container struct {
	Client
	// ID has 12 digits.
	ID   string
	Spec Spec
	// Inspect is what Docker said of it when it ran.
	Inspect container.InspectResponse
}

// Run runs a container until the test ends, and waits until it answers.
func (h *Host) Run(t *testing.T, spec Spec) *Container {
	t.Helper()
	return h.RunAll(t, spec)[0]
}

// RunAll runs containers at the same time, which takes less of it. One that
// joins another's namespace has to come in a later call.
func (h *Host) RunAll(t *testing.T, specs ...Spec) []*Container {
	t.Helper()
	var all []Placed
	for _, s := range specs {
		all = append(all, Placed{h, s})
	}
	return h.lab.RunAll(t, all...)
}

// Placed is a container to be on a host.
type Placed struct {
	On *Host
	Spec
}

// atOnce bounds the containers that start at a time. More would not be faster,
// and a swarm gives up on one that it can't attach to an overlay in 20 s.
const atOnce = 4

// RunAll is a host's, for several hosts.
func (l *Lab) RunAll(t *testing.T, specs ...Placed) []*Container {
	t.Helper()
	made := make([]*Container, len(specs))
	errs := make([]error, len(specs))
	eachAtOnce(specs, func(i int, p Placed) { made[i], errs[i] = p.On.run(t.Context(), p.Spec) })
	made = slices.DeleteFunc(made, func(c *Container) bool { return c == nil })
	for _, c := range made {
		c.Node.containers = append(c.Node.containers, c)
	}
	l.cleanup(t, func() error { return removeAll(made) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return made
}

// eachAtOnce does something for each, for some of them at a time.
func eachAtOnce[T any](all []T, do func(i int, what T)) {
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, what := range all {
		slots <- struct{}{}
		wg.Go(func() {
			do(i, what)
			<-slots
		})
	}
	wg.Wait()
}

// run is what several goroutines may do at once. What it returns with an error
// is there all the same.
func (h *Host) run(ctx context.Context, spec Spec) (*Container, error) {
	identity := h.Name + "/" + spec.Name
	config, hostConfig, err := spec.configs(identity)
	if err != nil {
		return nil, fmt.Errorf("container %s on %s: %w", spec.Name, h.Name, err)
	}
	var networks network.NetworkingConfig
	if len(spec.Networks) > 0 {
		hostConfig.NetworkMode = container.NetworkMode(spec.Networks[0])
		if spec.IP != "" {
			networks.EndpointsConfig = map[string]*network.EndpointSettings{spec.Networks[0]: spec.endpoint()}
		}
	}
	engine := h.Engine.Client
	made, err := engine.ContainerCreate(ctx, config, hostConfig, &networks, nil, spec.Name)
	if err != nil {
		return nil, fmt.Errorf("create container %s on %s: %w", spec.Name, h.Name, err)
	}
	c := &Container{Client: Client{Name: identity, Node: h}, ID: made.ID[:12], Spec: spec}
	c.Container = c
	for _, n := range spec.Networks[min(1, len(spec.Networks)):] {
		if err := engine.NetworkConnect(ctx, n, made.ID, nil); err != nil {
			return c, fmt.Errorf("connect container %s on %s with %s: %w", spec.Name, h.Name, n, err)
		}
	}
	if err := engine.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return c, fmt.Errorf("start container %s on %s: %w", spec.Name, h.Name, err)
	}
	return c, c.look(ctx)
}

// configs are Docker's words for the spec.
func (s *Spec) configs(identity string) (*container.Config, *container.HostConfig, error) {
	exposed, bindings, err := nat.ParsePortSpecs(s.Publish)
	if err != nil {
		return nil, nil, err
	}
	for proto, ports := range map[string][]uint16{"tcp": s.TCP, "udp": s.UDP} {
		for _, p := range ports {
			exposed[nat.Port(fmt.Sprintf("%d/%s", p, proto))] = struct{}{}
		}
	}
	if strings.HasPrefix(strings.Join(s.Networks, " "), "container:") {
		exposed = nil // Docker refuses them: they are the other one's
	}
	config := &container.Config{
		Image: testImage, ExposedPorts: exposed, Labels: s.Labels,
		Env: []string{"CONTAINER_ID=" + identity},
		Cmd: []string{"-http=", "-tcp=" + list(s.TCP), "-udp=" + list(s.UDP)},
	}
	return config, &container.HostConfig{PortBindings: bindings, PublishAllPorts: s.PublishAll, DNS: s.DNS}, nil
}

func list(ports []uint16) string {
	var words []string
	for _, p := range ports {
		words = append(words, strconv.Itoa(int(p)))
	}
	return strings.Join(words, ",")
}

func (s *Spec) endpoint() *network.EndpointSettings {
	if strings.Contains(s.IP, ":") {
		return &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv6Address: s.IP}}
	}
	return &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: s.IP}}
}

// look finds out where the container is now, and waits until it serves there.
func (c *Container) look(ctx context.Context) error {
	i, err := c.Node.Engine.Client.ContainerInspect(ctx, c.ID)
	if err != nil {
		return err
	}
	if !i.State.Running {
		return fmt.Errorf("container %s ended with %d %s", c.Name, i.State.ExitCode, i.State.Error)
	}
	c.Inspect = i
	c.netns = &namespace{path: fmt.Sprintf("/proc/%d/ns/net", i.State.Pid)}
	if err := c.settle(); err != nil {
		return err
	}
	for _, p := range c.Spec.TCP {
		if err := c.serves("tcp", p); err != nil {
			return err
		}
	}
	for _, p := range c.Spec.UDP {
		if err := c.serves("udp", p); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the container's IPv6 addresses are in use: for a second or
// two they are tentative (RFC 4862), and nobody reaches them.
func (c *Container) settle() error {
	for name, n := range c.Inspect.NetworkSettings.Networks {
		if n.GlobalIPv6Address == "" {
			continue
		}
		for deadline := time.Now().Add(dockertest.CallLimit); ; time.Sleep(20 * time.Millisecond) {
			err := c.netns.do(func() error {
				l, err := net.Listen("tcp", net.JoinHostPort(n.GlobalIPv6Address, "0"))
				if err != nil {
					return err
				}
				return l.Close()
			})
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("container %s on network %s: %w", c.Name, name, err)
			}
		}
	}
	return nil
}

// serves waits until the container answers itself: it listens a moment after it
// was started.
func (c *Container) serves(proto string, port uint16) error {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	for deadline := time.Now().Add(dockertest.CallLimit); ; time.Sleep(5 * time.Millisecond) {
		id, err := c.Dial(proto, at)
		if err == nil && id == c.Name {
			return nil
		}
		if err == nil {
			return fmt.Errorf("container %s: %s answers at its %s port %d", c.Name, id, proto, port)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("container %s doesn't serve %s port %d: %w", c.Name, proto, port, err)
		}
	}
}

// Address is the container's on a network it is on, the first IPv4 one.
func (c *Container) Address(t *testing.T, networkName string) netip.Addr {
	t.Helper()
	e := c.Inspect.NetworkSettings.Networks[networkName]
	if e == nil {
		t.Fatalf("container %s is not on network %s", c.Name, networkName)
	}
	return netip.MustParseAddr(e.IPAddress)
}

// Published are the addresses and ports that Docker published a port at, as it
// tells them: a wildcard is not yet an address.
func (c *Container) Published(proto string, port uint16) []netip.AddrPort {
	var at []netip.AddrPort
	for _, b := range c.Inspect.NetworkSettings.Ports[nat.Port(fmt.Sprintf("%d/%s", port, proto))] {
		addr, err := netip.ParseAddr(b.HostIP)
		n, err2 := strconv.ParseUint(b.HostPort, 10, 16)
		if err == nil && err2 == nil {
			at = append(at, netip.AddrPortFrom(addr, uint16(n)))
		}
	}
	slices.SortFunc(at, netip.AddrPort.Compare)
	return at
}

// Restart restarts the container, which gives it a new namespace.
func (c *Container) Restart(t *testing.T) {
	t.Helper()
	if err := c.Node.Engine.Client.ContainerRestart(t.Context(), c.ID, container.StopOptions{}); err != nil {
		t.Fatalf("restart container %s: %v", c.Name, err)
	}
	if err := c.look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// removeAll ends containers.
func removeAll(all []*Container) error {
	ctx, cancel := context.WithTimeout(context.Background(), dockertest.CallLimit)
	defer cancel()
	for _, c := range all {
		c.Node.containers = slices.DeleteFunc(c.Node.containers, func(o *Container) bool { return o == c })
	}
	errs := make([]error, len(all))
	eachAtOnce(all, func(i int, c *Container) {
		err := c.Node.Engine.Client.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil {
			errs[i] = fmt.Errorf("remove container %s: %w", c.Name, err)
		}
	})
	return errors.Join(errs...)
}
