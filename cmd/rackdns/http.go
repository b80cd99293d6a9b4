package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"

	"github.com/rackdns/rackdns/internal/connlimit"
	"github.com/rackdns/rackdns/internal/httpguard"
)

// httpOff is the value of --http that means: none.
const httpOff = "off"

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
	flags.StringVar(&f.address, f.name, "127.0.0.1:8080", "where to serve /metrics, /healthz, /readyz and /healthcheck, or \""+httpOff+"\"")
	f.addHosts(flags)
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
	if f.address == httpOff {
		f.address = ""
	}
	if f.address == "" {
		return nil
	}
	f.address, err = listenAddress(ctx, f.name, f.address)
	return err
}

// serve serves until the returned function is called. /healthz and, for
// clients of Lyft's discovery, /healthcheck say that the process is alive,
// /readyz what it waits for, if that is anything.
func (f *httpFlag) serve(waits func() string, log *slog.Logger) (stop func(), err error) {
	if f.address == "" {
		return func() {}, nil
	}
	ln, err := net.Listen("tcp", f.address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && f.yields:
		log.Warn("HTTP address is in use: going on without metrics", "address", f.address, "flag", "--"+f.name)
		f.address = ""
		return func() {}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("HTTP address %s is in use: choose another with --%s", f.address, f.name)
	case err != nil:
		return nil, fmt.Errorf("HTTP address %s (--%s): %w", f.address, f.name, err)
	}
	ln = connlimit.New("http", connlimit.OfProcess().HTTP, log).Listener(ln)
	s := httpguard.NewServer(f.hosts, httpHandler(waits))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("HTTP is not served any more", "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // whoever still reads is cut off
		}
		<-done
	}, nil
}

func httpHandler(waits func() string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /healthcheck", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if what := waits(); what != "" {
			http.Error(w, "waiting for "+what, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
