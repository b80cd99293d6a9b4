package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/registry"
)

// defaultStopTimeout is Docker's own.
const defaultStopTimeout = 10 * time.Second

// Docker's network modes that need care.
const (
	modeHost   = "host"
	modeNone   = "none"
	modeBridge = "bridge"
)

// facts is what an inspect says of a container, as far as it matters here.
type facts struct {
	id, name, image string
	// imageID is the image as it was when the container was created.
	imageID string
	status  string
	started time.Time
	// restarts is how often the engine has started it again by itself.
	restarts int
	health   string
	labels   map[string]string
	// env holds only registrator's variables: the others are none of our
	// business and may be secret.
	env map[string]string
	// disowned are labels and variables that are not in these, since they come
	// from the image; fromImage are those that come from it and are, as far as
	// that matters. imageGone says that this can't be told, copied that the image
	// was made of a container that rackdns had made.
	disowned    []string
	fromImage   map[string]bool
	imageGone   bool
	copied      bool
	stopSignal  int
	stopTimeout time.Duration
	// pid is the container's first process, in the engine's PID namespace, and
	// pidMode how its own relates to that.
	pid     int
	pidMode container.PidMode
	// mode is the name or ID of the network given at creation, or one of
	// Docker's special modes.
	mode        string
	exposed     []portKey
	published   map[portKey][]hostPort
	attachments []attachment
	// mesh is what swarm leads to the container's service.
	mesh mesh
	// sandbox is the ID of the network namespace, gateway the address by which
	// it leaves an overlay.
	sandbox string
	gateway netip.Addr
	// joins is the container whose network this one shares, joined what an
	// inspect said of it; nil if it is gone.
	joins  string
	joined *facts
}

// portKey is a port of a container, as unique as it gets: tcp and udp of one
// number are two ports.
type portKey struct {
	number   uint16
	protocol string
}

func (p portKey) String() string { return fmt.Sprintf("%d/%s", p.number, p.protocol) }

// hostPort is one publication of a port, as Docker has it.
type hostPort struct {
	ip   netip.Addr
	port uint16
}

// attachment is a container's place on one network.
type attachment struct {
	name, id   string
	scope      string
	ipv4, ipv6 netip.Addr
	priority   int
	// aliases are the names that it has on the network, as far as somebody has
	// given them.
	aliases []string
}

// shortID is what `docker ps` shows, and the ID of an instance.
func shortID(id string) string {
	const digits = 12
	if len(id) > digits {
		return id[:digits]
	}
	return id
}

var errIncomplete = errors.New("the engine's answer is incomplete")

// readFacts takes what matters from an inspect. It fails only where nothing
// can be said of the container at all.
func readFacts(c container.InspectResponse) (*facts, error) {
	if c.ContainerJSONBase == nil || c.ID == "" || c.State == nil || c.Config == nil {
		return nil, errIncomplete
	}
	f := &facts{
		id:          c.ID,
		name:        strings.TrimPrefix(c.Name, "/"),
		image:       c.Config.Image,
		imageID:     c.Image,
		status:      c.State.Status,
		labels:      c.Config.Labels,
		env:         registratorEnv(c.Config.Env),
		stopSignal:  int(unix.SIGTERM),
		stopTimeout: defaultStopTimeout,
		pid:         c.State.Pid,
		published:   map[portKey][]hostPort{},
	}
	f.restarts = max(c.RestartCount, 0)
	// A container that never ran has a start in the year 1.
	f.started, _ = time.Parse(time.RFC3339Nano, c.State.StartedAt)
	if h := c.State.Health; h != nil && h.Status != container.NoHealthcheck {
		f.health = h.Status
	}
	if n, ok := parseSignal(c.Config.StopSignal); ok {
		f.stopSignal = n
	}
	if t := c.Config.StopTimeout; t != nil && *t >= 0 {
		f.stopTimeout = time.Duration(*t) * time.Second
	}
	if c.HostConfig != nil {
		f.pidMode = c.HostConfig.PidMode
		f.mode = string(c.HostConfig.NetworkMode)
		if c.HostConfig.NetworkMode.IsContainer() {
			f.joins = c.HostConfig.NetworkMode.ConnectedContainer()
		}
	}
	if f.mode == "" || f.mode == "default" {
		f.mode = modeBridge
	}
	for p := range c.Config.ExposedPorts {
		if key, ok := parsePort(string(p)); ok {
			f.exposed = append(f.exposed, key)
		}
	}
	if s := c.NetworkSettings; s != nil {
		f.readPublished(s.Ports)
		f.readNetworks(s.Networks)
		f.sandbox = s.SandboxID
	}
	return f, nil
}

