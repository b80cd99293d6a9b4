package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
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
}

// addMetrics adds the flag of a command that serves HTTP only on demand.
func (f *httpFlag) addMetrics(flags *pflag.FlagSet) {
	f.name = "metrics"
	flags.StringVar(&f.address, f.name, "", "where to serve /metrics, /healthz and /readyz, such as 127.0.0.1:9154 (default nowhere)")
}

// addHTTP adds the flag of a command that serves HTTP unless told otherwise.
func (f *httpFlag) addHTTP(flags *pflag.FlagSet) {
	f.name = "http"
	flags.StringVar(&f.address, f.name, "127.0.0.1:8080", "where to serve /metrics, /healthz, /readyz and /healthcheck, or \""+httpOff+"\"")
}

// check takes the flag as it was given, or wasn't.
func (f *httpFlag) check(flags *pflag.FlagSet) error {
	f.yields = !flags.Changed(f.name)
	if f.address == httpOff {
		f.address = ""
	}
	if f.address == "" {
		return nil
	}
	return checkListen(f.name, f.address)
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
	// A scraper that reads nothing may hold neither us nor our end up.
	const patience = 10 * time.Second
	s := &http.Server{Handler: httpHandler(waits), ReadTimeout: patience, WriteTimeout: patience}
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
