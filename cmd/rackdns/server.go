package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

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

// checkPortsFree finds out before anything has been started.
func checkPortsFree(addresses []string) error {
	for _, address := range addresses {
		udp, err := net.ListenPacket("udp", address)
		if err == nil {
			_ = udp.Close()
			var tcp net.Listener
			if tcp, err = net.Listen("tcp", address); err == nil {
				_ = tcp.Close()
				continue
			}
		}
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("DNS address %s is in use: choose another with --dns", address)
		case errors.Is(err, syscall.EACCES):
			return fmt.Errorf("DNS address %s: only root may listen there: choose a port over 1023 with --dns", address)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return fmt.Errorf("DNS address %s: this host has no such address: choose another with --dns", address)
		}
		return fmt.Errorf("DNS address %s (--dns): %w", address, err)
	}
	return nil
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
	s.upstreams = s.findUpstreams()
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
func (s *standalone) findUpstreams() []string {
	f, err := os.Open(resolvConf)
	if err != nil {
		s.log.Warn("no DNS servers to forward to: other names are refused", "error", err)
		return nil
	}
	defer func() { _ = f.Close() }()
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		ip, err := netip.ParseAddr(fields[1])
		if err == nil && !s.listensAt(netip.AddrPortFrom(ip, 53)) {
			found = append(found, ip.String())
		}
	}
	if len(found) == 0 {
		s.log.Warn("no DNS servers to forward to: other names are refused", "file", resolvConf)
	}
	return found
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
