package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/registry"
)

// fromEnvironment annotates a flag that has its value from a variable.
const fromEnvironment = "environment"

// setFromEnvironment gives each flag that is not on the command line the value
// of its variable, RACKDNS_<FLAG>, if there is one.
func setFromEnvironment(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := environment(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || err != nil || f.Name == "help" {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = usagef("environment variable %s: %w", name, e)
			return
		}
		// It fails only for a flag that isn't there.
		_ = flags.SetAnnotation(f.Name, fromEnvironment, []string{name})
	})
	return err
}

var flagNamed = regexp.MustCompile(`--[a-z-]*[a-z]`)

// blameEnvironment says of a usage mistake that names a flag, in which variable
// it is, if whoever made it typed no such flag.
func blameEnvironment(flags *pflag.FlagSet, err error) error {
	var usage usageError
	if !errors.As(err, &usage) {
		return err
	}
	for _, name := range flagNamed.FindAllString(err.Error(), -1) {
		if f := flags.Lookup(name[len("--"):]); f != nil && f.Annotations[fromEnvironment] != nil {
			return usagef("environment variable %s: %w", environment(f.Name), err)
		}
	}
	return err
}

// environment returns the variable that gives a flag its default.
func environment(flag string) string {
	return "RACKDNS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// hostTimeout bounds the look-up of a host name in a flag.
const hostTimeout = 5 * time.Second

// listenAddresses returns where a flag says to listen, as ADDRESS:PORT: that
// itself; all addresses of this host for :PORT; those of a host name, of which
// there may be several.
func listenAddresses(ctx context.Context, flag, given string) ([]string, error) {
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return nil, usagef("--%s %q: want ADDRESS:PORT, HOST:PORT or :PORT", flag, given)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, usagef("--%s %q: %q is not a port", flag, given, port)
	}
	port = strconv.FormatUint(n, 10)
	if host == "" {
		return []string{net.JoinHostPort(anyAddress(), port)}, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []string{net.JoinHostPort(ip.String(), port)}, nil
	}
	// What looks like an address is one that was mistyped.
	if _, ok := dns.IsDomainName(host); !ok || strings.ContainsAny(host, ":/ ") || strings.Trim(host, "0123456789.") == "" {
		return nil, usagef("--%s %q: %q is neither an IP address nor a host name", flag, given, host)
	}
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("--%s %q: no address of %s is known: %w", flag, given, host, err)
	}
	var all []string
	for _, ip := range ips {
		if at := net.JoinHostPort(ip.Unmap().String(), port); !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	// IPv4 first: who takes one of them takes what most can reach.
	slices.SortStableFunc(all, func(a, b string) int { return strings.Count(a, "[") - strings.Count(b, "[") })
	return all, nil
}

// listenAddress is listenAddresses for who listens at one only.
func listenAddress(ctx context.Context, flag, given string) (string, error) {
	all, err := listenAddresses(ctx, flag, given)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

// anyAddress stands for all addresses of this host, those of IPv6 too where it
// has that.
func anyAddress() string {
	c, err := net.ListenPacket("udp6", "[::]:0")
	if err != nil {
		return netip.IPv4Unspecified().String()
	}
	_ = c.Close()
	return netip.IPv6Unspecified().String()
}

func checkSuffix(suffix string) error {
	if _, ok := dns.IsDomainName(suffix); !ok || strings.Trim(suffix, ".") == "" {
		return usagef("--suffix %q: is not a domain name", suffix)
	}
	for l := range strings.SplitSeq(strings.Trim(suffix, "."), ".") {
		if err := registry.CheckLabel("label", strings.ToLower(l)); err != nil {
			return usagef("--suffix %q: %w", suffix, err)
		}
	}
	return nil
}

// parseHostAddress returns the zero address for an empty string.
func parseHostAddress(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return ip, usagef("--host-address %q: is not an IP address", s)
	}
	if ip = ip.Unmap(); ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
		return ip, usagef("--host-address %s: others can't reach this host there", ip)
	}
	return ip, nil
}

