package deploy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/rackdns/rackdns/internal/label"
)

// defaultBridge is the network that every engine has.
const defaultBridge = "bridge"

// The engine may need this long to let go of a network whose last container it
// has just removed.
const lettingGo = 10 * time.Second

// dropNetwork removes the rack's network if it was made here and no container
// is left on it. One that the engine holds on to does no harm: the next up uses it.
func (s *site) dropNetwork(ctx context.Context, p *progress) error {
	name := networkName(s.rack)
	for deadline := time.Now().Add(lettingGo); ; {
		dropped, err := s.tryDropNetwork(ctx, name)
		switch {
		case dropped:
			p.say("network", "removed %s", name)
			return nil
		case !errdefs.IsPermissionDenied(err):
			return err
		case time.Now().After(deadline):
			p.say("network", "left %s, though no container is on it: %v", name, err)
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lettingGo / 50):
		}
	}
}

func (s *site) tryDropNetwork(ctx context.Context, name string) (dropped bool, err error) {
	n, err := s.NetworkInspect(ctx, name, network.InspectOptions{})
	if errdefs.IsNotFound(err) || err == nil && n.Labels[label.Rack] != s.rack {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("inspect network %s: %w", name, err)
	}
	// The network itself knows only of those that run.
	left, err := s.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("network", n.ID))})
	if err != nil || len(left) > 0 || len(n.Containers) > 0 {
		return false, wrap(err, "list the containers on network "+name)
	}
	err = s.NetworkRemove(ctx, n.ID)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, wrap(err, "remove network "+name)
}

// gateways returns the engine's own addresses on a network, none if there is no
// such network.
func (s *site) gateways(ctx context.Context, name string) ([]netip.Addr, error) {
	n, err := s.NetworkInspect(ctx, name, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect network %s: %w", name, err)
	}
	var all []netip.Addr
	for _, c := range n.IPAM.Config {
		if ip := gateway(c); ip.IsValid() {
			all = append(all, ip)
		}
	}
	return all, nil
}

// gateway returns the engine's own address in a subnet. It doesn't say that of
// its default bridge, where it has the first one unless told otherwise.
func gateway(c network.IPAMConfig) netip.Addr {
	address, _, _ := strings.Cut(c.Gateway, "/") // some drivers say its subnet's length too
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip
	}
	subnet, err := netip.ParsePrefix(c.Subnet)
	if err != nil {
		return netip.Addr{}
	}
	return subnet.Masked().Addr().Next()
}

// ensureVolume makes a resource's volume, unless it is there.
func (s *site) ensureVolume(ctx context.Context, resource, kind string) error {
	name := volumeName(s.rack, s.app, resource)
	v, err := s.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: map[string]string{
		label.UpRack: s.rack, label.App: s.app, label.ResourceName: resource, label.Resource: kind, label.UpDirectory: s.directory,
	}})
	if err != nil {
		return fmt.Errorf("make volume %s: %w", name, err)
	}
	if v.Labels[label.UpRack] != s.rack || v.Labels[label.App] != s.app {
		return fmt.Errorf("volume %s: is there already, and not one of app %s in rack %s", name, s.app, s.rack)
	}
	return nil
}

// dropVolumes removes the volumes of the app's resources and returns their
// names.
func (s *site) dropVolumes(ctx context.Context) ([]string, error) {
	var names []string
	for _, v := range s.data {
		if err := s.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsNotFound(err) {
			return names, fmt.Errorf("remove volume %s: %w", v.Name, err)
		}
		names = append(names, v.Name)
	}
	return names, nil
}

// wrap says what was being done when err happened, if it did.
func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
