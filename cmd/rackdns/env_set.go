package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/deploy"
	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/registry"
)

// envChange changes the environment that the rack has for an app.
type envChange struct {
	upFlags
	promote bool
}

func (c *envChange) add(cmd *cobra.Command) {
	c.upFlags.add(cmd.Flags())
	cmd.Flags().BoolVar(&c.promote, "promote", false, "replace what runs on this host and lists what has changed")
	cmd.ValidArgsFunction = completeArgs(knownApps)
}

// appAndRest takes the app, which is the first argument unless --app says it.
func (f *appFlags) appAndRest(cmd *cobra.Command, args []string) ([]string, error) {
	if f.app == "" {
		if len(args) == 0 {
			return nil, usagef("%s takes an app; see %[1]s --help", cmd.CommandPath())
		}
		f.app, args = args[0], args[1:]
	}
	f.app = registry.FoldName(f.app)
	if err := registry.CheckApp("app", f.app); err != nil {
		return nil, usageError{err}
	}
	return args, nil
}

func envSetCommand() *cobra.Command {
	c := &envChange{}
	var files []string
	cmd := &cobra.Command{
		Use:   "set APP [NAME=VALUE|NAME...]",
		Short: "Set variables of an app's environment in the rack",
		Long: `Set variables of an app's environment in the rack. They reach the services that
list them wherever the app is brought up next, and with --promote at once what
runs on this host, container by container.

Arguments of commands can be seen by others on this host. So give secrets by a
file (--env-file, "-" for the standard input), or by their NAME alone, which takes
the value from the environment of this command. Each change is a release; the last
twenty are kept.`,
		Example: `  rackdns env set shop LOG_LEVEL=debug
  pass show shop-env | rackdns env set shop --env-file - --promote`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			rest, err := c.appAndRest(cmd, args)
			if err != nil {
				return err
			}
			set, err := readSettings(cmd.InOrStdin(), files, rest)
			if err != nil {
				return err
			}
			if len(set) == 0 {
				return usagef("%s: nothing is to be set", cmd.CommandPath())
			}
			return c.run(cmd, "Setting "+strings.Join(slices.Sorted(maps.Keys(set)), ", "), func(all map[string]string) error {
				maps.Copy(all, set)
				return nil
			})
		},
	}
	c.add(cmd)
	cmd.Flags().StringArrayVar(&files, "env-file", nil, "file with lines NAME=VALUE, or - for the standard input; can be there several times")
	return cmd
}

// readSettings reads files, and arguments over them.
func readSettings(stdin io.Reader, files, args []string) (map[string]string, error) {
	set := map[string]string{}
	for _, path := range files {
		var more map[string]string
		var err error
		if path == "-" {
			more, err = env.ReadFrom("the standard input", stdin)
		} else {
			more, err = env.ReadFile(path)
		}
		if err != nil {
			return nil, usageError{err}
		}
		maps.Copy(set, more)
	}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			if value, ok = os.LookupEnv(name); !ok {
				return nil, usagef("variable %s: has no value here; want NAME=VALUE, or one that this command's environment has", registry.Quote(name))
			}
		}
		set[name] = value
	}
	for name, value := range set {
		if err := registry.CheckVariable(name, value); err != nil {
			return nil, usageError{err}
		}
	}
	return set, nil
}

func envUnsetCommand() *cobra.Command {
	c := &envChange{}
	cmd := &cobra.Command{
		Use:     "unset APP NAME...",
		Short:   "Remove variables from an app's environment in the rack",
		Example: `  rackdns env unset shop LOG_LEVEL`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := c.appAndRest(cmd, args)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				return usagef("%s takes names of variables", cmd.CommandPath())
			}
			return c.run(cmd, "Unsetting "+strings.Join(names, ", "), func(all map[string]string) error {
				for _, name := range names {
					if _, ok := all[name]; !ok {
						return fmt.Errorf("variable %s: isn't set for app %s", registry.Quote(name), c.app)
					}
					delete(all, name)
				}
				return nil
			})
		},
	}
	c.add(cmd)
	return cmd
}

// run makes the change, and has it reach what runs if that is wanted.
func (c *envChange) run(cmd *cobra.Command, what string, change func(map[string]string) error) error {
	client, err := c.registry.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	err = report(cmd.OutOrStdout(), what, func() (string, error) {
		// Cut off half-way, nobody could say whether it is set.
		r, err := client.SetEnvironment(context.WithoutCancel(cmd.Context()), c.app, what, change)
		if r == nil {
			return "", err
		}
		return r.Release, err
	})
	if err != nil || !c.promote {
		return err
	}
	up, err := c.config(cmd)
	if err != nil {
		return err
	}
	return asUsage(deploy.Promote(cmd.Context(), up))
}

func envGetCommand() *cobra.Command {
	var f appFlags
	cmd := &cobra.Command{
		Use:   "get APP [NAME]",
		Short: "Print an app's environment in the rack, or one variable's value",
		Example: `  rackdns env get shop LOG_LEVEL
  rackdns env get shop > shop.env`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			rest, err := f.appAndRest(cmd, args)
			if err != nil {
				return err
			}
			all, err := f.environment(cmd.Context())
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				value, ok := all[rest[0]]
				if !ok {
					return fmt.Errorf("variable %s: isn't set for app %s", registry.Quote(rest[0]), f.app)
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), value)
				return err
			}
			var list []env.Variable
			for _, name := range slices.Sorted(maps.Keys(all)) {
				list = append(list, env.Variable{Name: name, Value: all[name], Set: true})
			}
			text, err := env.Encode(env.Dotenv, list)
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return err
		},
	}
	f.registry.add(cmd.Flags())
	appFlag(cmd.Flags(), &f.app, "", "the app, in place of the argument")
	cmd.ValidArgsFunction = completeArgs(knownApps)
	return cmd
}

// environment is what the rack has for the app.
func (f *appFlags) environment(ctx context.Context) (map[string]string, error) {
	client, err := f.registry.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	return client.AppEnvironment(ctx, f.app)
}

func envListCommand() *cobra.Command {
	var f appFlags
	var out output
	cmd := &cobra.Command{
		Use:     "ls APP",
		Short:   "List the names of an app's variables in the rack",
		Example: `  rackdns env ls shop`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := f.appAndRest(cmd, args); err != nil {
				return err
			}
			all, err := f.environment(cmd.Context())
			if err != nil {
				return err
			}
			names := slices.AppendSeq([]string{}, maps.Keys(all))
			slices.Sort(names)
			if out.json {
				return printJSON(cmd.OutOrStdout(), names)
			}
			for _, name := range names {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.registry.add(cmd.Flags())
	appFlag(cmd.Flags(), &f.app, "", "the app, in place of the argument")
	out.add(cmd.Flags())
	cmd.ValidArgsFunction = completeArgs(knownApps)
	return cmd
}