// nodeName is the name that is given, else the host's.
func nodeName(given string) (string, error) {
	if given == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", usagef("--node: the host has no name, give one: %w", err)
		}
		given = host
	}
	if err := registry.CheckNode(given); err != nil {
		return "", usagef("--node: %w", err)
	}
	return given, nil
}

// setUpLog makes all of the process log to stderr, CoreDNS's plugins included,
// which go by way of the standard library.
func setUpLog() *slog.Logger {
	l := slog.New(slog.NewTextHandler(os.Stderr, nil))
	slog.SetDefault(l)
	log.SetOutput(os.Stderr)
	log.SetFlags(log.LstdFlags)
	return l
}

// rackFlag adds the flag that says which rack.
func rackFlag(flags *pflag.FlagSet, to *string) {
	flags.StringVarP(to, "rack", "r", defaultRack, "name of the rack")
}

// defaultRack is the rack of those who have but one.
const defaultRack = "local"

// tellVariables has the help of each flag tell its variable, for a command and
// all below it.
func tellVariables(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage += " [$" + environment(f.Name) + "]" })
	for _, c := range cmd.Commands() {
		tellVariables(c)
	}
}

// registryFlags are how a command that talks to etcd is told where it is.
type registryFlags struct {
	registry.Config
}

func (f *registryFlags) add(flags *pflag.FlagSet) {
	rackFlag(flags, &f.Rack)
	flags.StringSliceVar(&f.Endpoints, "etcd", nil, "URLs of etcd members, or unix:///PATH (default the socket of this host's standalone, else "+registry.DefaultEndpoint+")")
	flags.StringVar(&f.Prefix, "etcd-prefix", registry.DefaultPrefix, "where in etcd everything is")
	flags.StringVar(&f.Username, "etcd-user", "", "etcd's user")
	flags.StringVar(&f.PasswordFile, "etcd-password-file", "", "file with the user's password")
	flags.StringVar(&f.CAFile, "etcd-ca", "", "file with the certificate of etcd's CA")
	flags.StringVar(&f.CertFile, "etcd-cert", "", "file with our certificate for etcd")
	flags.StringVar(&f.KeyFile, "etcd-key", "", "file with the certificate's key")
}

// open returns the client that the flags describe.
func (f *registryFlags) open() (*registry.Client, error) {
	c, err := registry.Open(f.Config)
	var wrong *registry.ConfigError
	if errors.As(err, &wrong) {
		return nil, usagef("--%s: %w", flagOfField[wrong.Field], err)
	}
	if err != nil {
		return nil, err
	}
	if err := c.CheckAccess(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// flagOfField are the flags that the fields of a registry.Config come from.
var flagOfField = map[string]string{
	"Rack": "rack", "Endpoints": "etcd", "Prefix": "etcd-prefix", "Username": "etcd-user",
	"PasswordFile": "etcd-password-file", "CAFile": "etcd-ca", "CertFile": "etcd-cert",
}

// zoneFlags are registryFlags with the domain that the rack's names end in.
type zoneFlags struct {
	registryFlags
	suffix string
}

func (f *zoneFlags) add(flags *pflag.FlagSet) {
	f.registryFlags.add(flags)
	flags.StringVar(&f.suffix, "suffix", "convox", "domain of the rack: its zone is <rack>.<suffix>")
}

// zone returns the rack's zone, without a dot at its end.
func (f *zoneFlags) zone() (string, error) {
	if err := checkSuffix(f.suffix); err != nil {
		return "", err
	}
	return f.Rack + "." + cleanSuffix(f.suffix), nil
}

func cleanSuffix(suffix string) string { return strings.ToLower(strings.Trim(suffix, ".")) }

// choice is a flag with a few values, of which the first is the default.
type choice struct {
	value string
	of    []string
}

// String returns the flag's value.
func (c *choice) String() string { return c.value }

// Set takes the flag's value.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("want %s", strings.Join(c.of, " or "))
	}
	c.value = s
	return nil
}

// Type names the values in the help.
func (c *choice) Type() string { return strings.Join(c.of, "|") }
