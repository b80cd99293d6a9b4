package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/resource/check"
)

func resourceCheckCommand() *cobra.Command {
	var (
		flags resourceFlags
		node  string
		out   output
	)
	cmd := &cobra.Command{
		Use:               "check [NAME]",
		ValidArgsFunction: completeArgs(knownResources),
		Short:             "Ask the servers of resources whether they serve, those that are elsewhere too",
		Long: `Ask the servers of resources whether they serve, those that are elsewhere too.

This host logs in with the URL that apps are given, and asks a query; of a server
with TLS, or of a type that isn't known, it only opens a connection. It ends with
exit code 1 if any of them does not answer.`,
		Example: `  rackdns resources check
  rackdns resources check db --app shop
  rackdns resources check -o json | jq -r '.[] | select(.status != "answers").name'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes at most one resource; see %[1]s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := flags.checked(cmd, node, args)
			if err != nil {
				return err
			}
			if out.json {
				err = printJSON(cmd.OutOrStdout(), all)
			} else {
				var t table
				t.add("NAME", "TYPE", "STATUS", "AT")
				for _, r := range all {
					status := r.Status
					if r.Why != "" {
						status += ": " + r.Why
					}
					t.add(r.Name, r.Type, status, orDash(r.At))
				}
				err = t.print(cmd.OutOrStdout(), "")
			}
			bad := slices.DeleteFunc(slices.Clone(all), func(r check.Result) bool { return r.Status == check.Answers })
			if err == nil && len(bad) > 0 {
				err = fmt.Errorf("%d of %d resources of %s do not answer", len(bad), len(all), flags.owner())
			}
			return err
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&node, "node", "", "this host's name in the rack (default its host name)")
	out.add(cmd.Flags())
	return cmd
}

// checked checks the resources, all or the one that is named.
func (f *resourceFlags) checked(cmd *cobra.Command, node string, args []string) ([]check.Result, error) {
	node, err := nodeName(node)
	if err != nil {
		return nil, err
	}
	s, found, err := f.lookAs(cmd, index.Options{Node: node})
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		at, err := f.named(found, args[0])
		if err != nil {
			return nil, err
		}
		found = found[at : at+1]
	}
	client, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	d, err := client.Declared(cmd.Context(), f.app, true)
	if err != nil {
		return nil, err
	}
	return check.All(cmd.Context(), s, found, d.Secrets), nil
}
