// Command rackdns gives the services of a rack of Docker hosts names that
// answer with what is alive and can be reached. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/terminal"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in how the command was called, not in what it met.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func main() {
	ctx, stop := untilSignal()
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "rackdns:", oneLine(err.Error()))
	os.Exit(exitCode(err))
}

// run runs a command.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	root, out := rootCommand(), &written{w: stdout}
	root.SetOut(out)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return out.err
	case interrupted(ctx) != nil:
		// Whatever it was in the midst of, that is why it ended.
		return cutOff{err, interrupted(ctx)}
	}
	return blameEnvironment(cmd.Flags(), err)
}

// cutOff is what a command has to say of its end by a signal.
type cutOff struct{ error, signal error }

// Error says it, unless it is only that it was cut off.
func (e cutOff) Error() string {
	if errors.Is(e.error, context.Canceled) {
		return e.signal.Error()
	}
	return e.error.Error()
}

// Unwrap has the signal count, whatever else went wrong.
func (e cutOff) Unwrap() error { return e.signal }

// written is a writer that remembers what went wrong: help is printed by those
// who don't look.
type written struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (w *written) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

func exitCode(err error) int {
	var (
		usage usageError
		coded interface{ ExitCode() int }
	)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return exitFailed
}

// oneLine makes a text fit to follow others on a terminal: what is wrong may
// come from anybody who writes to the registry.
func oneLine(s string) string { return terminal.Line(s) }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rackdns",
		Short: "Names for the services on your Docker hosts, with the ports that work",
		Example: `  rackdns standalone
  rackdns resolve web.shop.local.convox`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w%s; see %s --help", err, meantFlag(cmd, err), cmd.CommandPath())
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return setFromEnvironment(cmd.Flags()) }
	for _, c := range []*cobra.Command{
		standaloneCommand(), dnsCommand(), agentCommand(),
		upCommand(), downCommand(), composeCommand(), rollbackCommand(), releasesCommand(),
		servicesCommand(), psCommand(), resolveCommand(), explainCommand(), doctorCommand(), statusCommand(),
		apiCommand(), watchCommand(), rackURLCommand(),
		envCommand(), execCommand(), resourcesCommand(), backupCommand(), restoreCommand(),
		registerCommand(), deregisterCommand(), nodeCommand(),
		registryCommand(), rolesCommand(), completionCommand(), probeCommand(), versionCommand(),
	} {
		root.AddCommand(c)
	}
	root.SetHelpCommand(helpCommand())
	completeFlags(root)
	tellVariables(root)
	return root
}

// helpCommand is cobra's, but for a command that there isn't.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Say what a command does, and how it is called",
		Example: "  rackdns help resolve",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, strings.Join(rest, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && c.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// noArgs is cobra.NoArgs with our kind of error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, such as %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}
