package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/embedded"
)

// registryChild is the command that standalone runs its etcd as.
const registryChild = "registry"

// listenFlags say where standalone's etcd listens, and who is let in.
type listenFlags struct {
	address string
	// certFile, keyFile and clientCAFile are for TLS at a TCP address.
	certFile, keyFile, clientCAFile string
	// user and passwordFile are whom standalone itself comes as, where etcd
	// has users.
	user, passwordFile string
}

func (f *listenFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "etcd-listen", "", "where the registry's etcd listens: unix:PATH, or HOST:PORT for other hosts as well, which needs --etcd-listen-client-ca or --etcd-user (default unix:<data>/etcd.sock)")
	flags.StringVar(&f.certFile, "etcd-listen-cert", "", "file with the registry's certificate, for HOST:PORT")
	flags.StringVar(&f.keyFile, "etcd-listen-key", "", "file with that certificate's key")
	flags.StringVar(&f.clientCAFile, "etcd-listen-client-ca", "", "file with the CA whose certificates the registry's clients must have")
	flags.StringVar(&f.user, "etcd-user", "", "user of the registry's etcd, if it has users")
	flags.StringVar(&f.passwordFile, "etcd-password-file", "", "file with the user's password")
}

// config returns what the flags say, checked.
func (f *listenFlags) config(ctx context.Context, data string) (cfg embedded.Config, err error) {
	cfg = embedded.Config{Dir: data, CertFile: f.certFile, KeyFile: f.keyFile, ClientCAFile: f.clientCAFile}
	path, isSocket := strings.CutPrefix(f.address, "unix:")
	if isSocket {
		if path = strings.TrimPrefix(path, "//"); path == "" || strings.HasSuffix(path, "/") {
			return cfg, usagef("--etcd-listen %q: want unix:PATH", f.address)
		}
		cfg.Socket = path
	} else if f.address != "" {
		if cfg.Listen, err = listenAddress(ctx, "etcd-listen", f.address); err != nil {
			return cfg, err
		}
	}
	if (f.user == "") != (f.passwordFile == "") {
		return cfg, usagef("--etcd-user and --etcd-password-file come together")
	}
	tls := f.certFile + f.keyFile + f.clientCAFile
	switch {
	case cfg.Listen == "" && tls != "":
		return cfg, usagef("--etcd-listen-cert, --etcd-listen-key and --etcd-listen-client-ca are for a TCP address: give one with --etcd-listen HOST:PORT")
	case cfg.Listen == "":
		return cfg, nil
	case (f.certFile == "") != (f.keyFile == "") || f.clientCAFile != "" && f.certFile == "":
		return cfg, usagef("--etcd-listen %s: --etcd-listen-client-ca needs --etcd-listen-cert and --etcd-listen-key, which come together", cfg.Listen)
	case f.clientCAFile == "" && f.user == "":
		return cfg, usagef("--etcd-listen %s: whoever reaches a TCP address would read all credentials: demand certificates (--etcd-listen-client-ca, -cert and -key) or etcd's users (--etcd-user); commands on this host need no TCP, they find %s",
			cfg.Listen, registry.SocketIn(data))
	}
	for _, file := range []string{f.certFile, f.keyFile, f.clientCAFile} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return cfg, fmt.Errorf("--etcd-listen %s: %w", cfg.Listen, err)
		}
	}
	return cfg, nil
}

// client is how standalone's own parts reach the registry.
func (f *listenFlags) client(endpoint, rack string) registry.Config {
	return registry.Config{Endpoints: []string{endpoint}, Rack: rack, Username: f.user, PasswordFile: f.passwordFile}
}

// startRegistry starts etcd in a process of its own. With insist it is tried
// for as long as standalone runs.
func startRegistry(ctx context.Context, cfg embedded.Config, insist bool, log *slog.Logger) (*embedded.Registry, error) {
	r, err := embedded.Start(ctx, cfg, embedded.Options{
		Command: func() *exec.Cmd {
			// The very same program, also if another has been installed since.
			cmd := exec.Command("/proc/self/exe", registryChild)
			cmd.Args[0] = os.Args[0]
			return cmd
		},
		Log: log, Insist: insist,
	})
	var inUse *embedded.InUseError
	switch {
	case errors.As(err, &inUse):
		return nil, fmt.Errorf("%w: choose another with --etcd-listen", inUse)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("--data: %w", err)
	}
	return r, nil
}

func registryCommand() *cobra.Command {
	return &cobra.Command{
		Use:     registryChild,
		Short:   "Be the registry of rackdns standalone, which starts this itself",
		Example: "  rackdns registry",
		Hidden:  true,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := embedded.RunChild(); err != nil {
				return usagef("%s: %w", registryChild, err)
			}
			return nil
		},
	}
}

// foundByItself says whether commands find the registry of a data directory
// without being told.
func foundByItself(cfg embedded.Config, data string) bool {
	dir, err := filepath.Abs(registry.DefaultDataDir())
	given, e := filepath.Abs(data)
	return err == nil && e == nil && cfg.Socket == "" && dir == given && os.Getenv("RACKDNS_DATA") == ""
}
