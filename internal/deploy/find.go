package deploy

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// findTimeout bounds the search for a DNS server: who asks wants a hint.
const findTimeout = 10 * time.Second

// FindDNS returns the address at which the engine's containers reach a DNS server
// of the rack.
func FindDNS(ctx context.Context, cfg Config, suffix string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	u := &up{cfg: UpConfig{Config: cfg, Suffix: suffix}, site: newSite(cfg)}
	var err error
	if u.Client, err = dockerclient.Dial(cfg.Docker); err != nil {
		return netip.Addr{}, err
	}
	defer u.Close()
	info, err := u.Info(ctx)
	if err != nil {
		return netip.Addr{}, wrap(err, "reach the Docker Engine")
	}
	x, err := follow(ctx, cfg.Registry)
	if err != nil {
		return netip.Addr{}, err
	}
	defer x.Close()
	for _, n := range x.Snapshot().Nodes() {
		if n.Engine != info.ID {
			continue
		}
		servers, err := u.chooseDNS(ctx, n)
		if err != nil {
			return netip.Addr{}, err
		}
		return servers[0], nil
	}
	return netip.Addr{}, fmt.Errorf("no agent registers this engine's containers in rack %s: start rackdns standalone", u.rack)
}
