// Package dnsserve runs CoreDNS inside a process that has other things to do
// with its file descriptors: CoreDNS takes as many connections as come, and has
// no place where a limit could be set. So the listeners are ours here.
package dnsserve

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/transport"

	"github.com/rackdns/rackdns/internal/connlimit"
)

// Directive stands, without arguments, in each server block of a Corefile for
// Start. In all others it is unknown.
const Directive = "listen"

func init() { plugin.Register(Directive, setup) }

// Server is a running CoreDNS.
type Server struct {
	instance *caddy.Instance
	blocks   []*block
	serving  sync.WaitGroup
	limiter  *connlimit.Limiter
	log      *slog.Logger
}

var (
	// starting keeps two servers from starting at once, which CoreDNS can't do.
	starting sync.Mutex
	// current is the server that starts.
	current *Server
)

// Start starts a server, whose blocks have one zone and the Directive each, and
// returns when it listens. Connections are bounded by the limiter.
func Start(corefile string, directives []string, limiter *connlimit.Limiter, log *slog.Logger) (*Server, error) {
	starting.Lock()
	defer starting.Unlock()
	// Last, so that it starts to listen when all others are ready.
	if err := dnsserver.SetDirectives(append(slices.Clone(directives), Directive)); err != nil {
		return nil, err
	}
	s := &Server{limiter: limiter, log: log}
	current = s
	defer func() { current = nil }()
	var err error
	s.instance, err = caddy.Start(caddy.CaddyfileInput{
		Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns",
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// Stop ends the server.
func (s *Server) Stop() error {
	// They alone would leave its listeners open, and Instance.Stop alone its
	// plugins running.
	errs := s.instance.ShutdownCallbacks()
	return errors.Join(append(errs, s.close(), s.instance.Stop())...)
}

// close ends what listens, which may be nothing yet.
func (s *Server) close() error {
	var errs []error
	for _, b := range s.blocks {
		for _, e := range b.endpoints {
			errs = append(errs, e.stop())
		}
	}
	s.serving.Wait()
	return errors.Join(errs...)
}

// block is a server block.
type block struct {
	server    *Server
	config    *dnsserver.Config
	hosts     []string
	endpoints []*endpoint
}

func setup(c *caddy.Controller) error {
	for c.Next() {
		if c.NextArg() {
			return plugin.Error(Directive, c.ArgErr())
		}
	}
	if current == nil || len(c.ServerBlockKeys) != 1 {
		return plugin.Error(Directive, c.Errf("is not for %q", c.ServerBlockKeys))
	}
	b := &block{server: current, config: dnsserver.GetConfig(c)}
	// Without an address CoreDNS makes no server of a block. It runs all that is
	// set up all the same.
	b.hosts, b.config.ListenHosts = b.config.ListenHosts, nil
	current.blocks = append(current.blocks, b)
	// Before OnStartup, in which plugins look for each other and for addresses.
	c.OnFirstStartup(b.build)
	c.OnStartup(b.listen)
	return nil
}

// build makes the servers that CoreDNS doesn't.
func (b *block) build() error {
	b.config.ListenHosts = b.hosts
	for _, host := range b.hosts {
		addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, b.config.Port))
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		dns, err := dnsserver.NewServer(transport.DNS+"://"+addr.String(), []*dnsserver.Config{b.config})
		if err != nil {
			return err
		}
		b.endpoints = append(b.endpoints, &endpoint{dns: dns})
	}
	return nil
}

// listen opens the servers' sockets and serves them.
func (b *block) listen() error {
	for _, e := range b.endpoints {
		if err := e.listen(); err != nil {
			return err
		}
	}
	for _, e := range b.endpoints {
		e.serving = true
		e.tcp = b.server.limiter.Listener(e.tcp)
		b.server.serve("TCP", func() error { return e.dns.Serve(e.tcp) })
		b.server.serve("UDP", func() error { return e.dns.ServePacket(e.udp) })
	}
	return nil
}

func (s *Server) serve(network string, serve func() error) {
	s.serving.Go(func() {
		if err := ignoreClosed(serve()); err != nil {
			s.log.Error("DNS is not served any more", "network", network, "error", err)
		}
	})
}

// endpoint is an address at which DNS is served.
type endpoint struct {
	dns     *dnsserver.Server
	tcp     net.Listener
	udp     net.PacketConn
	serving bool
}

func (e *endpoint) listen() (err error) {
	if e.tcp, err = e.dns.Listen(); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if e.udp, err = e.dns.ListenPacket(); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

func (e *endpoint) stop() error {
	var errs []error
	if e.serving {
		errs = append(errs, e.dns.Stop())
	}
	// A server that was about to start takes no notice of Stop, but of this.
	if e.tcp != nil {
		errs = append(errs, ignoreClosed(e.tcp.Close()))
	}
	if e.udp != nil {
		errs = append(errs, ignoreClosed(e.udp.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
