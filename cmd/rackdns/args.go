package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/near"
	"github.com/rackdns/rackdns/internal/registry"
)

// oneWord checks that there is exactly one argument, which what describes.
func oneWord(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return usagef("%s takes one %s; see %[1]s --help", cmd.CommandPath(), what)
		}
		return notURL(what, args[0])
	}
}

// folded has the first n arguments, which are names, be as they are registered:
// who has a service order_db in Compose asks for it by that name.
func folded(n int, args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, all []string) error {
		// What is checked here is what the command then gets.
		for i := range all[:min(n, len(all))] {
			all[i] = registry.FoldName(all[i])
		}
		return args(cmd, all)
	}
}

// nameFlag adds a flag that takes a name, and has it as it is registered.
func nameFlag(flags *pflag.FlagSet, to *string, name, fallback, usage string) {
	*to = fallback
	flags.Var((*nameValue)(to), name, usage)
}

// nameValue is the value of such a flag.
type nameValue string

func (v *nameValue) Set(s string) error { *v = nameValue(registry.FoldName(s)); return nil }
func (v *nameValue) String() string     { return string(*v) }
func (v *nameValue) Type() string       { return "string" }

// appFlag adds the flag that says which app.
func appFlag(flags *pflag.FlagSet, to *string, fallback, usage string) {
	*to = fallback
	flags.VarP((*nameValue)(to), "app", "a", usage)
}

// theApp returns the first argument, else --app. Both may be
// given if they are the same; what is only in the environment yields to what was
// typed.
func theApp(cmd *cobra.Command, args []string) (string, error) {
	f := cmd.Flags().Lookup("app")
	if len(args) == 0 {
		return f.Value.String(), nil
	}
	typed := f.Changed && f.Annotations[fromEnvironment] == nil
	if typed && f.Value.String() != registry.FoldName(args[0]) {
		return "", usagef("--app %s and %s: are two, and %s takes one", f.Value, registry.Quote(args[0]), cmd.CommandPath())
	}
	return args[0], nil
}

// unknownCommand says that a command has none of that name below it.
func unknownCommand(cmd *cobra.Command, name string) error {
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(append(known, c.Name()), c.Aliases...)
		}
	}
	return usagef("unknown command %s%s; see %s --help", registry.Quote(name), near.Hint(name, known), cmd.CommandPath())
}

// meantFlag ends the sentence that there is no such flag with the one that was
// likely meant.
func meantFlag(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return ""
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	if n := near.Name(unknown.GetSpecifiedName(), known); n != "" {
		return "; did you mean --" + n + "?"
	}
	return ""
}

// noSubcommand is for a command that only has others below it.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if err := notURL("command", args[0]); err != nil {
		return err
	}
	return unknownCommand(cmd, args[0])
}

// notURL refuses what could have credentials in it, without repeating it: a
// name has none of these characters.
func notURL(what, arg string) error {
	if strings.ContainsAny(arg, ":/@?") {
		return usagef("%s: is no name; a URL never comes as an argument, but by --url-file or RACKDNS_URL", what)
	}
	return nil
}
