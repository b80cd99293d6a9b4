package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/change"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/terminal"
)

func watchCommand() *cobra.Command {
	var (
		reg registryFlags
		out output
	)
	cmd := &cobra.Command{
		Use:   "watch [APP]",
		Short: "Print a line for each change of the rack, or of an app, as it happens",
		Long: `Print a line for each change of the rack, or of an app, as it happens: what it
was, to which instance, why, and how long after the Docker Engine told of it, by
the clocks of both hosts. With -o json each line is an object, as in the stream
/api/v1/watch.`,
		Example: `  rackdns watch
  rackdns watch shop -o json | jq -r 'select(.change == "leaves") | .why'`,
		Args: oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			app := ""
			if len(args) > 0 {
				app = args[0]
			}
			return watch(cmd.Context(), &reg, app, cmd.OutOrStdout(), out)
		},
	}
	cmd.ValidArgsFunction = completeArgs(knownApps)
	reg.add(cmd.Flags())
	out.add(cmd.Flags())
	return cmd
}

func watch(ctx context.Context, reg *registryFlags, app string, w io.Writer, out output) error {
	client, err := reg.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	x, err := index.Open(index.Config{Registry: reg.Config, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return usageError{err}
	}
	x.Start()
	defer func() { _ = x.Close() }()
	s, err := firstSnapshot(ctx, client, x)
	if err != nil {
		return err
	}
	for {
		next, err := x.Await(ctx, s.Index())
		if err != nil {
			return nil // It was to run until then.
		}
		now := time.Now()
		for _, e := range change.Of(app, next, change.Between(s, next, now)) {
			if err := printEvent(w, &e, now, out); err != nil {
				return err
			}
		}
		s = next
	}
}

func printEvent(w io.Writer, e *change.Event, now time.Time, out output) error {
	if out.json {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", terminal.JSON(line))
		return err
	}
	after := ""
	if !e.Observed.IsZero() {
		after = fmt.Sprintf(" (%s after the engine's event)", time.Duration(e.Seconds*float64(time.Second)).Round(100*time.Microsecond))
	}
	_, err := fmt.Fprintf(w, "%s  %-7s  %s\n", now.UTC().Format("15:04:05.000"), e.Change, terminal.Text(e.Subject()+" "+e.Why+after))
	return err
}
