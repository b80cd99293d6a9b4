package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/registry"
)

func nodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "List the Docker hosts of the rack, or take one out of service",
		Example: `  rackdns node ls
  rackdns node drain node-1`,
		Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(nodeListCommand(), nodeDrainCommand())
	return cmd
}

func nodeListCommand() *cobra.Command {
	var (
		reg registryFlags
		out output
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the Docker hosts of the rack that have an agent",
		Example: `  rackdns node ls
  rackdns node ls -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := reg.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			nodes, err := client.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), nodes)
			}
			var t table
			t.add("NODE", "ADDRESS", "VERSION", "INSTANCES", "STATUS", "STARTED")
			for _, n := range nodes {
				status, started := "running", ""
				if n.Draining {
					status = "draining"
				}
				if !n.Started.IsZero() {
					started = n.Started.UTC().Format(time.RFC3339)
				}
				t.add(n.Node.Node, first(n.Addresses), orDash(n.Version), strconv.FormatInt(n.Instances, 10), status, started)
			}
			return t.print(cmd.OutOrStdout(), "")
		},
	}
	reg.add(cmd.Flags())
	out.add(cmd.Flags())
	return cmd
}

func first(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return orDash("")
	}
	return addresses[0].String()
}

func nodeDrainCommand() *cobra.Command {
	var (
		reg  registryFlags
		undo bool
	)
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Remove all of a node's names at once, and keep them out",
		Long: `Remove all of a node's names at once. Its agent registers nothing from then on,
until that is taken back with --undo; its containers run on.`,
		Example: `  rackdns node drain node-1
  rackdns node drain node-1 --undo`,
		Args: oneWord("node"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := registry.CheckNode(args[0]); err != nil {
				return usageError{err}
			}
			client, err := reg.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			what := "Draining"
			if undo {
				what = "Undraining"
			}
			return report(cmd.OutOrStdout(), fmt.Sprintf("%s %s", what, args[0]), func() (string, error) {
				return "", client.DrainNode(cmd.Context(), args[0], !undo)
			})
		},
	}
	reg.add(cmd.Flags())
	cmd.Flags().BoolVar(&undo, "undo", false, "let the node register its containers again")
	return cmd
}
