package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// daemonConfig is where the engine is told which DNS servers its containers ask.
const daemonConfig = "/etc/docker/daemon.json"

// dockersOwn are the servers that the engine falls back to where a host's are all
// loopback addresses.
var dockersOwn = []netip.Addr{netip.AddrFrom4([4]byte{8, 8, 8, 8})}

// checkDaemonDNS looks whom containers ask that weren't told.
func checkDaemonDNS(ctx context.Context, s *scene) []Result {
	if s.cfg.NoEngine {
		return skipped("whom containers ask: %s", errNoEngine)
	}
	if e, err := dockerclient.Find(s.cfg.Agent.DockerHost); err != nil || e.Remote() != "" {
		return skipped("whom containers ask: the engine is on another host")
	}
	servers, source, err := s.containersAsk()
	if err != nil {
		return skipped("whom containers ask: %s", err)
	}
	why := s.leads(ctx, fromHere, servers[0])
	if why == "" {
		return passed("%s (%s) leads to %s", servers[0], source, s.zone)
	}
	next := "docker run --dns ADDRESS, or \"dns\": [\"ADDRESS\"] in " + daemonConfig + ", with the address at which a server of the rack listens at port 53 (172.17.0.1, as a rule)"
	return []Result{warned(next, "containers that aren't told otherwise don't find the rack's names: they ask %s (%s), which doesn't lead to %s: %s", servers[0], source, s.zone, why)}
}

// containersAsk returns the servers that containers ask by default, and who says so.
func (s *scene) containersAsk() ([]netip.Addr, string, error) {
	file := cmp.Or(s.cfg.DaemonConfig, daemonConfig)
	var cfg struct {
		DNS []netip.Addr `json:"dns"`
	}
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &cfg); err != nil {
			return nil, "", fmt.Errorf("%s: %w", file, err)
		}
	case !os.IsNotExist(err):
		return nil, "", err
	}
	if len(cfg.DNS) > 0 {
		return cfg.DNS, file, nil
	}
	all, err := nameservers(s.resolvConf())
	if err != nil {
		return nil, "", err
	}
	all = slices.DeleteFunc(all, netip.Addr.IsLoopback)
	if len(all) == 0 {
		return dockersOwn, "Docker's own, since " + s.resolvConf() + " has loopback addresses only", nil
	}
	return all, s.resolvConf(), nil
}

// inhabitant is a container of a network from which we look.
type inhabitant struct {
	network, name, id string
	pid               int
	resolvConf        string
}

// mostNetworks is from inside how many networks it is looked.
const mostNetworks = 16

// checkContainerDNS looks what containers get, from inside one on each network.
func checkContainerDNS(ctx context.Context, s *scene) []Result {
	if s.cfg.NoEngine {
		return skipped("what containers get: %s", errNoEngine)
	}
	if e, err := dockerclient.Find(s.cfg.Agent.DockerHost); err != nil || e.Remote() != "" {
		return skipped("what containers get: the engine is on another host")
	}
	if os.Geteuid() != 0 {
		return skipped("what containers get: to ask from inside of them needs root")
	}
	all, err := s.inhabitants(ctx)
	if err != nil {
		return skipped("what containers get: %s", err)
	}
	if len(all) == 0 {
		return skipped("what containers get: none runs on a network of its own")
	}
	var found []Result
	var good []string
	for _, c := range all {
		if r := s.fromInside(ctx, &c); len(r) > 0 {
			found = append(found, r...)
		} else {
			good = append(good, c.network)
		}
	}
	if len(found) == 0 && len(good) == 0 {
		return skipped("what containers get: all have ended meanwhile")
	}
	return orPassed(found, "from inside %s it is what the registry has: %s", several(len(good), "network"), some(good))
}

