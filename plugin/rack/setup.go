package rack

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnsutil"
	"github.com/coredns/coredns/plugin/pkg/upstream"
	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// DefaultTTL is the TTL of all records, in seconds, and of negative answers.
const DefaultTTL = 5

// maxTTL is the longest TTL that makes sense for names that move.
const maxTTL = 3600

func init() { plugin.Register(name, setup) }

func setup(c *caddy.Controller) error {
	r, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		r.Next = next
		return r
	})
	w := waitOf(c)
	w.coming++
	c.OnStartup(func() error {
		config := dnsserver.GetConfig(c)
		r.nsAddrs, r.ifAddrs = boundAddrs(config.ListenHosts), interfaceAddrs()
		r.signed = config.Handler("dnssec") != nil
		if err := r.start(); err != nil {
			return err
		}
		if notify := notifiesBy(config.Handler("transfer")); notify != nil {
			r.startNotifying(notify)
		}
		w.started(r, listenAddrs(config))
		return nil
	})
	c.OnShutdown(r.stop)
	cleanUpFailedReloads(c)
	return nil
}

// start begins to follow the registry, or joins those who follow it already.
// Nothing is started before this: a failed reload never shuts down what it
// only parsed.
func (r *Rack) start() error {
	x, release, err := index.Acquire(r.config)
	if err != nil {
		return plugin.Error(name, err)
	}
	r.index, r.release = x, release
	noteStarted(r)
	return nil
}

func (r *Rack) stop() error {
	r.notifier.stop()
	if r.release == nil {
		return nil
	}
	return r.release()
}

func parse(c *caddy.Controller) (*Rack, error) {
	r := newRack()
	for n := 0; c.Next(); n++ {
		if n > 0 {
			return nil, c.Errf("%s is there twice: want one in a server block, with all zones of the rack", name)
		}
		args := c.RemainingArgs()
		if err := checkZones(args); err != nil {
			return nil, c.Err(err.Error())
		}
		if err := r.setZones(plugin.OriginsFromArgsOrServerBlock(args, c.ServerBlockKeys)); err != nil {
			return nil, c.Err(err.Error())
		}
		seen := map[string]bool{}
		for c.NextBlock() {
			property := c.Val()
			if seen[property] {
				return nil, c.Errf("property %q is there twice", property)
			}
			seen[property] = true
			args := c.RemainingArgs()
			if slices.Contains(args, "") {
				return nil, c.Errf("property %q: has an empty argument", property)
			}
			if err := r.parseProperty(property, args); err != nil {
				return nil, c.Errf("property %q: %v", property, err)
			}
		}
	}
	if r.config.Options.Node == "" {
		r.config.Options.Node = defaultNode()
	}
	if state := r.config.State; state != "" && !filepath.IsAbs(state) {
		// As other plugins' files, below the directory of the plugin root.
		r.config.State = filepath.Join(dnsserver.GetConfig(c).Root, state)
	}
	// Finds what is wrong with all of it together; makes no connection.
	x, err := index.Open(r.config)
	if err != nil {
		return nil, c.Err(err.Error())
	}
	return r, x.Close()
}

func newRack() *Rack {
	r := &Rack{ttl: DefaultTTL, upstream: upstream.New(), clients: newClients()}
	r.config.Logger = slog.New(logHandler{})
	return r
}

// New returns a Rack that answers for zones from an index that somebody else
// runs, with the defaults of the Corefile.
func New(x *index.Index, zones ...string) (*Rack, error) {
	r := newRack()
	r.index = x
	return r, r.setZones(zones)
}

// setZones takes the zones and finds the rack's name in them.
func (r *Rack) setZones(names []string) error {
	for _, z := range names {
		z = strings.ToLower(dns.Fqdn(z))
		if r.zoneOf(z) != nil {
			continue
		}
		if dnsutil.IsReverse(z) != 0 {
			r.zones = append(r.zones, zone{name: z})
			continue
		}
		labels := dns.SplitDomainName(z)
		if len(labels) < 2 {
			return fmt.Errorf("zone %q: want <rack>.<suffix>, such as acme.convox", z)
		}
		if err := registry.CheckLabel("rack", labels[0]); err != nil {
			return fmt.Errorf("zone %q: %w", z, err)
		}
		if rack := r.config.Registry.Rack; rack != "" && rack != labels[0] {
			return fmt.Errorf("zone %q: is of another rack than %q; give each rack a block of its own", z, r.base)
		}
		r.config.Registry.Rack = labels[0]
		r.zones = append(r.zones, zone{name: z, forward: true})
		if r.base == "" {
			r.base = z
		}
	}
	if r.base == "" {
		return fmt.Errorf("zones %s: none of them is <rack>.<suffix>, such as acme.convox", strings.Join(names, " "))
	}
	for n := range r.zones {
		// Reverse zones borrow the server's name from the first forward zone.
		z, from := &r.zones[n], r.base
		if z.forward {
			from = z.name
		}
		z.ns, z.mbox = labelNS+"."+from, "hostmaster."+r.base
	}
	// A name can be in a zone and in one above it.
	slices.SortStableFunc(r.zones, func(a, b zone) int { return len(b.name) - len(a.name) })
	r.counters = newCounters(r.config.Registry.Rack)
	return nil
}

// properties are all that there are, in the order of the manual.
var properties = []string{
	"etcd", "credentials", "tls", "prefix", "node", "address", "routable", "ttl", "forwarders", "answers", "max_stale", "preserve", "state", "fallthrough",
}

// checkZones finds arguments that are no zones, which CoreDNS leaves out without a
// word.
func checkZones(args []string) error {
	for _, z := range args {
		if hosts := plugin.Host(z).NormalizeExact(); len(hosts) == 0 {
			return fmt.Errorf("zone %s: is no domain name, such as acme.convox, and no network, such as 172.18.0.0/16", registry.Quote(z))
		}
	}
	return nil
}

