package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/probe"
)

// probeTimeout ends a check that nobody else ends: the engine does, but it
// leaves the process behind that it started in the container.
const probeTimeout = time.Minute

// probeCommand is what the engine runs in a container with a health check (see
// package deploy), so it is none for people.
func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "probe URL",
		Short:   "Succeed if what is at a URL answers",
		Example: "  rackdns probe http://127.0.0.1:3000/health",
		Hidden:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("probe: want one URL")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), probeTimeout)
			defer cancel()
			err := probe.Probe(ctx, args[0], os.Getenv)
			if errors.Is(err, probe.ErrTarget) {
				return usagef("probe: %w", err)
			}
			return err
		},
	}
}
