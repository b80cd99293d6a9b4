package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/convox"
	"github.com/rackdns/rackdns/internal/index"
)

func psCommand() *cobra.Command {
	var (
		reg    registryFlags
		app    string
		filter convox.Filter
		out    output
	)
	cmd := &cobra.Command{
		Use:   "ps [APP]",
		Short: "List the instances of an app, or of all, on all nodes",
		Long: `List the instances of an app, or of all, on all nodes.

HOST and PORTS say where an instance can be dialled from anywhere, as
published:container; a port that isn't published has no line there, nor has an
instance that doesn't serve. SERVICE has its aliases, too. STATUS says why it doesn't. What a certain asker is
told is said by rackdns resolve.

The JSON is that of Convox's API, /apps/<app>/processes.`,
		Example: `  rackdns ps shop
  rackdns ps shop --service web --release RLEUTDHBBKD
  rackdns ps shop --service web -o json | jq -r '.[] | "\(.host):\(.ports[] | split(":")[0])"'`,
		Args: oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
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
			all := []convox.Process{}
			for _, a := range apps {
				all = append(all, convox.Processes(s, a, filter)...)
			}
			if len(all) == 0 {
				if err := nothingLeft(s, apps, filter); err != nil {
					return err
				}
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printProcesses(cmd.OutOrStdout(), all, app == "", time.Now())
		},
	}
	cmd.ValidArgsFunction = completeArgs(knownApps)
	reg.add(cmd.Flags())
	appFlag(cmd.Flags(), &app, "", "the app (default all)")
	nameFlag(cmd.Flags(), &filter.Service, "service", "", "only instances of this service")
	cmd.Flags().StringVar(&filter.Release, "release", "", "only instances of this release")
	out.add(cmd.Flags())
	return cmd
}

// nothingLeft says which service or release there is none of, if the filter has
// left nothing because of that. A service without instances has none.
func nothingLeft(s *index.Snapshot, apps []*index.App, filter convox.Filter) error {
	of := "the rack"
	if len(apps) == 1 {
		of = "app " + apps[0].Name
	}
	var services, releases []string
	for _, a := range apps {
		for v := range s.Services(a) {
			services = append(services, v.Name())
		}
		for _, p := range convox.Processes(s, a, convox.Filter{Service: filter.Service}) {
			releases = append(releases, p.Release)
		}
	}
	slices.Sort(services)
	slices.Sort(releases)
	releases = slices.DeleteFunc(slices.Compact(releases), func(r string) bool { return r == "" })
	switch {
	case filter.Service != "" && !slices.Contains(services, filter.Service):
		return &index.UnknownError{What: "service", Name: filter.Service, Of: of, Known: slices.Compact(services)}
	case filter.Release != "" && !slices.Contains(releases, filter.Release):
		return &index.UnknownError{What: "release", Name: filter.Release, Of: of, Known: releases}
	}
	return nil
}

func printProcesses(w io.Writer, all []convox.Process, withApp bool, now time.Time) error {
	var t table
	row := func(app string, cells ...string) {
		if withApp {
			cells = append([]string{app}, cells...)
		}
		for n := range cells {
			cells[n] = orDash(cells[n])
		}
		t.add(cells...)
	}
	row("APP", "ID", "SERVICE", "STATUS", "RELEASE", "STARTED", "NODE", "HOST", "PORTS")
	for _, p := range all {
		row(p.App, p.ID, strings.Join(append([]string{p.Name}, p.Aliases...), ","), statusOf(p), p.Release, age(p.Started, now), shownNode(p.Instance), p.Host, strings.Join(p.Ports, " "))
	}
	return t.print(w, "")
}

// statusOf says besides how often the engine has started a container again: what
// does so over and over serves nobody, though it runs whenever one looks.
func statusOf(p convox.Process) string {
	switch p.Restarts {
	case 0:
		return p.Status
	case 1:
		return p.Status + ", 1 restart"
	}
	return fmt.Sprintf("%s, %d restarts", p.Status, p.Restarts)
}

// age says how long ago that was, as docker ps does.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	// Clocks of two hosts differ.
	return units.HumanDuration(max(now.Sub(t), 0)) + " ago"
}
