package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/connlimit"
	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/convox"
	"github.com/rackdns/rackdns/internal/httpapi/discovery"
	"github.com/rackdns/rackdns/internal/httpapi/routes"
	"github.com/rackdns/rackdns/internal/httpguard"
)

// httpOff is the value of --http that means: none.
const httpOff = "off"

// defaultHTTP is where HTTP is served unless told otherwise.
const defaultHTTP = "127.0.0.1:8080"

// httpFlag says where a command that goes on serves HTTP: its metrics, whether
// it is alive, and whether it is ready.
type httpFlag struct {
	name, address string
	// yields says that the address is only a default, which is given up if
	// somebody else has it.
	yields bool
	// names are further ones by which it may be asked.
	names []string
	hosts *httpguard.Hosts
	// certFile and keyFile are for TLS.
	certFile, keyFile string
	tokens            tokenFlags
	// alone says that the process serves nothing else.
	alone     bool
	discovery discoveryFlags
	// told is what discovery's flags say, checked.
	told discovery.Options
	// promote has an app that runs on this host run with its present environment;
	// nil without an engine.
	promote func(ctx context.Context, rack, app string) error
}

// addMetrics adds the flag of a command that serves HTTP only on demand.
func (f *httpFlag) addMetrics(flags *pflag.FlagSet) {
	f.name = "metrics"
	flags.StringVar(&f.address, f.name, "", "where to serve /metrics, /healthz and /readyz, such as 127.0.0.1:9154 (default nowhere)")
	f.addHosts(flags)
}

// addHTTP adds the flag of a command that serves HTTP unless told otherwise.
func (f *httpFlag) addHTTP(flags *pflag.FlagSet) {
	f.name = "http"
	flags.StringVar(&f.address, f.name, defaultHTTP, "where to serve HTTP: the rack's names, and /metrics, /healthz and /readyz; or \""+httpOff+"\"")
	f.addHosts(flags)
	f.tokens.add(flags)
	f.addTLS(flags)
	f.discovery.add(flags)
}

// addTLS adds the flags of a certificate.
func (f *httpFlag) addTLS(flags *pflag.FlagSet) {
	flags.StringVar(&f.certFile, "http-cert", "", "file with the certificate for --http, which then is HTTPS")
	flags.StringVar(&f.keyFile, "http-key", "", "file with that certificate's key")
}

// hostsFlag is the name of the flag that says by which names one may ask.
func (f *httpFlag) hostsFlag() string { return f.name + "-hosts" }

func (f *httpFlag) addHosts(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.names, f.hostsFlag(), nil, "host names by which --"+f.name+" may be asked, beside localhost and this host's own name and addresses, or \""+
		httpguard.AnyHost+"\"; can be there several times")
}

// check takes the flag as it was given, or wasn't. Others know this host by the
// address that it has for them, if that is given.
func (f *httpFlag) check(ctx context.Context, flags *pflag.FlagSet, hostAddress string) (err error) {
	names := f.names
	if _, err := netip.ParseAddr(hostAddress); err == nil {
		names = append(slices.Clone(names), hostAddress)
	}
	if f.hosts, err = httpguard.NewHosts(f.hostsFlag(), names...); err != nil {
		return usagef("--%s: %w", f.hostsFlag(), err)
	}
	f.yields = !flags.Changed(f.name)
	if f.name == "http" {
		if f.told, err = f.discovery.options(flags); err != nil {
			return err
		}
	}
	if (f.certFile == "") != (f.keyFile == "") {
		return usagef("--http-cert and --http-key come together")
	}
	if f.address == httpOff {
		f.address = ""
	}
	if f.address == "" {
		return nil
	}
	f.address, err = listenAddress(ctx, f.name, f.address)
	return err
}

// serve serves until the returned function is called. Without racks it is only
// what monitors ask. waits says what the process waits for before it is ready, if
// that is anything.
func (f *httpFlag) serve(racks []*httpapi.Rack, waits func() string, log *slog.Logger) (stop func(), err error) {
	if f.address == "" {
		return func() {}, nil
	}
	cfg := httpapi.Config{Hosts: f.hosts, Racks: racks, Logger: log, Families: routes.Monitoring(routes.Options{Waits: waits})}
	if len(racks) > 0 {
		cfg.Families = routes.All(routes.Options{Waits: waits, Discovery: f.told, Convox: convox.Options{Promote: f.promote, Logger: log}})
		f.discovery.tellIgnored(log)
	}
	if f.alone {
		cfg.Connections = connlimit.HTTPAlone()
	}
	if cfg.Tokens, err = f.tokens.open(log); err != nil {
		return nil, err
	}
	if f.certFile != "" {
		if cfg.Certificate, err = httpapi.OpenCertificate(f.certFile, f.keyFile, log); err != nil {
			return nil, fmt.Errorf("--http-cert: %w", err)
		}
	}
	s, err := httpapi.New(cfg)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", f.address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && f.yields:
		log.Warn("HTTP address is in use: going on without HTTP", "address", f.address, "flag", "--"+f.name)
		f.address = ""
		return func() {}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("HTTP address %s is in use: choose another with --%s", f.address, f.name)
	case err != nil:
		return nil, fmt.Errorf("HTTP address %s (--%s): %w", f.address, f.name, err)
	}
	s.Start(ln)
	return s.Close, nil
}

// url is where it is served, for this host.
func (f *httpFlag) url() string { return f.scheme() + "://" + f.address }

func (f *httpFlag) scheme() string {
	if f.certFile != "" {
		return "https"
	}
	return "http"
}

// tokenFlags say where the tokens are that grant rights over HTTP.
type tokenFlags struct {
	// file is the one that was given, data the directory in which there is one
	// else; with neither there are no tokens.
	file, data string
}

func (f *tokenFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "http-token-file", "", "file with a token on each line, and the rights that it has, names, write or secrets, if not all (default <data>/"+httpapi.TokenFile+", made at the first start)")
}

// path is the file of tokens, empty if there is none.
func (f *tokenFlags) path() string {
	if f.file == "" && f.data != "" {
		return filepath.Join(f.data, httpapi.TokenFile)
	}
	return f.file
}

// open reads the file of tokens. The one in the data directory is made if it isn't
// there.
func (f *tokenFlags) open(log *slog.Logger) (*httpapi.Tokens, error) {
	path := f.path()
	if path == "" {
		return nil, nil
	}
	if f.file == "" {
		// As the registry makes it.
		err := os.MkdirAll(f.data, 0o700)
		if err == nil {
			err = httpapi.MakeTokenFile(path)
		}
		if err != nil {
			log.Warn("no token for HTTP can be made: nothing can be changed by it, and on loopback alone anything be read", "error", err)
			return nil, nil
		}
	}
	t, err := httpapi.OpenTokens(path, log)
	if err != nil {
		return nil, fmt.Errorf("--http-token-file: %w", err)
	}
	return t, nil
}
