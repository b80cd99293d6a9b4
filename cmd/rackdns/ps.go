package main

import (
	"io"
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
			s, err := reg.snapshot(cmd.Context(), index.Options{})
			if err != nil {
				return err
			}
			apps, err := chosenApps(s, args)
			if err != nil {
				return err
			}
			all := []convox.Process{}
			for _, a := range apps {
				all = append(all, convox.Processes(s, a, filter)...)
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printProcesses(cmd.OutOrStdout(), all, len(args) == 0, time.Now())
		},
	}
	cmd.ValidArgsFunction = completeApps(&reg, 1)
	reg.add(cmd.Flags())
	nameFlag(cmd.Flags(), &filter.Service, "service", "", "only instances of this service")
	cmd.Flags().StringVar(&filter.Release, "release", "", "only instances of this release")
	out.add(cmd.Flags())
	return cmd
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
		row(p.App, p.ID, strings.Join(append([]string{p.Name}, p.Aliases...), ","), p.Status, p.Release, age(p.Started, now), p.Instance, p.Host, strings.Join(p.Ports, " "))
	}
	return t.print(w, "")
}

// age says how long ago that was, as docker ps does.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	// Clocks of two hosts differ.
	return units.HumanDuration(max(now.Sub(t), 0)) + " ago"
}
