package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

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
}

func doctorCommand() *cobra.Command {
	f := &doctorFlags{address: choice{value: addressAuto, of: []string{addressAuto, registry.AddressHost, registry.AddressContainer}}}
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
			cfg, err := f.config()
			if err != nil {
				return err
			}
			all, err := f.run(cmd.Context(), cfg)
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
	f.add(cmd.Flags())
	f.node.add(cmd.Flags(), "address of the Docker Engine, or \""+dockerOff+"\" (default as for the docker command)")
	cmd.Flags().Var(&f.address, "address", "endpoints that the DNS server of this host hands out")
	cmd.Flags().StringSliceVar(&f.routable, "routable", nil, "networks that everybody can reach, by name or ID")
	cmd.Flags().StringSliceVar(&f.forwarders, "forwarders", nil, "networks of DNS servers that ask on behalf of others")
	out.add(cmd.Flags())
	cmd.Flags().BoolVar(&json, "json", false, "the same as -o json")
	return cmd
}

func (f *doctorFlags) config() (doctor.Config, error) {
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
	if cfg.Options.Forwarders, err = rack.ParseForwarders(f.forwarders); err != nil {
		return doctor.Config{}, usagef("--forwarders: %v", err)
	}
	return cfg, nil
}

// run makes the checks. What is wrong with a flag is wrong usage; a registry that
// can't be opened is a finding.
func (f *doctorFlags) run(ctx context.Context, cfg doctor.Config) ([]doctor.Result, error) {
	client, err := registry.Open(f.Config)
	if err != nil {
		_, err = f.open()
		return nil, err
	}
	if err := client.Close(); err != nil {
		return nil, err
	}
	return doctor.Run(ctx, cfg)
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
