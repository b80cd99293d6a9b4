package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/plugin/bind"
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
	// CoreDNS's own word for a reload is SIGUSR1, and it ignores SIGHUP.
	bind.Reload = func() error { return syscall.Kill(os.Getpid(), syscall.SIGUSR1) }
	heed([]os.Signal{syscall.SIGHUP}, func() { _ = bind.Reload() })
	serving()
	go followResolvConf(flags.Lookup("conf").Value.String())
	coremain.Run()
	bind.Wait()
	return nil
}

// followResolvConf has the server reload when the file changes that its Corefile
// forwards by, for as long as the process runs: CoreDNS reads it once.
func followResolvConf(conf string) {
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			return ""
		}
		return string(text)
	}
	used := read(resolvConf)
	last := used
	for range time.Tick(upstreamsInterval) {
		now := read(resolvConf)
		// Twice the same, and not nothing: it is being written.
		settled := now == last && now != ""
		last = now
		if !settled || now == used {
			continue
		}
		used = now
		if strings.Contains(read(cmp.Or(conf, caddy.DefaultConfigFile)), resolvConf) {
			slog.Info("the system's DNS servers have changed, and the Corefile forwards to them: reloading", "file", resolvConf)
			_ = bind.Reload()
		}
	}
}
