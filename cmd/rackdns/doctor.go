package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/doctor"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/plugin/rack"
)

// doctorFlags say what is looked at, and from where.
type doctorFlags struct {
	zoneFlags
	node       nodeFlags
	address    choice
	routable   []string
	forwarders []string
	dns        []string
	http       []string
	// resolvConf, daemonConfig and networks are those of doctor.Config.
	resolvConf, daemonConfig string
	networks                 []string
}

func doctorCommand() *cobra.Command {
	f := newDoctorFlags()
	var (
		out  output
		json bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with the rack, and say what to do next",
		Long: `Look for what is wrong with the rack, as far as it can be seen from this host,
and say what to do next. It changes nothing. What can't be seen from here, or
without root, is said to be skipped.

It ends with exit code 1 if a check failed; warnings alone are 0. What each check
is about is in docs/doctor.md. Give --address, --routable and --forwarders as they
are in the Corefile of this host.`,
		Example: `  rackdns doctor
  rackdns doctor --docker off -o json | jq '.[] | select(.result == "failed")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config(cmd.Context())
			if err != nil {
				return err
			}
			all, err := doctor.Run(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if out.json || json {
				err = printJSON(cmd.OutOrStdout(), all)
			} else {
				err = printFindings(cmd.OutOrStdout(), all)
			}
			if err != nil {
				return err
			}
			if n := doctor.Count(all)[doctor.Failed]; n > 0 {
				return fmt.Errorf("%d of %d checks failed", n, len(doctor.Names()))
			}
			return nil
		},
	}
	f.addAll(cmd.Flags())
	out.add(cmd.Flags())
	cmd.Flags().BoolVar(&json, "json", false, "the same as -o json")
	return cmd
}

// newDoctorFlags returns the flags of a command that looks for what is wrong.
func newDoctorFlags() *doctorFlags {
	return &doctorFlags{address: choice{value: addressAuto, of: []string{addressAuto, registry.AddressHost, registry.AddressContainer}}}
}

func (f *doctorFlags) addAll(flags *pflag.FlagSet) {
	f.add(flags)
	f.node.add(flags, "address of the Docker Engine, or \""+dockerOff+"\" (default as for the docker command)")
	flags.Var(&f.address, "address", "endpoints that the DNS server of this host hands out")
	flags.StringSliceVar(&f.routable, "routable", nil, "networks that everybody can reach, by name or ID")
	flags.StringSliceVar(&f.forwarders, "forwarders", nil, "networks of DNS servers that ask on behalf of others")
	flags.StringSliceVar(&f.dns, "dns", nil, "where a DNS server of this host listens, ADDRESS:PORT (default all that are found); can be there several times")
	flags.StringSliceVar(&f.http, "http", nil, "where a process of this host serves its metrics, ADDRESS:PORT (default all that are found); can be there several times")
	flags.StringVar(&f.resolvConf, "resolv-conf", resolvConf, "file that says whom this host asks")
	flags.StringVar(&f.daemonConfig, "daemon-config", "", "file with the configuration of the Docker Engine (default /etc/docker/daemon.json)")
	flags.StringSliceVar(&f.networks, "network", nil, "Docker network that is looked at (default all); can be there several times")
}

func (f *doctorFlags) config(ctx context.Context) (doctor.Config, error) {
	if _, err := f.zone(); err != nil {
		return doctor.Config{}, err
	}
	noEngine := f.node.docker == dockerOff
	node := f.node
	if noEngine {
		node.docker = ""
	}
	a, err := node.config()
	if err != nil {
		return doctor.Config{}, err
	}
	a.Rack, a.Alone, a.Logger = f.Rack, true, slog.New(slog.DiscardHandler)
	cfg := doctor.Config{Registry: f.Config, Suffix: cleanSuffix(f.suffix), Agent: a, NoEngine: noEngine, Version: version}
	cfg.Options.Node, cfg.Options.Routable = a.Node, f.routable
	if f.address.value != addressAuto {
		cfg.Options.Address = f.address.value
	}
	cfg.DaemonConfig, cfg.Networks = f.daemonConfig, f.networks
	if f.resolvConf != resolvConf {
		cfg.ResolvConf = f.resolvConf
	}
	for _, given := range f.dns {
		at, err := listenAddress(ctx, "dns", given)
		if err != nil {
			return doctor.Config{}, err
		}
		addr, err := netip.ParseAddrPort(at)
		if err != nil {
			return doctor.Config{}, usagef("--dns %q: %w", given, err)
		}
		cfg.DNS = append(cfg.DNS, addr)
	}
	for _, given := range f.http {
		if given == httpOff {
			continue // as the environment may have it for standalone
		}
		at, err := listenAddress(ctx, "http", given)
		if err != nil {
			return doctor.Config{}, err
		}
		cfg.HTTP = append(cfg.HTTP, at)
	}
	if cfg.Options.Forwarders, err = rack.ParseForwarders(f.forwarders); err != nil {
		return doctor.Config{}, usagef("--forwarders: %v", err)
	}
	return cfg, f.check()
}

// check says what is wrong with the flags of the registry. One that can't be
// reached is a finding, and no mistake.
func (f *doctorFlags) check() error {
	client, err := registry.Open(f.Config)
	if err != nil {
		_, err = f.open() // which says of which flag it is
		return err
	}
	return client.Close()
}

// printFindings prints a line for each finding, with the next step below it.
func printFindings(w io.Writer, all []doctor.Result) error {
	var t table
	t.add("RESULT", "CHECK", "WHAT")
	for _, r := range all {
		t.add(string(r.Outcome), r.Check, r.What)
		if r.Next != "" {
			t.add("", "", "-> "+r.Next)
		}
	}
	if err := t.print(w, ""); err != nil {
		return err
	}
	count := doctor.Count(all)
	var words []string
	for _, o := range []doctor.Outcome{doctor.Passed, doctor.Warned, doctor.Failed, doctor.Skipped} {
		if count[o] > 0 {
			words = append(words, fmt.Sprintf("%d %s", count[o], o))
		}
	}
	_, err := fmt.Fprintf(w, "\n%d checks: %s\n", len(doctor.Names()), strings.Join(words, ", "))
	return err
}
