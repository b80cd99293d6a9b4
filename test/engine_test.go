package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

// label marks every Docker object that a test makes.
const label = "rackdns.test"

// engineTimeout bounds a call to the Docker Engine.
const engineTimeout = time.Minute

// engine returns a client of the Docker Engine, or skips the test.
func engine(t *testing.T) *client.Client {
	t.Helper()
	cli, err := newEngine()
	if err == nil {
		_, err = cli.Ping(engineContext(t))
	}
	demand(t, err == nil, "no Docker Engine: %v", err)
	t.Cleanup(func() { cli.Close() })
	return cli
}

func newEngine() (*client.Client, error) {
	return client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
}

func engineContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	t.Cleanup(cancel)
	return ctx
}

// sweep removes what a test that was interrupted left behind, and the images,
// which all tests of a run share.
func sweep() {
	cli, err := newEngine()
	if err != nil {
		return
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	mine := filters.NewArgs(filters.Arg("label", label+"="+runID))
	containers, err := cli.ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
	if err != nil {
		return // no engine, so nothing was made
	}
	var errs []error
	for _, c := range containers {
		errs = append(errs, cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	}
	networks, err := cli.NetworkList(ctx, network.ListOptions{Filters: mine})
	errs = append(errs, err)
	for _, n := range networks {
		errs = append(errs, cli.NetworkRemove(ctx, n.ID))
	}
	for _, rack := range upRacks.all() {
		errs = append(errs, removeRack(ctx, cli, rack))
	}
	tags, err := cli.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", "rackdns-test*:"+runID))})
	errs = append(errs, err)
	for _, i := range tags {
		_, err := cli.ImageRemove(ctx, i.ID, image.RemoveOptions{Force: true, PruneChildren: true})
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Println("cleaning up:", err)
	}
}

// bridge is a Docker network of one test.
type bridge struct {
	id, name string
	subnet   netip.Prefix
	// gateway is the host's address on the network.
	gateway netip.Addr
}

// newBridge makes a network in a subnet that nobody uses.
func newBridge(t *testing.T) *bridge {
	t.Helper()
	cli := engine(t)
	b := &bridge{name: unique("rackdns-test")}
	for range 50 {
		b.subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + rand.IntN(100)), byte(rand.IntN(256)), 0}), 24)
		b.gateway = b.subnet.Addr().Next()
		if taken(t, b.subnet) {
			continue
		}
		made, err := cli.NetworkCreate(engineContext(t), b.name, network.CreateOptions{
			Driver: "bridge",
			IPAM:   &network.IPAM{Config: []network.IPAMConfig{{Subnet: b.subnet.String(), Gateway: b.gateway.String()}}},
			Labels: map[string]string{label: runID},
		})
		if err != nil && strings.Contains(err.Error(), "overlap") {
			continue
		}
		if err != nil {
			t.Fatalf("making network %s: %v", b.subnet, err)
		}
		b.id = made.ID
		t.Cleanup(func() {
			b.remove(t, cli)
		})
		return b
	}
	t.Fatal("found no free subnet")
	return nil
}

// remove waits for an engine that is behind.
func (b *bridge) remove(t *testing.T, cli *client.Client) {
	t.Helper()
	if err := removeNetwork(engineContext(t), cli, b.id); err != nil {
		t.Errorf("removing network %s: %v", b.name, err)
	}
}

func removeNetwork(ctx context.Context, cli *client.Client, id string) error {
	for deadline := time.Now().Add(held); ; time.Sleep(100 * time.Millisecond) {
		err := cli.NetworkRemove(ctx, id)
		if !errdefs.IsPermissionDenied(err) {
			return err
		}
		if time.Now().Before(deadline) {
			continue
		}
		if n, e := cli.NetworkInspect(ctx, id, network.InspectOptions{}); e == nil && len(n.Containers) == 0 {
			// Nothing is on it, so this is no fault of a test's: an engine that has
			// lost count of a network's endpoints keeps it until it starts again.
			fmt.Fprintf(os.Stderr, "the engine doesn't let go of network %s, though no container is on it: %v\n", n.Name, err)
			return nil
		}
		return err
	}
}

// held is how long the engine may hold on to a network.
const held = 20 * time.Second

// taken reports whether an interface of this machine is in the subnet.
func taken(t *testing.T, subnet netip.Prefix) bool {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Masked().Overlaps(subnet) {
			return true
		}
	}
	return false
}
