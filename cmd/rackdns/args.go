package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// noSubcommand is for a command that only has others below it.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if err := notURL("command", args[0]); err != nil {
		return err
	}
	return usagef("unknown command %s; see %s --help", registry.Quote(args[0]), cmd.CommandPath())
}

// notURL refuses what could have credentials in it, without repeating it: a
// name has none of these characters.
func notURL(what, arg string) error {
	if strings.ContainsAny(arg, ":/@?") {
		return usagef("%s: is no name; a URL never comes as an argument, but by --url-file or RACKDNS_URL", what)
	}
	return nil
}
