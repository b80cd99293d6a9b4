package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/manifest"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/terminal"
)

// dotenvFile is the app's environment, beside its convox.yml.
const dotenvFile = ".env"

// maxName is the longest name in DNS, written without its last dot (RFC 1035,
// section 2.3.4).
const maxName = 253

// envFlags say of which service an environment is made, and how.
type envFlags struct {
	zoneFlags
	file     string
	envFiles []string
	release  string
	style    choice
	via      choice

	// secrets are the URLs of the resources that were read: by app, the
	// rack's by none.
	secrets map[string]map[string]string
}

var (
	styles = map[string]env.Style{"url": env.StyleURL, "full": env.StyleFull}
	vias   = map[string]env.Via{"dns": env.ViaDNS, "host": env.ViaHost, "connect": env.ViaConnect}
)

func (f *envFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.zoneFlags.add(flags)
	flags.StringVarP(&f.file, "file", "f", "", "the app's convox.yml (default: the registry says what there is)")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "file with the app's environment, in lines NAME=VALUE; can be there several times (default "+dotenvFile+" beside the convox.yml)")
	flags.StringVar(&f.release, "release", "", "the app's release (default that of the newest instance, without a convox.yml)")
	f.style = choice{"url", []string{"url", "full"}}
	flags.Var(&f.style, "style", "url: a link is WEB_URL; full: that, and its scheme, host, port, path, username and password")
	f.via = choice{"dns", []string{"dns", "host", "connect"}}
	flags.Var(&f.via, "via", "how links lead to a service: by its name, by one instance's published port as it is now, or by the connect proxy")
}