// parseProperty takes one line of the block.
func (r *Rack) parseProperty(property string, args []string) error {
	reg, opts := &r.config.Registry, &r.config.Options
	var err error
	switch property {
	case "etcd":
		if err = atLeast(args, 1); err == nil {
			reg.Endpoints = args
			err = checkRegistry(registry.Config{Endpoints: args})
		}
	case "credentials":
		if err = exactly(args, 2); err == nil {
			reg.Username, reg.PasswordFile = args[0], args[1]
			err = checkRegistry(registry.Config{Username: args[0], PasswordFile: args[1]})
		}
	case "tls":
		err = parseTLS(reg, args)
	case "prefix":
		if err = oneOf(args, &reg.Prefix); err == nil {
			err = checkRegistry(registry.Config{Prefix: reg.Prefix})
		}
	case "node":
		if err = oneOf(args, &opts.Node); err == nil {
			err = registry.CheckNode(opts.Node)
		}
	case "address":
		if err = oneOf(args, &opts.Address); err == nil {
			opts.Address, err = parseAddress(opts.Address)
		}
	case "routable":
		opts.Routable, err = args, atLeast(args, 1)
	case "forwarders":
		opts.Forwarders, err = parseForwarders(args)
	case "ttl":
		r.ttl, err = parseTTL(args)
	case "answers":
		r.answers, err = parseAnswers(args)
	case "max_stale":
		r.maxStale, err = parseDuration(args)
	case "preserve":
		r.config.Preserve, err = parsePreserve(args)
	case "state":
		err = oneOf(args, &r.config.State)
	case "fallthrough":
		if err = checkZones(args); err == nil {
			r.fall.SetZonesFromArgs(args)
		}
	default:
		return fmt.Errorf("there is no such property; there are %s", strings.Join(properties, ", "))
	}
	return err
}

// checkRegistry finds what is wrong with one setting by itself, so that it can
// be told where it stands.
func checkRegistry(cfg registry.Config) error {
	cfg.Rack = "rack"
	if (cfg.CAFile != "" || cfg.CertFile != "") && len(cfg.Endpoints) == 0 {
		cfg.Endpoints = []string{"https://127.0.0.1:2379"}
	}
	c, err := registry.Open(cfg)
	if err != nil {
		return err
	}
	return c.Close()
}

func parseAddress(s string) (string, error) {
	switch s {
	case "auto":
		return registry.AddressAuto, nil
	case registry.AddressHost, registry.AddressContainer:
		return s, nil
	}
	return "", fmt.Errorf("%q is neither auto, host nor container", s)
}

// parseTLS takes "CERT KEY CA", "CERT KEY" or, for a server that wants no
// certificate of ours, "CA".
func parseTLS(reg *registry.Config, args []string) error {
	switch len(args) {
	case 1:
		reg.CAFile = args[0]
	case 2, 3:
		reg.CertFile, reg.KeyFile = args[0], args[1]
		if len(args) == 3 {
			reg.CAFile = args[2]
		}
	default:
		return fmt.Errorf("want CERT KEY CA, CERT KEY, or CA, not %d arguments", len(args))
	}
	return checkRegistry(registry.Config{CertFile: reg.CertFile, KeyFile: reg.KeyFile, CAFile: reg.CAFile})
}

// parseForwarders takes networks, and addresses for networks of one.
func parseForwarders(args []string) ([]netip.Prefix, error) {
	if err := atLeast(args, 1); err != nil {
		return nil, err
	}
	return ParseForwarders(args)
}

func parseTTL(args []string) (uint32, error) {
	if err := exactly(args, 1); err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(args[0], 10, 31)
	if err != nil || n > maxTTL {
		return 0, fmt.Errorf("%q is not a number of seconds from 0 to %d", args[0], maxTTL)
	}
	return uint32(n), nil
}

func parseAnswers(args []string) (int, error) {
	if err := exactly(args, 1); err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(args[0], 10, 31)
	if err != nil || n < 1 || n > registry.MaxAnswers {
		return 0, fmt.Errorf("%q is not a number of addresses from 1 to %d; without it there is no limit", args[0], registry.MaxAnswers)
	}
	return int(n), nil
}

func parseDuration(args []string) (time.Duration, error) {
	if err := exactly(args, 1); err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(args[0])
	if err != nil || d <= 0 || args[0][0] == '+' {
		return 0, fmt.Errorf("%q is not a duration such as 30s or 1h", args[0])
	}
	return d, nil
}

// parsePreserve takes a duration, or 0 for never.
func parsePreserve(args []string) (time.Duration, error) {
	if err := exactly(args, 1); err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(args[0])
	switch {
	case err != nil || d < 0 || args[0][0] == '+':
		return 0, fmt.Errorf("%q is not a duration such as 10m, or 0 for never", args[0])
	case d == 0:
		return -1, nil
	}
	return d, nil
}

func oneOf(args []string, to *string) error {
	if err := exactly(args, 1); err != nil {
		return err
	}
	*to = args[0]
	return nil
}

func exactly(args []string, n int) error {
	if len(args) != n {
		return fmt.Errorf("wants %d, has %d arguments", n, len(args))
	}
	return nil
}

func atLeast(args []string, n int) error {
	if len(args) < n {
		return fmt.Errorf("wants at least %d, has %d arguments", n, len(args))
	}
	return nil
}

// defaultNode is $RACKDNS_NODE, else the host's name.
func defaultNode() string {
	if n := os.Getenv("RACKDNS_NODE"); n != "" {
		return n
	}
	n, err := os.Hostname()
	if err != nil {
		return ""
	}
	return n
}
