package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/convox"
	"github.com/rackdns/rackdns/internal/index"
)

func servicesCommand() *cobra.Command {
	var (
		reg zoneFlags
		app string
		out output
	)
	cmd := &cobra.Command{
		Use:   "services [APP]",
		Short: "List the services of an app, or of all, with their names in DNS",
		Long: `List the services of an app, or of all, with their names in DNS.

PORTS are those of the containers, on both sides of the colon, since a name
leads to the containers themselves. A service without a port has no DOMAIN and
comes last: it is there, but nothing can connect to it.

Of several apps that claim one namespace the one that had it first keeps it while
any of it lives; what the others claim in vain is said on standard error.`,
		Example: `  rackdns services shop
  rackdns services shop | sed -n 2p | awk '{print $2}'
  rackdns services -o json`,
		Args: oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			zone, err := reg.zone()
			if err != nil {
				return err
			}
			app, err := theApp(cmd, args)
			if err != nil {
				return err
			}
			s, err := reg.snapshot(cmd.Context(), index.Options{})
			if err != nil {
				return err
			}
			apps, err := chosenApps(s, app)
			if err != nil {
				return err
			}
			all := []convox.Service{}
			for _, a := range apps {
				all = append(all, convox.Services(s, a, zone)...)
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			if err := printServices(cmd.OutOrStdout(), all, app == ""); err != nil {
				return err
			}
			if err := printClashes(cmd.ErrOrStderr(), s.Clashes(), apps); err != nil {
				return err
			}
			return printAliasClashes(cmd.ErrOrStderr(), s.AliasClashes(), apps)
		},
	}
	cmd.ValidArgsFunction = completeArgs(knownApps)
	reg.add(cmd.Flags())
	appFlag(cmd.Flags(), &app, "", "the app (default all)")
	out.add(cmd.Flags())
	return cmd
}

// printServices prints the table that `convox services` does, which has no app.
func printServices(w io.Writer, all []convox.Service, withApp bool) error {
	var t table
	row := func(app string, cells ...string) {
		if withApp {
			cells = append([]string{app}, cells...)
		}
		t.add(cells...)
	}
	row("APP", "SERVICE", "DOMAIN", "PORTS")
	// Scripts take the name in the second line: it is one if there is any.
	slices.SortStableFunc(all, func(x, y convox.Service) int {
		return cmp.Or(cmp.Compare(x.App, y.App), min(len(y.Domain), 1)-min(len(x.Domain), 1))
	})
	for _, v := range all {
		ports := make([]string, len(v.Ports))
		for n, p := range v.Ports {
			ports[n] = p.String()
		}
		row(v.App, v.Name, v.Domain, strings.Join(ports, " "))
	}
	return t.print(w, "")
}

// printClashes says which namespaces apps claim in vain, as far as they concern
// one of these apps.
func printClashes(w io.Writer, all []index.Clash, apps []*index.App) error {
	concerns := func(c index.Clash) bool {
		return slices.ContainsFunc(apps, func(a *index.App) bool { return a.Name == c.Winner || slices.Contains(c.Apps, a.Name) })
	}
	for _, c := range all {
		if !concerns(c) {
			continue
		}
		_, err := fmt.Fprintf(w, "namespace %s: app %s holds it, claimed in vain by %s: give them another one\n", c.Namespace, c.Winner, strings.Join(c.Apps, ", "))
		if err != nil {
			return err
		}
	}
	return nil
}

// printAliasClashes says which aliases in one of these apps lead nowhere.
func printAliasClashes(w io.Writer, all []index.AliasClash, apps []*index.App) error {
	for _, c := range all {
		if !slices.ContainsFunc(apps, func(a *index.App) bool { return a.Name == c.App }) {
			continue
		}
		_, err := fmt.Fprintf(w, "alias %s of app %s: a %s has that name, it is in vain for %s: give one of them another one\n", c.Name, c.App, c.Owner, strings.Join(c.Instances, ", "))
		if err != nil {
			return err
		}
	}
	return nil
}

// oneApp checks that there is one argument at most.
func oneApp(cmd *cobra.Command, args []string) error {
	if len(args) > 1 || slices.Contains(args, "") {
		return usagef("%s takes one app, or none for all; see %[1]s --help", cmd.CommandPath())
	}
	return nil
}

// chosenApps returns the app of that name or namespace, all if there is no name.
func chosenApps(s *index.Snapshot, name string) ([]*index.App, error) {
	if name == "" {
		return slices.Collect(s.Apps()), nil
	}
	a, err := s.AppNamed(strings.ToLower(name))
	if err != nil {
		return nil, err
	}
	return []*index.App{a}, nil
}
