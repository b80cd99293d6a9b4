package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/rackdns/rackdns/internal/hostnet"
)

const (
	// settle is how long changes of addresses are left to come to an end: a
	// DHCP client takes one away before it gives another.
	settle = 300 * time.Millisecond
	// lookAgain is how often the host is looked at though nothing was heard.
	lookAgain = 15 * time.Second
)

// place is where the node is, as its host says.
type place struct {
	home home
	// addresses are all that are the node itself, its own first; links are its
	// interfaces.
	addresses []netip.Addr
	links     []link
	// fallback says why an address that only the host and its containers reach
	// had to do, and network on which Docker network it is; empty if it hadn't.
	fallback, network string
}

// host is where an agent finds out its place; tests have others.
type host struct {
	route func() (netip.Addr, error)
	links func() ([]link, error)
}

// home returns the node as containers are published on it now.
func (a *Agent) home() home { return a.place.Load().home }

// locate finds out where the node is. An address that nobody configured has to
// be the host's. A node that is alone falls back to the host's address on one of
// Docker's bridges, which the host and all its containers reach: better than the
// one in which it runs itself, or none.
func (a *Agent) locate(b bridges) (*place, error) {
	if a.remote {
		// Nothing of this host says anything of the engine's.
		h := home{node: a.cfg.Node, addr: a.configured}
		return &place{home: h, addresses: []netip.Addr{h.addr}}, nil
	}
	ls, err := a.host.links()
	if err != nil {
		return nil, err
	}
	at := func(addr netip.Addr) *place {
		h := newHome(a.cfg.Node, addr, ls)
		return &place{home: h, addresses: nodeAddresses(h, ls, b), links: ls}
	}
	if a.configured.IsValid() {
		return at(a.configured), nil
	}
	addr, err := a.host.route()
	s, inside := b.around(addr)
	switch {
	case err == nil && !inside:
		return at(addr), nil
	case inside && !a.cfg.Alone:
		return nil, &insideError{addr, s.network}
	case !a.cfg.Alone:
		return nil, err
	}
	if was := a.home().addr; was.IsValid() && has(ls, was) && (!inside || was == s.gateway) {
		// The route is away, and the address isn't; or it fell back before.
		p := at(was)
		p.fallback, p.network = a.place.Load().fallback, a.place.Load().network
		return p, nil
	}
	if !inside {
		if len(b.subnets) == 0 {
			return nil, errNoAddress
		}
		s = b.subnets[0]
	}
	p := at(s.gateway)
	p.fallback, p.network = "this host has no default route to tell its address by", s.network
	if inside {
		p.fallback = fmt.Sprintf("address %s of the default route is a container's", addr)
	}
	return p, nil
}

func has(ls []link, addr netip.Addr) bool {
	return slices.ContainsFunc(ls, func(l link) bool { return slices.Contains(l.addrs, addr) })
}

// settleDown asks the engine for its bridges, and has the node be where it is
// now. The engine's version is empty where it doesn't matter.
func (a *Agent) settleDown(ctx context.Context, e engine, version string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b, err := dockerBridges(ctx, e)
	if err != nil {
		return err
	}
	a.moving.Lock()
	defer a.moving.Unlock()
	a.bridges, a.version = b, version
	return a.move()
}

// move has the node be where it is now.
func (a *Agent) move() error {
	p, err := a.locate(a.bridges)
	if err != nil {
		return err
	}
	was := a.place.Swap(p)
	switch {
	case was.home.addr == p.home.addr:
	case p.fallback != "":
		a.log.Warn(p.fallback+": containers are published at this host's address on a Docker network, where this host and its containers reach them, and nobody else; say with --host-address where others would",
			"address", p.home.addr, "network", p.network)
	case was.home.addr.IsValid():
		a.log.Info("this host's address has changed: its containers are published at the new one", "address", p.home.addr, "before", was.home.addr)
	}
	return nil
}

// followHost has the node move with its host's addresses until ctx ends.
func (a *Agent) followHost(ctx context.Context) {
	if a.remote {
		return
	}
	changed, stop, err := hostnet.Notify(ctx, hostnet.Addresses|hostnet.Routes)
	if err != nil {
		a.log.Warn("not told when this host's addresses change, so that a new one may take a while to be known", "error", err, "while", lookAgain)
	}
	defer stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for seen := ""; ; {
		// At first too: something may have changed since the agent began.
		if now := a.outlook(); now != seen && a.follows(ctx) {
			seen = now
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			wait(ctx, settle)
		case <-again.C:
		}
	}
}

// outlook is all of the host that the node's place follows from. It changes less
// often than the kernel tells of something: each container's start is that.
func (a *Agent) outlook() string {
	route, err := a.host.route()
	ls, lerr := a.host.links()
	return fmt.Sprint(route, err, ls, lerr)
}

// follows looks where the node is, and has it published there. It returns false
// if that is to be tried again.
func (a *Agent) follows(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.InspectTimeout)
	defer cancel()
	e, err := a.engine.get()
	if err != nil {
		a.refresh(nil, "")
		return false
	}
	b, err := dockerBridges(ctx, e)
	if err != nil {
		// It is the address that matters.
		a.refresh(nil, "")
		return false
	}
	return a.refresh(&b, a.known())
}

// known is the engine's version as it was told last.
func (a *Agent) known() string {
	a.moving.Lock()
	defer a.moving.Unlock()
	return a.version
}