func envCommand() *cobra.Command {
	var f envFlags
	format := choice{string(env.Dotenv), nil}
	for _, known := range env.Formats {
		format.of = append(format.of, string(known))
	}
	cmd := &cobra.Command{
		Use:   "env [APP] SERVICE",
		Short: "Print the environment of a service: its links, its resources and its own variables",
		Long: `Print the environment of a service: RACK, APP, SERVICE, RELEASE and PORT, a
<NAME>_URL for each service that it links to, <NAME>_URL, _USER, _PASS, _HOST,
_PORT and _NAME for each resource that it uses, and the variables that it lists.

With a convox.yml, that says what there is, and the registry is asked for
nothing but the URLs of resources and for --via host and connect. Without one
the registry says everything: what is declared of the app, and the labels
rackdns.links and connect.<port> of the service's instances.

The app's environment is what rackdns env set has set in the rack, and over that
.env, or what --env-file says. It gives the values of the variables that the
service lists, and wins over everything else: over a value in the convox.yml, over
a link, and over a resource, which is then an outside one whose URL passes as it
is. What is listed and set nowhere is taken from the environment of this command.
With a convox.yml the rack is not asked for it: there need be no registry.

In full style the target of a link says by LINK_SCHEME, LINK_USERNAME,
LINK_PASSWORD, LINK_PORT and LINK_PATH in its own environment what the seven
variables are.

The formats carry any value that they can, and refuse the others by the
variable's name: docker's --env-file has no line breaks, and only dotenv and
shell have bytes that aren't UTF-8. On a terminal, and only there, what would
steer it shows as a question mark.`,
		Example: `  rackdns env -f convox.yml shop worker
  eval "$(rackdns env -a shop worker --format shell)"
  rackdns env shop worker --format docker > worker.env && docker run --env-file worker.env example/worker`,
		Args: folded(2, func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 || slices.Contains(args, "") {
				return usagef("%s takes an app and one of its services; see %[1]s --help", cmd.CommandPath())
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			last := len(args) - 1
			app, err := theApp(cmd, args[:last])
			if err != nil {
				return err
			}
			if app == "" {
				return usagef("%s takes an app and one of its services, and %s alone is not both; give the app before it or by --app", cmd.CommandPath(), registry.Quote(args[last]))
			}
			in, err := f.input(cmd, app, args[last])
			if err != nil {
				return err
			}
			all, err := f.variables(in)
			if err != nil {
				return err
			}
			text, err := env.Encode(env.Format(format.value), all)
			if err != nil {
				return err
			}
			if onTerminal(cmd.OutOrStdout()) {
				text = []byte(terminal.Lines(string(text)))
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	f.add(cmd)
	var app string
	appFlag(cmd.Flags(), &app, "", "the app, in place of the argument")
	cmd.Flags().Var(&format, "format", "how to print it")
	cmd.ValidArgsFunction = completeArgs(appsOrServices, knownServices)
	cmd.AddCommand(envSetCommand(), envUnsetCommand(), envGetCommand(), envListCommand())
	return cmd
}

// input gathers what the environment of a service depends on.
func (f *envFlags) input(cmd *cobra.Command, app, service string) (*env.Input, error) {
	if err := f.check(app, service); err != nil {
		return nil, err
	}
	var in *env.Input
	given, err := readGiven(f.file, f.envFiles)
	if err != nil {
		return nil, err
	}
	if f.file != "" {
		in, err = f.fromFile(cmd.ErrOrStderr(), app, service)
	} else {
		var s *index.Snapshot
		if s, err = f.snapshot(cmd.Context(), index.Options{}); err == nil {
			in, err = env.FromRegistry(s, f.Rack, app, service)
		}
	}
	if err != nil {
		return nil, err
	}
	shared, err := f.shared(cmd, in.App)
	if err != nil {
		return nil, err
	}
	maps.Copy(shared, given)
	f.complete(in, shared)
	in.Ask(os.LookupEnv)
	if f.file != "" && in.Via != env.ViaDNS {
		s, err := f.snapshot(cmd.Context(), index.Options{})
		if err != nil {
			return nil, err
		}
		in.Ways(s)
	}
	return in, f.fill(cmd.Context(), in)
}

// shared is the environment that the rack has for an app. Who may not read it goes
// on without, and is told so: a container reads names alone as a rule.
func (f *envFlags) shared(cmd *cobra.Command, app string) (map[string]string, error) {
	if f.file != "" {
		// That is worked out without a registry.
		return map[string]string{}, nil
	}
	client, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	all, err := client.AppEnvironment(cmd.Context(), app)
	if errors.Is(err, rpctypes.ErrPermissionDenied) {
		fmt.Fprintf(cmd.ErrOrStderr(), "rackdns: the environment that the rack has for app %s is left out: this user may not read it\n", app)
		return map[string]string{}, nil
	}
	return all, err
}

// check checks what would be part of a name.
func (f *envFlags) check(app, service string) error {
	zone, err := f.zone()
	if err != nil {
		return err
	}
	if err := registry.CheckLabel("rack", f.Rack); err != nil {
		return usagef("--rack: %w", err)
	}
	if err := registry.CheckApp("app", app); err != nil {
		return usageError{err}
	}
	if err := registry.CheckLabel("service", service); err != nil {
		return usageError{err}
	}
	if name := service + "." + app + "." + zone; len(name) > maxName {
		return usagef("--suffix: %s is longer than a name in DNS can be", name)
	}
	return nil
}

// fromFile reads the convox.yml, and warns of what it has no use for.
func (f *envFlags) fromFile(stderr io.Writer, app, service string) (*env.Input, error) {
	m, err := manifest.Read(f.file)
	if err != nil {
		return nil, usageError{err}
	}
	for _, w := range m.Warnings {
		fmt.Fprintln(stderr, "rackdns:", oneLine(w))
	}
	in := env.FromManifest(m)
	in.Rack, in.App, in.Service = f.Rack, app, service
	return in, nil
}

// variables works out the environment. What is wrong then is wrong in the files
// that were given, if there are any, unless it is that nothing serves.
func (f *envFlags) variables(in *env.Input) ([]env.Variable, error) {
	all, err := in.Variables()
	var way *env.WayError
	if err != nil && f.file != "" && !errors.As(err, &way) {
		return nil, usageError{err}
	}
	return all, err
}

// readGiven reads the app's environment: the files that are named, else the one
// beside the convox.yml, if there is a convox.yml and such a file.
func readGiven(manifestFile string, files []string) (map[string]string, error) {
	given, optional := map[string]string{}, len(files) == 0
	if optional && manifestFile != "" {
		files = []string{filepath.Join(filepath.Dir(manifestFile), dotenvFile)}
	}
	for _, path := range files {
		more, err := env.ReadFile(path)
		if optional && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, usageError{err}
		}
		maps.Copy(given, more)
	}
	return given, nil
}

// complete puts in what the flags say.
func (f *envFlags) complete(in *env.Input, given map[string]string) {
	in.Suffix, in.Given = f.suffix, given
	in.Style, in.Via = styles[f.style.value], vias[f.via.value]
	if f.release != "" {
		in.Release = f.release
	}
}

// fill reads the URLs of the resources that the service needs. Without such
// ones it reads nothing: not everybody may.
func (f *envFlags) fill(ctx context.Context, in *env.Input) error {
	needs := in.Needs()
	if len(needs) == 0 {
		return nil
	}
	for _, r := range needs {
		if err := f.readSecrets(ctx, in, r); err != nil {
			return fmt.Errorf("URL of resource %s: %w", r.Name, err)
		}
	}
	in.Fill(f.secrets[in.App], f.secrets[""])
	for _, r := range needs {
		switch {
		case r.URL != "":
		case r.OfRack:
			return fmt.Errorf("resource %s of the rack has no URL; see rackdns resources --help", r.Name)
		default:
			return fmt.Errorf("resource %s of app %s has no URL yet: rackdns up creates it, or set %s_URL", r.Name, in.App, manifest.VariableOf(r.Name))
		}
	}
	return nil
}

// readSecrets reads the URLs of all resources beside one, unless it has.
func (f *envFlags) readSecrets(ctx context.Context, in *env.Input, r *env.Resource) error {
	app := in.App
	if r.OfRack {
		app = ""
	}
	if f.secrets[app] != nil {
		return nil
	}
	client, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	d, err := client.Declared(ctx, app, true)
	if err != nil {
		return err
	}
	if f.secrets == nil {
		f.secrets = map[string]map[string]string{}
	}
	f.secrets[app] = d.Secrets
	return nil
}
