package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/deploy"
	"github.com/rackdns/rackdns/internal/manifest"
)

// engineDNS is the value of --dns that leaves containers with the servers that
// the engine would give them.
const engineDNS = "none"

// upFlags say how an app is brought up, whatever it is.
type upFlags struct {
	appFlags
	suffix  string
	servers []string
	timeout time.Duration
	trial   time.Duration
}

func (f *upFlags) add(flags *pflag.FlagSet) {
	f.appFlags.add(flags)
	flags.StringVar(&f.suffix, "suffix", "convox", "domain of the rack: its zone is <rack>.<suffix>")
	flags.StringSliceVar(&f.servers, "dns", nil, "address of the DNS server that containers ask, or \""+engineDNS+"\"; can be there several times (default the one that answers on this host)")
	flags.DurationVar(&f.timeout, "timeout", deploy.DefaultTimeout, "how long a container has until it serves")
	flags.DurationVar(&f.trial, "trial", deploy.DefaultTrial, "how long a container without a health check must have run to be trusted")
}

// config returns what the flags say, checked.
func (f *upFlags) config(cmd *cobra.Command) (up deploy.UpConfig, err error) {
	if up.Config, err = f.appFlags.config(cmd); err != nil {
		return up, err
	}
	if err := checkSuffix(f.suffix); err != nil {
		return up, err
	}
	up.Suffix, up.Timeout, up.Ask = cleanSuffix(f.suffix), f.timeout, os.LookupEnv
	up.Trial = f.trial
	if up.DNS, up.EngineDNS, err = parseServers(f.servers); err != nil {
		return up, err
	}
	if f.timeout <= 0 {
		return up, usagef("--timeout %s: want more than nothing", f.timeout)
	}
	if f.trial < 0 || f.trial >= f.timeout {
		return up, usagef("--trial %s: want less than --timeout, %s", f.trial, f.timeout)
	}
	up.Program, err = os.Executable()
	return up, err
}

// asUsage has a mistake in what was given end as one in how it was called.
func asUsage(err error) error {
	var wrong *deploy.InputError
	if errors.As(err, &wrong) {
		return usageError{err}
	}
	return err
}

func upCommand() *cobra.Command {
	var (
		flags    upFlags
		envFiles []string
		strict   bool
		options  deploy.UpConfig
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run an app, as its convox.yml says, on this host's Docker Engine",
		Long: `Run an app, as its convox.yml says, on this host's Docker Engine: a network for
the rack, a container for each instance of each service, and one with a volume
for each resource. An agent has to be there to register them, and a DNS server
that containers reach at port 53; rackdns standalone is both.

Only what differs is changed, so up can be run again at any time. A container
that is to be another one is replaced by one that serves already; if that does
not come to serve, it is removed and the old one stays. One without a health check
serves once it has run for ten seconds (--trial). Deployment and singleton of the
manifest say how many may run meanwhile. What has the label rackdns.once, or is a
singleton without ports, is done when it ends with exit code 0. Every service's port is
published, at a port that the engine chooses, but for those that are internal.

An app is called like the directory of its manifest, which is remembered: up and
down in another directory of that name are refused, unless --app says that it is
the same app. A container that only has the labels of the app's, such as one of
an image that docker commit made, is left alone.

Values that environment lists of the manifest leave out come from the file .env
beside it, and else from the environment of this command. If they have the URL
of a resource, nothing is run for it.

Images are built by docker buildx if it is there, else by the engine's own
builder, and pulled with the credentials that docker login has kept. What was
brought up is remembered as a release: rackdns rollback brings back the one
before.

A Compose file is not brought up here: Docker's own docker compose up does that,
and its services have names by themselves; see rackdns compose --help.

Health checks are this program's own, whatever an image has or lacks: a volume
with a copy of it is mounted into the containers that have one.`,
		Example: `  rackdns standalone --rack acme --dns 172.17.0.1:53 &
  rackdns up --rack acme
  rackdns up --dry-run
  rackdns up --rack acme -f shop/convox.yml --app shop-test --env-file test.env`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			up, err := flags.config(cmd)
			if err != nil {
				return err
			}
			if file := composeInstead(flags.file); file != "" {
				return refuseCompose(cmd, file, up.Config, up.Suffix)
			}
			up.Verbose, up.Pull, up.DryRun = options.Verbose, options.Pull, options.DryRun
			if err := readApp(cmd, &up, flags.file, envFiles, strict); err != nil {
				return err
			}
			return asUsage(deploy.Up(cmd.Context(), up))
		},
	}
	f := cmd.Flags()
	flags.add(f)
	f.StringArrayVar(&envFiles, "env-file", nil, "file with the app's environment, in lines NAME=VALUE; can be there several times (default "+dotenvFile+" beside the manifest)")
	f.BoolVar(&options.Verbose, "verbose", false, "show all that builds print, and why keys of the manifest have no effect")
	f.BoolVar(&options.Pull, "pull", false, "look for newer images than those that are on the engine, also for those that builds begin with")
	f.BoolVar(&options.DryRun, "dry-run", false, "only print what would be done")
	f.BoolVar(&strict, "strict", false, "do nothing if a key of the manifest would be ignored or is warned of")
	return cmd
}

// readApp reads the files that describe the app.
func readApp(cmd *cobra.Command, up *deploy.UpConfig, file string, envFiles []string, strict bool) (err error) {
	if up.Manifest, err = manifest.Read(file); err != nil {
		return usageError{err}
	}
	if err := refuseNotes(up.Manifest); strict && err != nil {
		return err
	}
	sayManifest(cmd.ErrOrStderr(), up.Manifest, up.Verbose)
	up.Dir = filepath.Dir(file)
	up.Given, err = readGiven(file, envFiles)
	return err
}

// refuseNotes makes an error of what else would be a note: keys that are not
// known, and those that have no effect.
func refuseNotes(m *manifest.Manifest) error {
	notes := slices.Clone(m.Warnings)
	for _, i := range m.Ignored {
		notes = append(notes, i.Line)
	}
	switch len(notes) {
	case 0:
		return nil
	case 1:
		return usagef("--strict: %s", notes[0])
	}
	return usagef("--strict: %s (and %d more)", notes[0], len(notes)-1)
}

// sayManifest warns of what is not known of a manifest, and says in one line, or
// in one each, what has no effect here.
func sayManifest(w io.Writer, m *manifest.Manifest, each bool) {
	for _, line := range m.Warnings {
		fmt.Fprintln(w, "rackdns:", oneLine(line))
	}
	var names []string
	for _, i := range m.Ignored {
		if each {
			fmt.Fprintln(w, "rackdns:", oneLine(i.Line))
		} else if !slices.Contains(names, i.Key) {
			names = append(names, i.Key)
		}
	}
	if len(names) > 0 {
		fmt.Fprintf(w, "rackdns: %s: has no effect on a plain host: %s (--verbose says why)\n", m.File, strings.Join(names, ", "))
	}
}

func parseServers(servers []string) (all []netip.Addr, engine bool, err error) {
	if len(servers) == 1 && servers[0] == engineDNS {
		return nil, true, nil
	}
	for _, s := range servers {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.IsLoopback() || ip.IsUnspecified() {
			return nil, false, usagef("--dns %q: want an IP address at which containers reach a DNS server, or %s", s, engineDNS)
		}
		all = append(all, ip)
	}
	return all, false, nil
}
