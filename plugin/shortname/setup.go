package shortname

import (
	"fmt"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/plugin/rack"
)

// rackPlugin is the only plugin that can be named after the @.
const rackPlugin = "rack"

func init() { plugin.Register(name, setup) }

func setup(c *caddy.Controller) error {
	s, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		s.Next = next
		return s
	})
	// Only then are all plugins of the server block there.
	c.OnStartup(func() error {
		r, ok := dnsserver.GetConfig(c).Handler(rackPlugin).(*rack.Rack)
		if !ok {
			return plugin.Error(name, fmt.Errorf("%s - Error during parsing: @%s: there is no %s in the same server block, such as %q", s.place, rackPlugin, rackPlugin, "rack acme.convox"))
		}
		s.use(r)
		return nil
	})
	return nil
}

// New returns a Shortname for a rack that is run by somebody else. Namespaces
// are those that are ours though the world knows them too.
func New(r *rack.Rack, namespaces ...string) *Shortname {
	s := &Shortname{listed: map[string]bool{}}
	for _, ns := range namespaces {
		s.listed[ns] = true
	}
	s.use(r)
	return s
}

func (s *Shortname) use(r *rack.Rack) {
	s.rack = r
	s.zones = map[string]bool{}
	for _, z := range r.CacheBypassZones() {
		_, last := split(z)
		s.zones[last] = true
	}
	s.counters = newCounters(r.RackName())
}

func parse(c *caddy.Controller) (*Shortname, error) {
	s := &Shortname{listed: map[string]bool{}}
	for n := 0; c.Next(); n++ {
		if n > 0 {
			return nil, c.Errf("%s is there twice: want one in a server block", name)
		}
		s.place = fmt.Sprintf("%s:%d", c.File(), c.Line())
		if args := c.RemainingArgs(); len(args) != 1 || args[0] != "@"+rackPlugin {
			return nil, c.Errf("wants @%s, has %q", rackPlugin, strings.Join(args, " "))
		}
		for c.NextBlock() {
			property := c.Val()
			if property != "namespaces" {
				return nil, c.Errf("property %q: there is no such property; there is namespaces", property)
			}
			if err := s.list(c.RemainingArgs()); err != nil {
				return nil, c.Errf("property %q: %v", property, err)
			}
		}
	}
	return s, nil
}

func (s *Shortname) list(names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("wants at least 1 argument")
	}
	for _, n := range names {
		label := strings.ToLower(strings.TrimSuffix(n, "."))
		if err := registry.CheckApp("namespace", label); err != nil {
			return err
		}
		if s.listed[label] {
			return fmt.Errorf("namespace %q is there twice", label)
		}
		s.listed[label] = true
	}
	return nil
}
