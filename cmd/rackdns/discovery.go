package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/httpapi/discovery"
	"github.com/rackdns/rackdns/internal/registry"
)

// discoveryFlags are the settings of Lyft's discovery. Its own variables count
// where neither a flag nor ours is there.
type discoveryFlags struct {
	ttl             time.Duration
	environment     string
	proxies, autoIP []string
}

func (f *discoveryFlags) add(flags *pflag.FlagSet) {
	flags.DurationVar(&f.ttl, "host-ttl", registry.HostTTL, "how long a host that registered by HTTP stays unless it comes again (also $HOST_TTL, in seconds)")
	flags.StringVar(&f.environment, "application-env", discovery.DefaultEnvironment, "what Lyft's discovery calls env (also $APPLICATION_ENV)")
	flags.StringSliceVar(&f.proxies, "http-proxies", prefixTexts(discovery.DefaultProxies), "networks of proxies whose X-Forwarded-For says where a host is that registers with auto_ip")
	flags.StringSliceVar(&f.autoIP, "auto-ip", prefixTexts(discovery.DefaultAutoIP), "networks in which such a host may be")
}

func prefixTexts(all []netip.Prefix) (texts []string) {
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return texts
}

// lyftIgnored are the variables of the original that have no counterpart.
var lyftIgnored = []string{
	"APPLICATION_DIR", "BACKEND_STORAGE", "CACHE_TTL", "CACHE_TYPE", "DYNAMODB_CREATE_TABLES_IN_APP", "DYNAMODB_TABLE_HOSTS", "DYNAMODB_URL",
}

// options returns what the flags and the original's variables say. The latter count
// only where a flag wasn't given.
func (f *discoveryFlags) options(flags *pflag.FlagSet) (o discovery.Options, err error) {
	o = discovery.Options{TTL: f.ttl, Environment: f.environment}
	if text := os.Getenv("HOST_TTL"); text != "" && !flags.Changed("host-ttl") {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 1 {
			return o, usagef("HOST_TTL %s: want seconds", registry.Quote(text))
		}
		o.TTL = time.Duration(seconds) * time.Second
	}
	if o.TTL < time.Second || o.TTL%time.Second != 0 {
		return o, usagef("--host-ttl %s: want whole seconds, one or more", o.TTL)
	}
	if text := os.Getenv("APPLICATION_ENV"); text != "" && !flags.Changed("application-env") {
		o.Environment = text
	}
	if o.Proxies, err = parsePrefixes("--http-proxies", f.proxies); err != nil {
		return o, err
	}
	if o.AutoIP, err = parsePrefixes("--auto-ip", f.autoIP); err != nil {
		return o, err
	}
	return o, nil
}

// tellIgnored logs which of the original's variables are there for nothing.
func (f *discoveryFlags) tellIgnored(log *slog.Logger) {
	there := slices.DeleteFunc(slices.Clone(lyftIgnored), func(name string) bool { return os.Getenv(name) == "" })
	if len(there) > 0 {
		log.Info("variables of Lyft's discovery have no counterpart here and are ignored", "variables", there)
	}
}

func parsePrefixes(flag string, texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if ip, e := netip.ParseAddr(text); e == nil {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("%s %s: want a network such as 192.168.0.0/16", flag, registry.Quote(text))}
		}
		all = append(all, p.Masked())
	}
	return all, nil
}
