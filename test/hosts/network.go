package hosts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// NetworkSpec is a Docker network to be: what `docker network create` takes.
type NetworkSpec struct {
	Name string
	// Driver is bridge by default.
	Driver string
	// Parent is the interface of a macvlan or ipvlan.
	Parent   string
	Internal bool
	// Subnets are Docker's choice by default. An IPv6 one turns IPv6 on.
	Subnets []Subnet
	Options map[string]string
}

// Subnet is one of a network's. The gateway is optional, and so is the range out
// of which Docker takes addresses for containers.
type Subnet struct{ Prefix, Gateway, Range string }

// Network is a Docker network.
type Network struct {
	ID   string
	Spec NetworkSpec

	host *Host
}

// Network makes a Docker network, until the test ends. An overlay needs Swarm
// first, is made on the swarm's first host, and is attachable.
func (h *Host) Network(t *testing.T, spec NetworkSpec) *Network {
	t.Helper()
	n, err := h.network(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	h.lab.cleanup(t, n.Remove)
	return n
}

func (h *Host) network(ctx context.Context, spec NetworkSpec) (*Network, error) {
	create := network.CreateOptions{Driver: spec.Driver, Internal: spec.Internal, Options: map[string]string{}}
	for k, v := range spec.Options {
		create.Options[k] = v
	}
	if spec.Parent != "" {
		create.Options["parent"] = spec.Parent
	}
	create.Attachable = spec.Driver == "overlay"
	for _, s := range spec.Subnets {
		if create.IPAM == nil {
			create.IPAM = &network.IPAM{Driver: "default"}
		}
		if slices.Contains([]byte(s.Prefix), ':') {
			on := true
			create.EnableIPv6 = &on
		}
		create.IPAM.Config = append(create.IPAM.Config, network.IPAMConfig{Subnet: s.Prefix, Gateway: s.Gateway, IPRange: s.Range})
	}
	made, err := h.Engine.Client.NetworkCreate(ctx, spec.Name, create)
	if err != nil {
		return nil, fmt.Errorf("create network %s on %s: %w", spec.Name, h.Name, err)
	}
	n := &Network{ID: made.ID, Spec: spec, host: h}
	h.networks = append(h.networks, n)
	return n, nil
}

// Remove removes the network, once the last container has left it.
func (n *Network) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), dockertest.CallLimit)
	defer cancel()
	i := slices.Index(n.host.networks, n)
	if i < 0 {
		return nil
	}
	n.host.networks = slices.Delete(n.host.networks, i, i+1)
	for {
		err := n.host.Engine.Client.NetworkRemove(ctx, n.ID)
		// What leaves an overlay on one host is told to the others later.
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove network %s of %s: %w", n.Spec.Name, n.host.Name, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// gateway is the first one that Docker gave the network.
func (n *Network) gateway(t *testing.T) string {
	t.Helper()
	i, err := n.host.Engine.Client.NetworkInspect(t.Context(), n.ID, network.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range i.IPAM.Config {
		return c.Gateway
	}
	return ""
}

// Swarm makes the hosts a swarm, until their engines end. The first one manages
// it, at the address that the others reach it at.
func Swarm(t *testing.T, address string, manager *Host, workers ...*Host) {
	t.Helper()
	ctx := t.Context()
	listen := address + ":2377"
	_, err := manager.Engine.Client.SwarmInit(ctx, swarm.InitRequest{ListenAddr: listen, AdvertiseAddr: address})
	if err != nil {
		t.Fatalf("make %s a swarm's manager: %v", manager.Name, err)
	}
	s, err := manager.Engine.Client.SwarmInspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		err := w.Engine.Client.SwarmJoin(ctx, swarm.JoinRequest{
			RemoteAddrs: []string{listen}, JoinToken: s.JoinTokens.Worker, ListenAddr: "0.0.0.0:2377",
		})
		if err != nil {
			t.Fatalf("have %s join the swarm of %s: %v", w.Name, manager.Name, err)
		}
	}
	// A worker that joined is not yet one that is given networks.
	for deadline := time.Now().Add(dockertest.CallLimit); ; time.Sleep(50 * time.Millisecond) {
		nodes, err := manager.Engine.Client.NodeList(ctx, swarm.NodeListOptions{})
		ready := 0
		for _, n := range nodes {
			if n.Status.State == swarm.NodeStateReady {
				ready++
			}
		}
		if ready == 1+len(workers) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of the swarm's %d nodes are ready: %v", ready, 1+len(workers), err)
		}
	}
	manager.lab.swarm = append([]*Host{manager}, workers...)
}

// Missing says what this kernel lacks for a network driver, or nil: a skip
// needs a reason.
func (l *Lab) Missing(driver string) error {
	kind := map[string]string{"overlay": "vxlan", "macvlan": "macvlan", "ipvlan": "ipvlan"}[driver]
	if kind == "" {
		return nil
	}
	if len(l.machines) == 0 {
		return errors.New("the lab has no machine to try it on")
	}
	return l.machines[0].canMake(kind)
}
