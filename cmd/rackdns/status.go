package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/doctor"
)

func statusCommand() *cobra.Command {
	f := newDoctorFlags()
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say in a screenful how the rack is",
		Long: `Say in a screenful how the rack is: its nodes and when their agents were heard
of, how many instances serve, how old the answers of DNS are, and the worst of
what rackdns doctor finds. It ends with exit code 1 if the registry can't be read.`,
		Example: `  rackdns status
  rackdns status -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config(cmd.Context())
			if err != nil {
				return err
			}
			is, err := doctor.Summarize(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if out.json {
				err = printJSON(cmd.OutOrStdout(), is)
			} else {
				err = printStatus(cmd.OutOrStdout(), is)
			}
			if err == nil && is.Revision == 0 {
				err = errors.New("the registry can't be read")
			}
			return err
		},
	}
	f.addAll(cmd.Flags())
	out.add(cmd.Flags())
	return cmd
}

func printStatus(w io.Writer, is *doctor.Status) error {
	var t, nodes table
	registry := strings.Join(is.Registry, ", ")
	if is.Revision > 0 {
		registry += fmt.Sprintf(", revision %d", is.Revision)
	}
	t.add("rack", is.Zone)
	t.add("registry", registry)
	t.add("services", fmt.Sprintf("%d, instances: %d serving, %d not", is.Services, is.Serving, is.Left))
	picture := "not known: no metrics are served here"
	if is.Picture != nil {
		picture = fmt.Sprintf("%.0f s old", *is.Picture)
	}
	t.add("dns", picture)
	t.add("checks", fmt.Sprintf("%d passed, %d warned, %d failed, %d skipped", is.Checks[doctor.Passed], is.Checks[doctor.Warned], is.Checks[doctor.Failed], is.Checks[doctor.Skipped]))
	if p := is.Problem; p != nil {
		t.add("problem", fmt.Sprintf("%s (%s): %s", p.Check, p.Outcome, p.What))
		t.add("", "-> "+p.Next+" (all: rackdns doctor)")
	} else {
		t.add("problem", "none")
	}
	if err := t.print(w, ""); err != nil || len(is.Nodes) == 0 {
		return err
	}
	nodes.add("NODE", "ADDRESS", "VERSION", "HEARD", "SERVING", "NOT", "STATUS")
	for _, n := range is.Nodes {
		heard, status := "-", "running"
		if n.Heard != nil {
			heard = fmt.Sprintf("%.0f s ago", *n.Heard)
		}
		if n.Drained {
			status = "drained"
		}
		nodes.add(n.Node, orDash(n.Address), orDash(n.Version), heard, fmt.Sprint(n.Serving), fmt.Sprint(n.Left), status)
	}
	return printBelow(w, &nodes)
}
