package hosts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// rackPort is where the rack's DNS servers listen, on all addresses.
const rackPort = 1153

// Rack is rackdns on the lab's hosts: a registry, which all reach by a socket,
// and on each host an agent and a DNS server.
type Rack struct {
	// Zone is the rack's, with a dot at its end.
	Zone string

	lab                 *Lab
	name, program, etcd string
	layout              registry.Layout
	client              *clientv3.Client
	fences              int
	// Agents are the agents' processes, by host.
	Agents map[*Host]*Process
}

// Rack starts one, which ends with the test.
func (l *Lab) Rack(t *testing.T) *Rack {
	t.Helper()
	r := &Rack{lab: l, name: "lab", Zone: "lab.convox.", program: l.build(t), Agents: map[*Host]*Process{}}
	socket := url.URL{Scheme: "unix", Path: filepath.Join(l.dir, "etcd.sock")}
	cluster := etcdtest.Start(t, 1, func(c *embed.Config) { c.ListenClientUrls = []url.URL{socket} })
	r.etcd, r.client = socket.String(), cluster.Client()
	var err error
	if r.layout, err = registry.NewLayout(registry.DefaultPrefix, r.name); err != nil {
		t.Fatal(err)
	}
	for _, h := range l.hosts {
		r.Agents[h] = h.Start(t, r.program, "agent", "--rack", r.name, "--node", h.Name, "--etcd", r.etcd, "--docker", h.Engine.Host())
		r.Serve(t, h, &h.Client)
	}
	return r
}

// Serve starts a DNS server of a host's at a client: the host's own network
// namespace, or a container's. It returns when that knows the rack.
func (r *Rack) Serve(t *testing.T, h *Host, at *Client) *Process {
	t.Helper()
	file := filepath.Join(r.lab.dir, "Corefile-"+strings.ReplaceAll(at.Name, "/", "-"))
	text := fmt.Sprintf(".:%d {\n\track %s {\n\t\tetcd %s\n\t\tnode %s\n\t}\n\tshortname @rack\n\tprometheus 127.0.0.1:9153\n}\n",
		rackPort, r.Zone, r.etcd, h.Name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := at.Start(t, r.program, "dns", "-conf", file)
	server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), rackPort)
	soon(t, "a DNS server at "+at.Name, func() error {
		_, err := at.Resolve("udp", server, r.Zone, dns.TypeSOA)
		return err
	})
	return p
}

// Settle waits until every host's DNS server knows all networks and containers
// that there are.
func (r *Rack) Settle(t *testing.T) {
	t.Helper()
	soon(t, "the registry has all networks and containers", func() error {
		for _, h := range r.lab.hosts {
			if err := r.registered(t, h); err != nil {
				return err
			}
		}
		return nil
	})
	// What was written before is known before this is.
	r.fences++
	fence := registry.Service{App: "fence", Service: fmt.Sprintf("f%d", r.fences), Namespace: "fence"}
	value, err := registry.Encode(fence)
	if err == nil {
		_, err = r.client.Put(t.Context(), r.layout.Service(fence.App, fence.Service), string(value))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.lab.hosts {
		server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), rackPort)
		soon(t, "the server of "+h.Name+" knows what was written", func() error {
			_, err := h.Resolve("udp", server, fence.Service+".fence."+r.Zone, dns.TypeA)
			return err
		})
	}
}

// registered says what of a host's is not in the registry yet.
func (r *Rack) registered(t *testing.T, h *Host) error {
	t.Helper()
	got, err := r.client.Get(t.Context(), r.layout.Node(h.Name))
	if err != nil {
		return err
	}
	if len(got.Kvs) == 0 {
		return fmt.Errorf("no node %s", h.Name)
	}
	node, err := registry.DecodeNode(registry.Key{Kind: registry.KindNode, Owner: h.Name}, got.Kvs[0].Value)
	if err != nil {
		return err
	}
	if got, err = r.client.Get(t.Context(), r.layout.Instances(h.Name), clientv3.WithPrefix(), clientv3.WithKeysOnly()); err != nil {
		return err
	}
	var keys []string
	for _, kv := range got.Kvs {
		keys = append(keys, string(kv.Key))
	}
	for _, c := range h.containers {
		// Nobody reaches one that is on no network, nor can it ask.
		if !c.owner().Inspect.HostConfig.NetworkMode.IsNone() && !slices.Contains(keys, r.layout.Instance(h.Name, c.ID)) {
			return fmt.Errorf("no container %s", c.Name)
		}
		for name, e := range c.Inspect.NetworkSettings.Networks {
			known := slices.ContainsFunc(node.Networks, func(n registry.NodeNetwork) bool { return strings.HasPrefix(e.NetworkID, n.ID) })
			if !known && name != "host" && name != "none" {
				return fmt.Errorf("no network %s on node %s", name, h.Name)
			}
		}
	}
	return nil
}

