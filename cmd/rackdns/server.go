package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	// Registers CoreDNS as a server type.
	_ "github.com/coredns/coredns/coremain"

	"github.com/rackdns/rackdns/internal/connlimit"
	"github.com/rackdns/rackdns/internal/dnsserve"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/plugin/rack"
	"github.com/rackdns/rackdns/plugin/recursion"
)

// resolvConf is where the system says which DNS servers it asks.
const resolvConf = "/etc/resolv.conf"

// startDNS starts the DNS server, whose connections take no more descriptors
// than its share.
func (s *standalone) startDNS(corefile string) (*dnsserve.Server, error) {
	dnsserver.Quiet, caddy.Quiet = true, true
	server, err := dnsserve.Start(corefile, directives, connlimit.New("dns", connlimit.OfProcess().DNS, s.log), s.log)
	if err != nil {
		return nil, fmt.Errorf("DNS server: %w", err)
	}
	return server, nil
}

// checkPortsFree finds out before anything has been started whether DNS can be
// answered at one of the addresses at least, now or when this host has it.
func checkPortsFree(addresses []string) error {
	var first error
	for _, address := range addresses {
		err := dnsserve.Listenable(address)
		if err == nil || errors.Is(err, syscall.EADDRNOTAVAIL) {
			return nil
		}
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			err = fmt.Errorf("DNS address %s is in use: choose another with --dns", address)
		case errors.Is(err, syscall.EACCES):
			err = fmt.Errorf("DNS address %s: only root may listen there: choose a port over 1023 with --dns", address)
		default:
			err = fmt.Errorf("DNS address %s (--dns): %w", address, err)
		}
		first = cmp.Or(first, err)
	}
	return first
}

