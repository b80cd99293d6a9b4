package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/near"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/terminal"
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
		Short: "List the Docker hosts of the rack that have an agent, or are drained",
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
			if err == nil && len(nodes) == 0 {
				err = client.CheckRack(cmd.Context())
			}
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), nodes)
			}
			var t table
			t.add("NODE", "ADDRESS", "VERSION", "INSTANCES", "STATUS", "STARTED")
			for _, n := range nodes {
				started := ""
				if !n.Started.IsZero() {
					started = n.Started.UTC().Format(time.RFC3339)
				}
				t.add(n.Node.Node, first(n.Addresses), orDash(n.Version), strconv.FormatInt(n.Instances, 10), nodeStatus(&n), orDash(started))
			}
			if err := t.print(cmd.OutOrStdout(), ""); err != nil {
				return err
			}
			for _, n := range nodes {
				if n.Drained != nil {
					if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s is %s\n", n.Node.Node, terminal.Line(n.Drained.String())); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
	reg.add(cmd.Flags())
	out.add(cmd.Flags())
	return cmd
}

// nodeStatus is one word for how the node is.
func nodeStatus(n *registry.NodeState) string {
	switch {
	case n.Absent:
		return "drained, absent"
	case n.Draining:
		return "drained"
	}
	return "running"
}

func first(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return orDash("")
	}
	return addresses[0].String()
}

func nodeDrainCommand() *cobra.Command {
	var (
		reg          registryFlags
		undo, absent bool
		why          string
	)
	cmd := &cobra.Command{
		Use:               "drain NODE",
		ValidArgsFunction: completeArgs(knownNodes),
		Short:             "Remove all of a node's names at once, and keep them out",
		Long: `Remove all of a node's names at once, and keep them out until that is taken back
with --undo: over restarts of its agent and of the host, and whatever its agent
does. Its containers run on. Who drained it, when and why, is shown by
'rackdns node ls' and 'rackdns resolve'.`,
		Example: `  rackdns node drain node-1 --why 'new kernel'
  rackdns node drain node-1 --undo`,
		Args: oneWord("node"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case registry.CheckNode(args[0]) != nil:
				return usageError{registry.CheckNode(args[0])}
			case undo && (absent || why != ""):
				return usagef("--undo takes neither --why nor --absent")
			case len(why) > maxWhy:
				return usagef("--why: over %d characters", maxWhy)
			}
			client, err := reg.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			what, do := "Draining", func() error {
				word := registry.Drained{Node: args[0], By: whoami(), At: time.Now().UTC().Truncate(time.Second), Why: why}
				err := client.DrainNode(cmd.Context(), word, absent)
				if errors.Is(err, registry.ErrNoSuchNode) {
					err = noAgent(cmd.Context(), client, args[0], err)
				}
				return err
			}
			if undo {
				what, do = "Undraining", func() error { return client.UndrainNode(cmd.Context(), args[0]) }
			}
			return report(cmd.OutOrStdout(), fmt.Sprintf("%s %s", what, args[0]), func() (string, error) { return "", do() })
		},
	}
	reg.add(cmd.Flags())
	cmd.Flags().BoolVar(&undo, "undo", false, "let the node register its containers again")
	cmd.Flags().BoolVar(&absent, "absent", false, "also if no agent of that name is there now, such as while its host is down")
	cmd.Flags().StringVar(&why, "why", "", "the reason, for those who wonder")
	return cmd
}

// noAgent says of a node that has no agent which nodes have one, and what to do.
func noAgent(ctx context.Context, client *registry.Client, name string, err error) error {
	if err := client.CheckRack(ctx); err != nil {
		return err
	}
	var known []string
	// Whoever can't be told is not told.
	nodes, _ := client.Nodes(ctx)
	for _, n := range nodes {
		known = append(known, n.Node.Node)
	}
	return fmt.Errorf("%w: it has no agent now%s; --absent drains it all the same", err, near.Instead(name, known))
}

// maxWhy is the longest reason, in octets.
const maxWhy = 200

// whoami is who runs this program, and where, as far as the host tells.
func whoami() string {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
