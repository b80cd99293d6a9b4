package bind

import (
	"errors"
	"fmt"
	"slices"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
)

func init() { plugin.Register(name, setup) }

type lateKey struct{}

// lateOf returns what the blocks of a server have in common.
func lateOf(c *caddy.Controller) *late {
	if l, ok := c.Get(lateKey{}).(*late); ok {
		return l
	}
	l := &late{}
	c.Set(lateKey{}, l)
	c.OnShutdown(func() error { l.stop(); return nil })
	return l
}

func setup(c *caddy.Controller) error {
	hosts, err := parse(c)
	if err != nil {
		return plugin.Error(name, c.Err(err.Error()))
	}
	config := dnsserver.GetConfig(c)
	config.ListenHosts = hosts
	if Reload == nil {
		return nil
	}
	l := lateOf(c)
	config.ListenHosts = l.partition(hosts)
	c.OnStartup(func() error { l.watch(); return nil })
	return nil
}

// parse returns the addresses of a block, those of all its directives together.
func parse(c *caddy.Controller) ([]string, error) {
	var hosts []string
	for c.Next() {
		args := c.RemainingArgs()
		if len(args) == 0 {
			return nil, errors.New("at least one address or interface name is expected")
		}
		var except []string
		for c.NextBlock() {
			if c.Val() != "except" {
				return nil, fmt.Errorf("invalid option %q", c.Val())
			}
			if except = c.RemainingArgs(); len(except) == 0 {
				return nil, errors.New("at least one address or interface must be given to except subdirective")
			}
		}
		all, err := listHosts(args)
		if err != nil {
			return nil, err
		}
		not, err := listHosts(except)
		if err != nil {
			return nil, err
		}
		for _, h := range all {
			if !slices.Contains(not, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts, nil
}