func (f *facts) readPublished(ports nat.PortMap) {
	for p, bindings := range ports {
		key, ok := parsePort(string(p))
		if !ok {
			continue
		}
		hostPorts := make([]hostPort, 0, len(bindings))
		for _, b := range bindings {
			port, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil || port == 0 {
				continue
			}
			ip, err := netip.ParseAddr(b.HostIP)
			if err != nil {
				// An absent address is any address.
				ip = netip.IPv4Unspecified()
			}
			hostPorts = append(hostPorts, hostPort{ip: ip.Unmap(), port: uint16(port)})
		}
		f.published[key] = hostPorts
	}
}

func (f *facts) readNetworks(networks map[string]*network.EndpointSettings) {
	for name, e := range networks {
		if e == nil || e.NetworkID == "" {
			continue
		}
		a := attachment{name: name, id: e.NetworkID, priority: e.GwPriority}
		// Engines before 25 list the container's short ID among them.
		a.aliases = slices.DeleteFunc(slices.Clone(e.Aliases), func(s string) bool { return s == "" || s == shortID(f.id) })
		// Absent addresses are empty strings, which parse to invalid ones.
		a.ipv4, _ = netip.ParseAddr(e.IPAddress)
		a.ipv6, _ = netip.ParseAddr(e.GlobalIPv6Address)
		if a.ipv4.IsValid() || a.ipv6.IsValid() {
			f.attachments = append(f.attachments, a)
		}
	}
}

// running reports whether the container's processes exist. A container between
// two attempts to start is not running, though Docker's own flag says so.
func (f *facts) running() bool {
	return f.status == registry.StatusRunning || f.status == registry.StatusPaused
}

// parsePort reads Docker's "90/udp", and "90" as tcp.
func parsePort(s string) (portKey, bool) {
	number, protocol, found := strings.Cut(s, "/")
	if !found {
		protocol = registry.TCP
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return portKey{}, false
	}
	protocol = strings.ToLower(protocol)
	return portKey{number: uint16(n), protocol: protocol}, protocol == registry.TCP || protocol == registry.UDP
}

// parseSignal reads a signal the ways Docker takes it: a number, a name with
// or without SIG, and real-time signals counted from either end.
func parseSignal(s string) (int, bool) {
	// What the C library leaves for programs: it keeps 32 and 33 to itself.
	const rtMin, rtMax = 34, 64
	s = strings.ToUpper(strings.TrimSpace(s))
	if n, err := strconv.Atoi(s); err == nil {
		return n, n > 0 && n <= rtMax
	}
	if !strings.HasPrefix(s, "SIG") {
		s = "SIG" + s
	}
	if n := unix.SignalNum(s); n != 0 {
		return int(n), true
	}
	if rest, ok := strings.CutPrefix(s, "SIGRTMIN"); ok {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "+"))
		return rtMin + n, err == nil && rtMin+n <= rtMax
	}
	if rest, ok := strings.CutPrefix(s, "SIGRTMAX"); ok {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "-"))
		return rtMax - n, err == nil && rtMax-n >= rtMin
	}
	return 0, false
}
