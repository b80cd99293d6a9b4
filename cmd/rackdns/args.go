package main

import (
	"strings"

	"github.com/spf13/cobra"

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
