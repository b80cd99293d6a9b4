package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/terminal"
)

func explainCommand() *cobra.Command {
	var (
		node nodeFlags
		reg  registryFlags
		out  output
	)
	cmd := &cobra.Command{
		Use:               "explain CONTAINER",
		ValidArgsFunction: completeContainers,
		Short:             "Say why a container is or isn't in DNS",
		Long: `Say what is published for a container of this host's Docker Engine and why, or
why nothing is, down to the label that decided it. The container is given by its
name or ID. Whether the node is drained is asked of the registry; if one is named
by --etcd and can't be read, that is said on standard error.`,
		Example: `  rackdns explain shop-web-1
  rackdns explain 3485248b1d18 -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("%s takes one container, by its name or ID; see %[1]s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := node.config()
			if err != nil {
				return err
			}
			rack := ""
			if cmd.Flags().Changed("rack") {
				// Else the one that the container says.
				rack = reg.Rack
			}
			if rack != "" {
				if err := registry.CheckLabel("--rack", rack); err != nil {
					return usageError{err}
				}
			}
			cfg.Logger, cfg.Rack = setUpLog(), rack
			// Whoever asks should be told of the container, not of the host.
			cfg.Alone = true
			x, err := agent.Explain(cmd.Context(), cfg, args[0])
			if err != nil {
				return err
			}
			if x.Instance != nil {
				if err := onNode(cmd.Context(), &reg, &x); err != nil && len(reg.Endpoints) > 0 {
					if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "whether node %s is drained is not known: %s\n", x.Instance.Node, terminal.Line(err.Error())); err != nil {
						return err
					}
				}
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), x)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), terminal.Lines(x.String()))
			return err
		},
	}
	node.add(cmd.Flags(), "address of the Docker Engine (default as for the docker command)")
	reg.add(cmd.Flags())
	out.add(cmd.Flags())
	return cmd
}

// drainPatience bounds the look into the registry: the rest needs none.
const drainPatience = time.Second

// onNode takes in what an operator has said of the container's node.
func onNode(ctx context.Context, reg *registryFlags, x *agent.Explanation) error {
	client, err := reg.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	d, err := client.Drained(ctx, x.Instance.Node)
	if err == nil {
		x.On(d)
	}
	return err
}
