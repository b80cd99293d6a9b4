package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func rolesCommand() *cobra.Command {
	var (
		reg   registryFlags
		nodes []string
	)
	cmd := &cobra.Command{
		Use:   "etcd-roles",
		Short: "Set up etcd's roles for DNS servers, agents and commands",
		Long: `Set up etcd's roles for DNS servers, agents and commands, so that each can do
what it needs and nothing else: a DNS server reads names but no credentials, an
agent writes only what is its own node's. It has to be run as etcd's root user
where authentication is enabled, and can be repeated.

Users are yours to make: etcdctl user add, etcdctl user grant-role.`,
		Example: `  rackdns etcd-roles --rack acme --nodes node-1,node-2
  etcdctl user add node-1 && etcdctl user grant-role node-1 rackdns-acme-agent-node-1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := reg.open()
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			roles, err := client.Layout().Roles(nodes)
			if err != nil {
				return usagef("--nodes: %w", err)
			}
			for _, r := range roles {
				if err := client.SetUpRole(cmd.Context(), r); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  for %s\n", r.Name, r.For); err != nil {
					return err
				}
			}
			return nil
		},
	}
	reg.add(cmd.Flags())
	cmd.Flags().StringSliceVar(&nodes, "nodes", nil, "nodes whose agents get a role each")
	return cmd
}
