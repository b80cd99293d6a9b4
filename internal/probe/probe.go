// Package probe finds out from within a container whether what runs in it does
// its work: a web server answers, a database lets its user in and answers a
// query. It needs nothing of the container's image.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// ErrTarget is wrapped by errors that say that a target is none.
var ErrTarget = errors.New("want http, https, grpc, tcp, postgres, mysql, redis or memcached")

// Probe asks what is at the target, a URL. http and https have to answer without
// an error, grpc by its own protocol of health checks, tcp to take a connection. A database's URL has neither a host, since
// it is the container's own server that is asked, nor a password: getenv gives
// that, as the server was given it.
func Probe(ctx context.Context, target string, getenv func(string) string) error {
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
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
	case "grpc":
		return probeGRPC(ctx, u.Host)
	case "postgres":
		return probePostgres(ctx, server(u), u, getenv("POSTGRES_PASSWORD"))
	case "mysql":
		password := getenv("MARIADB_PASSWORD")
		if password == "" {
			password = getenv("MYSQL_PASSWORD")
		}
		return probeMySQL(ctx, server(u), u, password)
	case "redis":
		return probeRedis(ctx, server(u), getenv("REDIS_PASSWORD"))
	case "memcached":
		return probeMemcached(ctx, server(u))
	}
	return fmt.Errorf("%q: %w", target, ErrTarget)
}

// server is where the container's own server listens for others: a database's
// image lets anybody in at its loopback address, so that is no proof of anything.
func server(u *url.URL) string {
	if u.Hostname() != "" {
		return u.Host
	}
	own := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	addrs, _ := net.InterfaceAddrs() // without any, loopback is the best there is
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			own = p.Addr()
			break
		}
	}
	return net.JoinHostPort(own.String(), u.Port())
}

func probeHTTP(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
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
