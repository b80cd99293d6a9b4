package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/env"
	"github.com/rackdns/rackdns/internal/registry"
)

// execution is one call of rackdns exec.
type execution struct {
	envFlags
	app, service string
	wait         time.Duration
	// container is the own one's ID, where that is to say which service it is.
	container string
	// own are the variables that the process has itself.
	own map[string]string

	progress progress
}

func execCommand() *cobra.Command {
	x := &execution{}
	cmd := &cobra.Command{
		Use:   "exec -- CMD [ARG...]",
		Short: "Run a command in the environment of its service, once that is complete",
		Long: `Run a command with the environment that rackdns env prints, on top of this
process's own, whose variables win. The command takes the place of this process:
it gets all signals, and its exit code is the one that counts. If it isn't there
the exit code is 127, if it can't be run 126, as shells have it.

Which service it is, is said by --app and --service, else by the variables APP
and SERVICE, else, without a convox.yml, by the container that this process runs
in: it is looked up in the registry by its ID. The rack is the variable RACK's,
unless --rack or RACKDNS_RACK says otherwise.

The command is started when each service that is linked to, and each resource of
the app that is a container, has a serving instance. That is asked of the
registry, or, with a convox.yml and no --etcd, of the system's resolver: a
service serves when its name has an address. --wait 0 starts it at once.

As a container's entrypoint it needs nothing in the image but itself:

  docker run -v /usr/local/bin/rackdns:/rackdns:ro --entrypoint /rackdns \
    --label rackdns.app=shop --label rackdns.service=worker --label rackdns.links=web \
    example/worker exec --rack acme --etcd 10.0.2.10:2379 -- /worker`,
		Example: `  rackdns exec -f convox.yml --rack acme --app shop --service worker -- bin/worker
  rackdns exec --wait 2m --etcd 10.0.2.10:2379 -- sh -c 'exec curl $WEB_URL'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usagef("%s takes a command to run; see %[1]s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd, args) },
	}
	// What follows the command is the command's.
	cmd.Flags().SetInterspersed(false)
	x.add(cmd)
	appFlag(cmd.Flags(), &x.app, "", "the app (default $APP)")
	nameFlag(cmd.Flags(), &x.service, "service", "", "the service (default $SERVICE)")
	cmd.Flags().DurationVar(&x.wait, "wait", 30*time.Second, "how long to wait for the services and resources that are needed")
	return cmd
}

// run returns only if it could not start the command.
func (x *execution) run(cmd *cobra.Command, args []string) error {
	path, err := lookUp(args[0])
	if err != nil {
		return err
	}
	if x.wait < 0 {
		return usagef("--wait %s: is less than nothing; 0 is not to wait", x.wait)
	}
	x.defaults(cmd)
	ctx := cmd.Context()
	all, err := x.environment(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	environ := os.Environ()
	for _, v := range all {
		if _, ok := x.own[v.Name]; ok {
			continue
		}
		if strings.Contains(v.Value, "\x00") {
			return fmt.Errorf("variable %s: holds a NUL, which no environment can carry", v.Name)
		}
		environ = append(environ, v.Name+"="+v.Value)
	}
	if err := interrupted(ctx); err != nil {
		return err
	}
	err = syscall.Exec(path, args, environ)
	if errors.Is(err, syscall.ENOENT) {
		// The file itself was there a moment ago.
		err = fmt.Errorf("its interpreter or its loader: %w", err)
	}
	return notRun(args[0], err)
}

// Exit codes of a command that could not be run, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// notRunError is that a command could not be run.
type notRunError struct {
	error
	code int
}

func (e notRunError) Unwrap() error { return e.error }

// ExitCode is the one that shells give to it.
func (e notRunError) ExitCode() int { return e.code }

func notRun(command string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return notRunError{fmt.Errorf("command %q: %w", command, err), code}
}

// lookUp returns the file of a command.
func lookUp(command string) (string, error) {
	path, err := exec.LookPath(command)
	if err == nil || errors.Is(err, exec.ErrDot) {
		return path, nil
	}
	err = errors.Unwrap(err)
	if errors.Is(err, exec.ErrNotFound) {
		// One that is there and is none to run is another mistake.
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			if info, e := os.Stat(filepath.Join(dir, command)); e == nil && info.Mode().IsRegular() {
				err = fmt.Errorf("%s: %w", filepath.Join(dir, command), fs.ErrPermission)
			}
		}
	}
	return "", notRun(command, err)
}

// defaults takes from the process's own environment what no flag says.
func (x *execution) defaults(cmd *cobra.Command) {
	x.own = map[string]string{}
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		x.own[name] = value
	}
	if rack := x.own["RACK"]; rack != "" && (x.Rack == "" || !cmd.Flags().Changed("rack")) {
		x.Rack = rack
	}
	app, service := cmp.Or(x.app, registry.FoldName(x.own["APP"])), cmp.Or(x.service, registry.FoldName(x.own["SERVICE"]))
	// One of the variables alone is likely somebody else's.
	if app != "" && service != "" {
		x.app, x.service = app, service
	}
	x.progress = newProgress(os.Stderr)
}

// environment waits for what the command needs and returns its variables.
func (x *execution) environment(ctx context.Context, stderr io.Writer) ([]env.Variable, error) {
	if err := x.identify(); err != nil {
		return nil, err
	}
	given, err := readGiven(x.file, x.envFiles)
	if err != nil {
		return nil, err
	}
	maps.Copy(given, x.own)
	in, err := x.awaited(ctx, stderr, given)
	x.progress.end()
	if err != nil {
		return nil, err
	}
	return x.variables(in)
}

// identify finds out which service this is, or in which container.
func (x *execution) identify() error {
	switch {
	case x.app != "" && x.service != "":
		return x.check(x.app, x.service)
	case x.file != "":
		return usagef("--app and --service: say which service of %s this is, here or by the variables APP and SERVICE", x.file)
	case x.app != "" || x.service != "":
		return usagef("--app %q and --service %q: both or none", x.app, x.service)
	}
	var err error
	if x.container, err = env.OwnID(); err != nil {
		return usagef("--app and --service: say which service this is: %w", err)
	}
	if _, err := x.zone(); err != nil {
		return err
	}
	return nil
}

// awaited returns the input of the command's environment when all is there that
// it leads to.
func (x *execution) awaited(ctx context.Context, stderr io.Writer, given map[string]string) (*env.Input, error) {
	deadline := time.Now().Add(x.wait)
	// A registry that was named is there; by default it is at hand or not at all.
	if x.file == "" || len(x.Endpoints) > 0 || vias[x.via.value] != env.ViaDNS {
		return x.byRegistry(ctx, stderr, given, deadline)
	}
	in, err := x.fromFile(stderr, x.app, x.service)
	if err != nil {
		return nil, err
	}
	x.complete(in, given)
	if err := x.fill(ctx, in); err != nil {
		return nil, err
	}
	return in, x.byResolver(ctx, in.Dependencies(), deadline)
}
