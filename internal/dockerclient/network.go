package dockerclient

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/label"
)

// RackNetwork is the name of the network of all that rackdns runs for a rack.
func RackNetwork(rack string) string { return "rackdns-" + rack }

// EnsureRackNetwork makes the rack's network, unless it is there. One that
// somebody else made, with a subnet of their own choice, will do. It isn't cut
// off: the engine would make it all the same, and nobody would know.
func EnsureRackNetwork(ctx context.Context, c *client.Client, rack string) (made bool, err error) {
	name := RackNetwork(rack)
	_, err = c.NetworkInspect(ctx, name, network.InspectOptions{})
	if err == nil {
		return false, nil
	}
	if !errdefs.IsNotFound(err) {
		return false, fmt.Errorf("inspect network %s: %w", name, err)
	}
	whole, cancel := Whole(ctx)
	defer cancel()
	_, err = c.NetworkCreate(whole, name, network.CreateOptions{Driver: "bridge", Labels: map[string]string{label.Rack: rack}})
	switch {
	case errdefs.IsConflict(err):
		return false, nil // somebody else was faster
	case err != nil:
		return false, fmt.Errorf("make network %s: %w", name, err)
	}
	return true, nil
}
