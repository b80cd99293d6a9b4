// Package check asks the servers of resources on demand whether they do their
// work: from this host, with the URL that apps are given.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/probe"
	"github.com/rackdns/rackdns/internal/resource"
)

// Timeout bounds the check of one resource.
const Timeout = 5 * time.Second

// How a resource is found to be.
const (
	// Answers says that the server let its user in and answered a query, or, of one
	// whose protocol isn't known here, that it took a connection.
	Answers = "answers"
	// Unreachable says that nothing answers there as it should.
	Unreachable = "unreachable"
)

// Result is what came of a check.
type Result struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Status string `json:"status"`
	// At is where the server was asked, empty if that isn't known. Why is empty if
	// it answers. Neither has any credentials.
	At  string `json:"at,omitempty"`
	Why string `json:"why,omitempty"`
}

// All checks resources, side by side, by their URLs. The snapshot's own node is
// this host.
func All(ctx context.Context, s *index.Snapshot, all []*index.Resource, urls map[string]string) []Result {
	results := make([]Result, len(all))
	var wg sync.WaitGroup
	for n, r := range all {
		wg.Go(func() { results[n] = one(ctx, s, r, urls[r.Name]) })
	}
	wg.Wait()
	return results
}

func one(ctx context.Context, s *index.Snapshot, r *index.Resource, rawURL string) Result {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	result := Result{Name: r.Name, Type: r.Type, Status: Unreachable}
	at, err := address(s, r, rawURL)
	if err == nil {
		result.At = at
		err = ask(ctx, r.Type, at, rawURL)
	}
	if err != nil {
		result.Why = err.Error()
		return result
	}
	result.Status = Answers
	return result
}

// address returns where this host reaches the resource's server.
func address(s *index.Snapshot, r *index.Resource, rawURL string) (string, error) {
	if len(r.Instances()) == 0 {
		if r.Backed {
			return "", errors.New("no container of it runs")
		}
		host, port := locate(rawURL)
		port = cmp.Or(port, r.Port)
		switch {
		case rawURL == "":
			return "", errors.New("it has no URL")
		case host == "" || port == 0:
			return "", errors.New("its URL doesn't say at which host and port it is")
		case strings.HasSuffix(host, ".resource"), strings.Contains(host, ".resource."):
			return "", errors.New("no container of it runs")
		}
		return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
	}
	for _, i := range r.Instances() {
		if !i.Serving() {
			continue
		}
		for _, e := range s.EndpointsOf(i, s.Self()) {
			for n := range i.Ports() {
				p := &i.Ports()[n]
				number := e.Number(p)
				if p.UDP || number == 0 || p.Container != r.Port && r.Port != 0 {
					continue
				}
				for _, a := range e.All() {
					return netip.AddrPortFrom(a, number).String(), nil
				}
			}
		}
		return "", errors.New("this host doesn't reach its container; rackdns explain says why")
	}
	return "", fmt.Errorf("its container is %s", r.Instances()[0].State())
}

// locate returns where a URL leads. What DNS gives no name to, such as loopback,
// leads somewhere, too.
func locate(rawURL string) (string, uint16) {
	if host, port := resource.Locate(rawURL); host != "" {
		return host, port
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", 0
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return "", 0
	}
	return u.Hostname(), uint16(port)
}

// ask asks a server as its type says, and opens a connection where that is all that
// can be done: TLS is the apps' business, which have the certificates.
func ask(ctx context.Context, typ, at, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return errors.New("its URL can't be parsed")
	}
	mode := cmp.Or(u.Query().Get("sslmode"), u.Query().Get("tls"), "disable")
	secure := u.Scheme == "rediss" || mode != "disable" && mode != "false"
	target := url.URL{Scheme: "tcp", Host: at}
	switch {
	case secure:
	case typ == "postgres", typ == "redis", typ == "memcached":
		target.Scheme, target.Path = typ, u.Path
	case typ == "mysql", typ == "mariadb":
		target.Scheme, target.Path = "mysql", u.Path
	}
	if u.User != nil && target.Scheme != "tcp" {
		target.User = url.User(u.User.Username())
	}
	password, _ := u.User.Password()
	err = probe.Probe(ctx, target.String(), func(string) string { return password })
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", Timeout)
	}
	if err != nil {
		return errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	return nil
}
