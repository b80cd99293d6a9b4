package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

// timeout bounds what the container does on behalf of a test.
const timeout = 10 * time.Second

// lookup is the reply of /lookup.
type lookup struct {
	Addresses []string  `json:"addresses,omitempty"`
	Services  []service `json:"services,omitempty"`
	NotFound  bool      `json:"not_found,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// service is one SRV record.
type service struct {
	Target   string `json:"target"`
	Port     uint16 `json:"port"`
	Priority uint16 `json:"priority"`
	Weight   uint16 `json:"weight"`
}

// newHandler returns the container's HTTP interface:
//
//	/                                    the container's ID
//	/env?name=WEB_URL                    that variable of its environment, or 404
//	/lookup?type=A&name=web.shop.local.  what Go's resolver finds, as JSON
//	/connect?network=tcp&address=IP:PORT what is read from there until it ends
func newHandler(id string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, id) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "container_info{id=%q} 1\n", id)
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) {
		value, ok := os.LookupEnv(r.FormValue("name"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, value)
	})
	mux.HandleFunc("GET /lookup", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(resolve(ctx, r.FormValue("type"), r.FormValue("name"))); err != nil {
			log.Printf("lookup: %v", err)
		}
	})
	mux.HandleFunc("GET /connect", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		read, err := connect(ctx, r.FormValue("network"), r.FormValue("address"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if _, err := w.Write(read); err != nil {
			log.Printf("connect: %v", err)
		}
	})
	return mux
}

// resolve asks the servers in resolv.conf by Go's own resolver.
func resolve(ctx context.Context, kind, name string) lookup {
	var (
		found    lookup
		err      error
		ips      []net.IP
		srv      []*net.SRV
		resolver = &net.Resolver{PreferGo: true}
	)
	switch kind {
	case "A":
		ips, err = resolver.LookupIP(ctx, "ip4", name)
	case "AAAA":
		ips, err = resolver.LookupIP(ctx, "ip6", name)
	case "SRV":
		_, srv, err = resolver.LookupSRV(ctx, "", "", name)
	default:
		err = fmt.Errorf("type %q: want A, AAAA or SRV", kind)
	}
	if err != nil {
		var dns *net.DNSError
		found.NotFound = errors.As(err, &dns) && dns.IsNotFound
		found.Error = err.Error()
	}
	for _, ip := range ips {
		found.Addresses = append(found.Addresses, ip.String())
	}
	for _, s := range srv {
		found.Services = append(found.Services, service{s.Target, s.Port, s.Priority, s.Weight})
	}
	return found
}

// connect returns what address sends: at once over TCP, to a datagram over UDP
// and to a GET over HTTP.
func connect(ctx context.Context, network, address string) ([]byte, error) {
	if network == "http" {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", http.NoBody)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if network != "udp" {
		return io.ReadAll(c)
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return nil, err
	}
	buf := make([]byte, 1500)
	n, err := c.Read(buf)
	return buf[:n], err
}
