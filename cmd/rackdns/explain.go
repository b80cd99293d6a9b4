package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/terminal"
)

func explainCommand() *cobra.Command {
	var (
		node nodeFlags
		rack string
		out  output
	)
	cmd := &cobra.Command{
		Use:   "explain CONTAINER",
		Short: "Say why a container is or isn't in DNS",
		Long: `Say what is published for a container of this host's Docker Engine and why, or
why nothing is, down to the label that decided it. The container is given by its
name or ID.`,
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
			if out.json {
				return printJSON(cmd.OutOrStdout(), x)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), terminal.Lines(x.String()))
			return err
		},
	}
	node.add(cmd.Flags(), "address of the Docker Engine (default as for the docker command)")
	cmd.Flags().StringVar(&rack, "rack", "", "rack of the agent that is to register it (default the one that the container says)")
	out.add(cmd.Flags())
	return cmd
}