// corefile returns the configuration of the DNS server: the rack's zone, its
// short names, and everything else from where the system would get it.
func (s *standalone) corefile(etcd, node string) string {
	byPort := map[string][]string{}
	var ports []string
	for _, address := range s.dns {
		host, port := splitListen(address)
		if byPort[port] == nil {
			ports = append(ports, port)
		}
		byPort[port] = append(byPort[port], host)
	}
	var b strings.Builder
	for _, port := range ports {
		hosts := strings.Join(byPort[port], " ")
		fmt.Fprintf(&b, ".:%s {\n  bind %s\n  %s\n  errors\n", port, hosts, dnsserve.Directive)
		// No reply over UDP is larger than any path takes (DNS flag day 2020).
		b.WriteString("  bufsize 1232\n")
		fmt.Fprintf(&b, "  rack %s {\n    etcd %s\n    node %s\n    state %q\n    preserve %s\n%s%s  }\n  shortname @rack {\n", s.zone(), etcd, node, s.absState(), s.preserve, s.credentials(), s.forwardersProperty())
		for _, ns := range s.namespaces {
			fmt.Fprintf(&b, "    namespaces %s\n", ns)
		}
		b.WriteString("  }\n")
		if len(s.upstreams) > 0 {
			b.WriteString(s.forward())
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// absState is where the DNS server keeps its last picture, whatever directory
// the process is in.
func (s *standalone) absState() string {
	dir, err := filepath.Abs(s.stateDir())
	if err != nil {
		return s.stateDir()
	}
	return dir
}

// credentials is the property of the rack plugin, empty where etcd has no users.
func (s *standalone) credentials() string {
	if s.etcd.user == "" {
		return ""
	}
	return fmt.Sprintf("    credentials %q %q\n", s.etcd.user, s.etcd.passwordFile)
}

// forwardersProperty is the property of the rack plugin, empty without any.
func (s *standalone) forwardersProperty() string {
	if len(s.forwarders) == 0 {
		return ""
	}
	return "    forwarders " + strings.Join(s.forwarders, " ") + "\n"
}

// forward returns the part of the configuration that looks up other names: for
// whom, and with how many sockets.
func (s *standalone) forward() string {
	sockets := connlimit.OfProcess().Forward
	return fmt.Sprintf("  recursion %s\n  cache\n  forward . %s {\n    max_concurrent %d\n    max_idle_conns %d\n  }\n",
		strings.Join(s.recursion, " "), strings.Join(s.upstreams, " "), sockets, max(sockets/len(s.upstreams), 1))
}

// forwards says in words for whom other names are looked up, and where.
func (s *standalone) forwards() string {
	who := strings.Join(s.recursion, ", ")
	switch {
	case len(s.upstreams) == 0:
		return "no other names: there is nobody to ask"
	case who == recursion.None:
		return "no other names (--allow-recursion " + recursion.None + ")"
	case slices.Contains(s.recursion, recursion.Any):
		who = "everybody who can reach this server, which makes it an open resolver"
	default:
		who = strings.Replace(who, recursion.LocalNets, "this host's networks and Docker's", 1)
	}
	return fmt.Sprintf("other names to %s, for %s (--allow-recursion)", strings.Join(s.upstreams, ", "), who)
}

// checkNamespaces puts the namespaces in the form in which the registry has
// them, once each.
func (s *standalone) checkNamespaces() error {
	for n, ns := range s.namespaces {
		s.namespaces[n] = strings.ToLower(ns)
		if err := registry.CheckApp("--namespaces", s.namespaces[n]); err != nil {
			return usageError{err}
		}
	}
	slices.Sort(s.namespaces)
	s.namespaces = slices.Compact(s.namespaces)
	return nil
}

// checkForwarders finds what is wrong with --forwarders.
func (s *standalone) checkForwarders() error {
	if _, err := rack.ParseForwarders(s.forwarders); err != nil {
		return usagef("--forwarders: %v", err)
	}
	return nil
}

// findUpstreams finds the system's DNS servers, without this one, which would
// ask itself for ever.
func (s *standalone) findUpstreams() ([]string, error) {
	text, err := os.ReadFile(resolvConf)
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		ip, err := netip.ParseAddr(fields[1])
		if err == nil && !s.listensAt(netip.AddrPortFrom(ip, 53)) {
			found = append(found, ip.String())
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s names none but this one", resolvConf)
	}
	return found, nil
}

// upstreamsInterval is how often it is looked whether the system has other DNS
// servers. The file may be written anew, replaced, or mounted over, of which the
// kernel tells in as many ways.
const upstreamsInterval = time.Second

// followUpstreams has the DNS server forward to the system's DNS servers as they
// change, until ctx ends.
func (s *standalone) followUpstreams(ctx context.Context, server *dnsserve.Server, corefile func() string) {
	again := time.NewTicker(upstreamsInterval)
	defer again.Stop()
	var last []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		found, err := s.findUpstreams()
		s.noteUpstreams(err)
		// Twice the same: a file is empty for a moment while it is written.
		settled := slices.Equal(found, last)
		last = found
		if !settled || slices.Equal(found, s.upstreams) {
			continue
		}
		before := s.upstreams
		s.upstreams = found
		if err := server.Reload(corefile()); err != nil {
			s.upstreams = before
			s.unchanged.Note("the system has other DNS servers, and the DNS server can't go over to them: trying again", err, "file", resolvConf, "servers", found)
			continue
		}
		s.unchanged.Over("the DNS server has gone over to the system's DNS servers")
		s.log.Info("the system's DNS servers have changed: other names are forwarded to them", "file", resolvConf, "servers", found, "before", before)
	}
}

// noteUpstreams says if there is nobody to forward to.
func (s *standalone) noteUpstreams(err error) {
	if err != nil {
		s.alone.Note("no DNS servers to forward to: other names are refused until there are", err, "file", resolvConf)
		return
	}
	s.alone.Over("there are DNS servers to forward to")
}

func (s *standalone) listensAt(server netip.AddrPort) bool {
	return slices.ContainsFunc(s.dns, func(address string) bool {
		listen, err := netip.ParseAddrPort(address)
		return err == nil && listen.Port() == server.Port() &&
			(listen.Addr() == server.Addr() || listen.Addr().IsUnspecified() && isOwn(server.Addr()))
	})
}

func isOwn(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == ip
	})
}

// splitListen splits an address that has been checked.
func splitListen(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, ""
	}
	return host, port
}
