package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/rackdns/rackdns/internal/liveness"
	"github.com/rackdns/rackdns/internal/probe"
)

// probeTimeout ends a check that nobody else ends: the engine does, but it
// leaves the process behind that it started in the container.
const probeTimeout = time.Minute

// probeCommand is what the engine runs in a container with a health check (see
// package deploy), so it is none for people.
func probeCommand() *cobra.Command {
	var (
		alive    string
		grace    time.Duration
		failures int
	)
	cmd := &cobra.Command{
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
			ask := func(ctx context.Context, target string) error {
				err := probe.Probe(ctx, target, os.Getenv)
				if errors.Is(err, probe.ErrTarget) {
					return usagef("probe: %w", err)
				}
				return err
			}
			if alive == "" {
				return ask(ctx, args[0])
			}
			var both errgroup.Group
			both.Go(func() error {
				return liveness.Check{
					Probe: func(ctx context.Context) error { return ask(ctx, alive) },
					Grace: grace, Failures: failures, Dir: liveness.Dir, Age: liveness.Age, End: liveness.End,
				}.Run(ctx)
			})
			if alive != args[0] {
				both.Go(func() error { return ask(ctx, args[0]) })
			}
			return both.Wait()
		},
	}
	f := cmd.Flags()
	f.StringVar(&alive, "liveness", "", "URL that answers while the container lives")
	f.DurationVar(&grace, "grace", 0, "how long after the container's start it may not answer")
	f.IntVar(&failures, "failures", 1, "after how many failures of it in a row the container's processes are ended")
	return cmd
}
