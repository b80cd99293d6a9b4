package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/compose"
	"github.com/rackdns/rackdns/internal/deploy"
	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/terminal"
)

func composeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compose",
		Short: "Say what the services of a Compose file are called, and who reaches them",
		Long: `Say what the services of a Compose file are called, and who reaches them. They
are brought up by Docker's own docker compose up; an agent registers them, and
nothing has to be added to the file but for those services that ask by name.`,
		Example: `  rackdns compose check --rack acme
  rackdns compose env worker --rack acme`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(composeCheckCommand(), composeEnvCommand())
	return cmd
}

// composeFlags say which file is read.
type composeFlags struct {
	zoneFlags
	file string
}

func (f *composeFlags) add(cmd *cobra.Command) {
	f.zoneFlags.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "the Compose file (default the one of this directory)")
}

func (f *composeFlags) load(ctx context.Context) (*compose.Project, error) {
	file := f.file
	if file == "" {
		if file = compose.Find("."); file == "" {
			return nil, usagef("there is no %s here: give the file with -f", strings.Join(compose.Names, ", "))
		}
	}
	p, err := compose.Load(ctx, file)
	if err != nil {
		return nil, usageError{err}
	}
	return p, nil
}

func composeCheckCommand() *cobra.Command {
	var f composeFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say each service's name, who reaches it, and what would keep it out",
		Example: `  rackdns compose check --rack acme
  rackdns compose check -f shop/compose.yaml --rack acme`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			zone, err := f.zone()
			if err != nil {
				return err
			}
			p, err := f.load(cmd.Context())
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, r := range p.Check(zone) {
				name := r.Name
				if name == "" {
					name = "(no name)"
				}
				fmt.Fprintf(&text, "%s  %s\n", r.Service, name)
				for _, who := range r.Reached {
					fmt.Fprintf(&text, "  reached by: %s\n", who)
				}
				for _, what := range r.KeptOut {
					fmt.Fprintf(&text, "  kept out: %s\n", what)
				}
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), terminal.Lines(text.String()))
			return err
		},
	}
	f.add(cmd)
	return cmd
}

func composeEnvCommand() *cobra.Command {
	var (
		f      composeFlags
		style  = choice{"url", []string{"url", "full"}}
		format = choice{string(env.Dotenv), nil}
	)
	for _, known := range env.Formats {
		format.of = append(format.of, string(known))
	}
	cmd := &cobra.Command{
		Use:   "env SERVICE",
		Short: "Print the links of a service: a <NAME>_URL for each service that it links to",
		Long: `Print the links of a service: a <NAME>_URL for each service that it links to, by
links, by its label rackdns.links, or by depends_on where the other one has a
port. The port is the first one of TCP in ports or expose; its scheme is what a
label rackdns.port.<n> or LINK_SCHEME in the other service's environment says,
else http at port 80, https at 443, and tcp.`,
		Example: `  rackdns compose env worker --rack acme
  rackdns compose env worker --rack acme --style full --format shell`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("%s takes a service; see %[1]s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := f.zone(); err != nil {
				return err
			}
			p, err := f.load(cmd.Context())
			if err != nil {
				return err
			}
			all, err := p.Links(args[0], f.Rack, cleanSuffix(f.suffix), styles[style.value])
			if err != nil {
				return usageError{err}
			}
			text, err := env.Encode(env.Format(format.value), all)
			if err != nil {
				return err
			}
			if onTerminal(cmd.OutOrStdout()) {
				text = []byte(terminal.Lines(string(text)))
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().Var(&style, "style", "url: a link is WEB_URL; full: that, and its scheme, host, port, path, username and password")
	cmd.Flags().Var(&format, "format", "how to print it")
	return cmd
}

// composeInstead returns the Compose file that up was given, or that is where it
// looks for a convox.yml and finds none; "" if there is none.
func composeInstead(file string) string {
	if _, err := os.Stat(file); err == nil {
		if filepath.Base(file) != defaultManifest && compose.Is(file) {
			return file
		}
		return ""
	}
	if filepath.Base(file) == defaultManifest {
		return compose.Find(filepath.Dir(file))
	}
	return ""
}

// refuseCompose says how the services of a Compose file get their names: it is not
// brought up here.
func refuseCompose(cmd *cobra.Command, file string, cfg deploy.Config, suffix string) error {
	out := cmd.OutOrStdout()
	server, err := deploy.FindDNS(cmd.Context(), cfg, suffix)
	if err == nil {
		fmt.Fprintf(out, "Names of what docker compose up starts work by themselves. A service that asks\nby name needs these two lines:\n\n    dns: %s\n    dns_search: .\n\n", server)
	} else {
		fmt.Fprintf(out, "Names of what docker compose up starts work by themselves, once there is a DNS\nserver: %s\n\n", oneLine(err.Error()))
	}
	fmt.Fprintf(out, "rackdns compose check says each service's name and who reaches it.\n")
	return usagef("%s is a Compose file: bring it up with docker compose up; rackdns up wants a %s", file, defaultManifest)
}