// service is a container's name in the zone, without its port.
func (r *Rack) service(c *Container) string {
	app, service := c.Spec.Labels["rackdns.app"], c.Spec.Labels["rackdns.service"]
	if app == "" {
		app = "default"
	}
	if service == "" {
		service = c.Spec.Name
	}
	return service + "." + app + "." + r.Zone
}

// portName is the name by which one port of a container is asked for.
func (r *Rack) portName(c *Container, proto string, port uint16) string {
	return fmt.Sprintf("_%d._%s.%s", port, proto, r.service(c))
}

// Told is where a client that asks a server is told that a port of a container
// is. The name may have other instances, of which it says nothing.
func (r *Rack) Told(from *Client, server netip.AddrPort, c *Container, proto string, port uint16) ([]netip.AddrPort, error) {
	name := r.portName(c, proto, port)
	reply, err := from.Exchange("tcp", server, new(dns.Msg).SetQuestion(name, dns.TypeSRV))
	if err != nil {
		return nil, fmt.Errorf("%s asks %s for %s: %w", from, server, name, err)
	}
	if reply.Rcode == dns.RcodeNameError {
		return nil, nil // nobody knows of such a port
	}
	if reply.Rcode != dns.RcodeSuccess || reply.Truncated {
		return nil, fmt.Errorf("%s asks %s for %s: %s, truncated %v", from, server, name, dns.RcodeToString[reply.Rcode], reply.Truncated)
	}
	var told []netip.AddrPort
	for _, rr := range reply.Answer {
		srv, ok := rr.(*dns.SRV)
		if !ok || !slices.Contains(dns.SplitDomainName(srv.Target), c.ID) {
			continue
		}
		before := len(told)
		for _, glue := range reply.Extra {
			if glue.Header().Name != srv.Target {
				continue
			}
			if a, ok := addressOf(glue); ok {
				told = append(told, netip.AddrPortFrom(a, srv.Port))
			}
		}
		if len(told) == before {
			return nil, fmt.Errorf("%s: the target %s has no address", name, srv.Target)
		}
	}
	slices.SortFunc(told, netip.AddrPort.Compare)
	return told, nil
}

// addressOf is that of an A or AAAA record.
func addressOf(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok := netip.AddrFromSlice(rr.A)
		return a.Unmap(), ok
	case *dns.AAAA:
		return netip.AddrFromSlice(rr.AAAA)
	}
	return netip.Addr{}, false
}

// Resolved is what `rackdns resolve` says that an address is told at a host.
func (r *Rack) Resolved(t *testing.T, h *Host, from netip.Addr, c *Container, proto string, port uint16) (told []netip.AddrPort, why string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(r.program, "resolve", r.portName(c, proto, port), "--from", from.String(), "--node", h.Name, "--rack", r.name, "--etcd", r.etcd, "-o", "json")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	var result struct {
		Instances []struct {
			ID, Why   string
			Endpoints []struct {
				Address netip.Addr
				Port    uint16
			}
		}
	}
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	for _, i := range result.Instances {
		if i.ID != c.ID {
			continue
		}
		why = i.Why
		for _, e := range i.Endpoints {
			told = append(told, netip.AddrPortFrom(e.Address, e.Port))
		}
	}
	slices.SortFunc(told, netip.AddrPort.Compare)
	return told, why
}

// Explained is what `rackdns explain` says of a container on its host.
func (r *Rack) Explained(t *testing.T, c *Container) string {
	t.Helper()
	return c.Node.netns.run(t, r.program, "explain", c.ID, "--node", c.Node.Name, "--docker", c.Node.Engine.Host())
}
