package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// probeTimeout ends a check that nobody else ends: the engine does, but it
// leaves the process behind that it started in the container.
const probeTimeout = time.Minute

// probeCommand is what the engine runs in a container with a health check (see
// package deploy), so it is none for people.
func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "probe URL",
		Short:   "Succeed if what is at a URL answers",
		Example: "  rackdns probe http://127.0.0.1:3000/health",
		Hidden:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("probe: want one URL")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), probeTimeout)
			defer cancel()
			return probe(ctx, args[0])
		},
	}
}

// probe asks http and https for an answer that is no error, and is content
// with a connection for tcp.
func probe(ctx context.Context, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return usagef("probe: %w", err)
	}
	switch u.Scheme {
	case "tcp":
		c, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return err
		}
		return c.Close()
	case "http", "https":
		return probeHTTP(ctx, target)
	}
	return usagef("probe: %q: want http, https or tcp", target)
}

func probeHTTP(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return usagef("probe: %w", err)
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		// The certificate is not for the loopback address.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	reply, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(reply.Body, 1<<20))
	if reply.StatusCode < 200 || reply.StatusCode > 399 {
		return fmt.Errorf("%s: %s", target, reply.Status)
	}
	return nil
}
