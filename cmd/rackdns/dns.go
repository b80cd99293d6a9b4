package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"

)

func dnsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dns",
		Short: "Serve DNS as a Corefile says: CoreDNS with the rack plugin",
		Long: `Serve DNS as a Corefile says: CoreDNS with the rack plugin.

The flags are CoreDNS's own, with one dash or two; rackdns dns -help lists them.`,
		Example: "  rackdns dns -conf Corefile.example",
		// They are for CoreDNS, which knows nothing of our ways with flags.
		DisableFlagParsing: true,
		RunE:               func(cmd *cobra.Command, args []string) error { return runDNS(cmd.OutOrStdout(), args) },
	}
}

func runDNS(stdout io.Writer, args []string) error {
	if err := setDirectives(); err != nil {
		return err
	}
	flags := flag.CommandLine
	if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) {
		_, err := fmt.Fprintln(stdout, "Usage: rackdns dns [flags]")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return err
	}
	// Once here, so that a mistake is one line and has our exit code; CoreDNS
	// parses them again from the process's arguments.
	flags.Init("rackdns dns", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return usagef("dns: %w; see rackdns dns -help", err)
	}
	if flags.NArg() > 0 {
		return usagef("dns takes no argument, such as %q; see rackdns dns -help", flags.Arg(0))
	}
	os.Args = append([]string{"rackdns dns"}, args...)
	coremain.Run()
	return nil
}
