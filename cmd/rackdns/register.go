package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/lasting"
	"github.com/rackdns/rackdns/internal/registry"
)

// defaultApp is the app of a host that is registered without one.
const defaultApp = "default"

// hostFlags say which host is registered, and as what.
type hostFlags struct {
	ip, app, release string
	port, weight     int
	tags             map[string]string
	ttl              time.Duration
}

func registerCommand() *cobra.Command {
	var (
		reg   registryFlags
		flags hostFlags
		hold  bool
	)
	cmd := &cobra.Command{
		Use:               "register SERVICE",
		ValidArgsFunction: completeArgs(servicesOfFlag),
		Short:             "Register a host that no agent watches as an instance of a service",
		Long: `Register a host that no agent watches as an instance of a service, for as long
as --ttl. What tells one registration from another is the app, the service, the
address and the port. The same again renews it and replaces everything else, but
for a weight that isn't given; with --hold it is renewed until the command is told
to end, and then removed.`,
		Example: `  rackdns register legacy --ip 10.0.5.1 --port 8080
  rackdns register legacy --ip 10.0.5.1 --port 8080 --app shop --tags az=a,canary=true --weight 10
  rackdns register legacy --ip 10.0.5.1 --port 8080 --hold`,
		Args: folded(1, oneWord("service")),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := flags.instance(args[0], cmd.Flags().Changed("weight"))
			if err != nil {
				return err
			}
			client, err := reg.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			what := fmt.Sprintf("Registering %s at %s", i.Service, netip.AddrPortFrom(i.Host, i.Ports[0].Container))
			err = report(cmd.OutOrStdout(), what, func() (string, error) {
				// Cut off half-way, nobody could say whether it is registered. It
				// takes seconds at most.
				return "", client.Register(context.WithoutCancel(cmd.Context()), i, flags.ttl)
			})
			if err != nil || !hold {
				return err
			}
			holdHost(cmd.Context(), client, i, flags.ttl, setUpLog())
			return removeHost(context.WithoutCancel(cmd.Context()), client, i, cmd.OutOrStdout())
		},
	}
	reg.add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&flags.ip, "ip", "", "address of the host")
	f.IntVar(&flags.port, "port", 0, "port of the service there")
	appFlag(f, &flags.app, defaultApp, "app of the service")
	f.StringToStringVar(&flags.tags, "tags", nil, "tags, such as az=a,canary=true")
	f.IntVar(&flags.weight, "weight", 0, "how often it comes first, 1 to 100, or 0: only if nothing else serves (default as before, else 1)")
	f.StringVar(&flags.release, "release", "", "release that it runs")
	f.DurationVar(&flags.ttl, "ttl", registry.HostTTL, "how long it stays unless it is renewed")
	f.BoolVar(&hold, "hold", false, "renew it until the command ends, and remove it then")
	return cmd
}

// instance returns what the flags describe, checked.
func (f *hostFlags) instance(service string, weighted bool) (registry.Instance, error) {
	ip, err := parseIP(f.ip)
	if err != nil {
		return registry.Instance{}, err
	}
	if !isPort(f.port) {
		return registry.Instance{}, usagef("--port %d: is not a port", f.port)
	}
	if f.ttl < time.Second || f.ttl%time.Second != 0 {
		return registry.Instance{}, usagef("--ttl %s: want whole seconds, one or more", f.ttl)
	}
	if _, ok := f.tags[""]; ok {
		return registry.Instance{}, usagef("--tags: a tag has no name")
	}
	i := registry.HostInstance(f.app, service, netip.AddrPortFrom(ip, uint16(f.port)))
	i.Tags, i.Release = f.tags, f.release
	checked := i
	checked.Weight = registry.DefaultWeight
	if weighted {
		i.Weight, checked.Weight = f.weight, f.weight
	}
	if err := checked.Check(); err != nil {
		return i, usageError{err}
	}
	if _, err := registry.Encode(checked); err != nil {
		return i, usageError{err}
	}
	return i, nil
}

func isPort(n int) bool { return n > 0 && n <= math.MaxUint16 }

func parseIP(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, usagef("--ip: is missing; it is the address of the host")
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return ip, usagef("--ip %s: is not an IP address", registry.Quote(s))
	}
	ip = ip.Unmap()
	if err := registry.CheckAddr("--ip", ip); err != nil {
		return ip, usageError{err}
	}
	return ip, nil
}

// holdHost renews a host until ctx ends. What is in the way is logged.
func holdHost(ctx context.Context, client *registry.Client, i registry.Instance, ttl time.Duration, log *slog.Logger) {
	const retry = time.Second
	down, wait := lasting.New(log.With("service", i.Service, "ip", i.Host)), ttl/3
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := client.Register(ctx, i, ttl)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			down.Note("can't renew the host, and keep trying", err)
			wait = min(registry.Patience(err, down.Since(), retry), ttl/3)
		default:
			down.Over("host is renewed again")
			wait = ttl / 3
		}
	}
}

// removeHost removes a host that was held; that it is gone already is as good.
func removeHost(ctx context.Context, client *registry.Client, i registry.Instance, w io.Writer) error {
	at := netip.AddrPortFrom(i.Host, i.Ports[0].Container)
	return report(w, fmt.Sprintf("Deregistering %s at %s", i.Service, at), func() (string, error) {
		err := client.Deregister(ctx, i.App, i.Service, at)
		if errors.Is(err, registry.ErrNotRegistered) {
			err = nil
		}
		return "", err
	})
}

func deregisterCommand() *cobra.Command {
	var (
		reg     registryFlags
		ip, app string
		port    int
	)
	cmd := &cobra.Command{
		Use:               "deregister SERVICE",
		ValidArgsFunction: completeArgs(servicesOfFlag),
		Short:             "Remove a host that was registered",
		Long: `Remove a host that was registered as an instance of a service of an app. Where
it has that service at several ports, --port says which of them ends.`,
		Example: `  rackdns deregister legacy --ip 10.0.5.1
  rackdns deregister legacy --ip 10.0.5.1 --port 8080 --app shop`,
		Args: folded(1, oneWord("service")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := registry.CheckLabel("service", args[0]); err != nil {
				return usageError{err}
			}
			if err := registry.CheckApp("--app", app); err != nil {
				return usageError{err}
			}
			addr, err := parseIP(ip)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("port") && !isPort(port) {
				return usagef("--port %d: is not a port", port)
			}
			at, where := netip.AddrPortFrom(addr, uint16(port)), addr.String()
			if port != 0 {
				where = at.String()
			}
			client, err := reg.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			return report(cmd.OutOrStdout(), fmt.Sprintf("Deregistering %s at %s", args[0], where), func() (string, error) {
				return "", client.Deregister(cmd.Context(), app, args[0], at)
			})
		},
	}
	reg.add(cmd.Flags())
	cmd.Flags().StringVar(&ip, "ip", "", "address of the host")
	cmd.Flags().IntVar(&port, "port", 0, "port of the service there (default the only one)")
	appFlag(cmd.Flags(), &app, defaultApp, "app of the service")
	return cmd
}