// inhabitants returns a container on each network.
func (s *scene) inhabitants(ctx context.Context) ([]inhabitant, error) {
	c, err := dockerclient.Dial(s.cfg.Agent.DockerHost)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, enginePatience)
	defer cancel()
	list, err := c.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, err
	}
	var all []inhabitant
	seen := map[string]bool{}
	for _, k := range list {
		if k.NetworkSettings == nil {
			continue
		}
		for network, e := range k.NetworkSettings.Networks {
			if seen[network] || e.IPAddress == "" && e.GlobalIPv6Address == "" || len(all) == mostNetworks || !s.looksInto(network) {
				continue
			}
			info, err := c.ContainerInspect(ctx, k.ID)
			if err != nil || info.State == nil || info.State.Pid == 0 {
				continue
			}
			seen[network] = true
			all = append(all, inhabitant{network, strings.TrimPrefix(info.Name, "/"), k.ID[:12], info.State.Pid, info.ResolvConfPath})
		}
	}
	slices.SortFunc(all, func(x, y inhabitant) int { return strings.Compare(x.network, y.network) })
	return all, nil
}

// fromInside asks as a container does.
func (s *scene) fromInside(ctx context.Context, c *inhabitant) []Result {
	servers, err := nameservers(c.resolvConf)
	switch {
	case err != nil:
		return skipped("network %s: container %s: %s", c.network, c.name, err)
	case len(servers) == 0:
		return []Result{warned("docker run --dns ADDRESS", "network %s: container %s has no DNS server", c.network, c.name)}
	}
	inside := within(c.pid)
	if why := s.leads(ctx, inside, servers[0]); why != "" {
		at := netip.AddrPortFrom(servers[0], dnsPort)
		if ours := slices.ContainsFunc(s.sockets, func(k socket) bool { return k.covers(at) && k.program == ourProgram }); ours && s.leads(ctx, fromHere, servers[0]) == "" {
			return []Result{failed("have this host's packet filter let them pass (ufw allow in on the network's bridge to port 53, UDP and TCP), and the container's network not be internal",
				"network %s: the server at %s answers this host, and container %s gets: %s", c.network, at, c.name, why)}
		}
		return []Result{warned("start it with --dns ADDRESS of a server of the rack, or \"dns\" in "+daemonConfig+"; rackdns up does so", "network %s: container %s (%s) asks %s, which doesn't lead to %s: %s", c.network, c.name, c.id, servers[0], s.zone, why)}
	}
	if servers[0].IsLoopback() {
		return nil // the engine's own server, which has led to ours
	}
	if _, err := s.picture(); err != nil {
		return nil
	}
	_, differ, err := s.compare(ctx, inside, netip.AddrPortFrom(servers[0], dnsPort), s.index, s.here())
	var found []Result
	if err != nil {
		found = append(found, warned("let TCP to port 53 pass, too", "network %s: container %s asks %s over TCP: %s", c.network, c.name, servers[0], noAnswer(err)))
	}
	for _, d := range differ {
		found = append(found, warned("is a forwarder between, or another node's server? rackdns resolve --from "+c.name+" says what is right", "network %s: %s, asked by container %s, %s", c.network, servers[0], c.name, d))
	}
	return found
}

// within dials from inside a process's network namespace: the socket is made there,
// and belongs there for ever.
func within(pid int) dial {
	return func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
		type result struct {
			conn net.Conn
			err  error
		}
		done := make(chan result, 1)
		go func() {
			// The thread ends with the goroutine, since it stays locked: nobody else is
			// to be on it.
			runtime.LockOSThread()
			conn, err := dialWithin(ctx, pid, network, to)
			done <- result{conn, err}
		}()
		r := <-done
		return r.conn, r.err
	}
}

func dialWithin(ctx context.Context, pid int, network string, to netip.AddrPort) (net.Conn, error) {
	path := fmt.Sprintf("/proc/%d/ns/net", pid)
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = unix.Close(ns) }()
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter %s: %w", path, err)
	}
	// An address is dialled by this goroutine, and so by this thread.
	return new(net.Dialer).DialContext(ctx, network, to.String())
}
