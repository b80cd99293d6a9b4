package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
)

// txn is how many keys are written at once.
const txn = 100

func serviceName(n int) string { return fmt.Sprintf("web%d", n) }

// nodes is on how many nodes the instances are, in turn.
const nodes = 1000

// place is the node of an instance, and the port that it is published as there.
func place(n, i int) (node int, port uint16) {
	k := 3*n + i
	return k % nodes, uint16(30000 + k/nodes)
}

// address is that of the instance's node.
func address(n, i int) netip.Addr {
	node, _ := place(n, i)
	return netip.AddrFrom4([4]byte{10, 1, byte(node >> 8), byte(node)})
}

func instanceOf(n, i int) registry.Instance {
	ip := address(n, i)
	node, port := place(n, i)
	return registry.Instance{
		ID: fmt.Sprintf("%012x", 3*n+i), Node: fmt.Sprintf("node-%d", node), App: "myapp", Service: serviceName(n), Namespace: "myapp",
		Status: registry.StatusRunning, Weight: 1, Host: ip,
		Ports: []registry.Port{{Name: "http", Protocol: registry.TCP, Container: 3000, Bindings: []registry.Binding{{IP: ip, Port: port}}}},
	}
}

// load writes n services of three instances each.
func load(ctx context.Context, c *clientv3.Client, rack string, n int) error {
	l, err := registry.NewLayout(registry.DefaultPrefix, rack)
	if err != nil {
		return err
	}
	var ops []clientv3.Op
	for s := range n {
		for i := range 3 {
			is := instanceOf(s, i)
			value, err := registry.Encode(is)
			if err != nil {
				return err
			}
			ops = append(ops, clientv3.OpPut(l.Instance(is.Node, is.ID), string(value)))
		}
	}
	return commit(ctx, c, ops)
}

func commit(ctx context.Context, c *clientv3.Client, ops []clientv3.Op) error {
	for len(ops) > 0 {
		n := min(txn, len(ops))
		if _, err := c.Txn(ctx).Then(ops[:n]...).Commit(); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// loadSkyDNS writes the same for CoreDNS's etcd plugin.
func loadSkyDNS(ctx context.Context, c *clientv3.Client, n int) error {
	var ops []clientv3.Op
	for s := range n {
		for i := range 3 {
			_, port := place(s, i)
			key := fmt.Sprintf("/skydns/convox/acme/myapp/%s/%012x", serviceName(s), 3*s+i)
			ops = append(ops, clientv3.OpPut(key, fmt.Sprintf(`{"host":%q,"port":%d,"ttl":5}`, address(s, i), port)))
		}
	}
	return commit(ctx, c, ops)
}

// files writes the same for CoreDNS's hosts and file plugins.
func (b *bench) files(n int) (hosts, zone string, err error) {
	var h, z strings.Builder
	z.WriteString("acme.convox. 5 IN SOA ns.dns.acme.convox. hostmaster.acme.convox. 1 7200 1800 86400 5\nacme.convox. 5 IN NS ns.dns.acme.convox.\n")
	for s := range n {
		name := serviceName(s) + ".myapp.acme.convox."
		for i := range 3 {
			ip, id := address(s, i), fmt.Sprintf("%012x.", 3*s+i)
			_, port := place(s, i)
			fmt.Fprintf(&h, "%s %s\n", ip, name)
			fmt.Fprintf(&z, "%s 5 IN A %s\n%s 5 IN SRV 0 1 %d %s%s\n%s%s 5 IN A %s\n", name, ip, name, port, id, name, id, name, ip)
		}
	}
	hosts, zone = filepath.Join(b.dir, "hosts"), filepath.Join(b.dir, "zone")
	return hosts, zone, errors.Join(os.WriteFile(hosts, []byte(h.String()), 0o600), os.WriteFile(zone, []byte(z.String()), 0o600))
}
