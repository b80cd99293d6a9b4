// Package dnsserve runs CoreDNS inside a process that has other things to do
// with its file descriptors: CoreDNS takes as many connections as come, and has
// no place where a limit could be set. So the listeners are ours here.
package dnsserve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/transport"

	"github.com/rackdns/rackdns/internal/connlimit"
	"github.com/rackdns/rackdns/internal/lasting"
)

// Directive stands, without arguments, in each server block of a Corefile for
// Start. In all others it is unknown.
const Directive = "listen"

func init() { plugin.Register(Directive, setup) }

// Server is a running CoreDNS.
type Server struct {
	directives []string
	limiter    *connlimit.Limiter
	log        *slog.Logger

	mu  sync.Mutex
	now *generation
}

// generation is a server as one Corefile has it.
type generation struct {
	server   *Server
	instance *caddy.Instance
	blocks   []*block
	serving  sync.WaitGroup
	// before are the endpoints of the generation before this one, by address.
	before map[string]*endpoint
	// joining waits for addresses that are not there yet, until it is ended.
	joining    sync.WaitGroup
	endJoining context.CancelFunc
}

var (
	// starting keeps two servers from starting at once, which CoreDNS can't do.
	starting sync.Mutex
	// current is the generation that starts.
	current *generation
)

// Start starts a server, whose blocks have one zone and the Directive each, and
// returns when it listens. Connections are bounded by the limiter.
//
// An address at which it can't listen, such as one that this host doesn't have
// yet, keeps it from none of the others: it is tried again until it can be
// joined. The log tells.
func Start(corefile string, directives []string, limiter *connlimit.Limiter, log *slog.Logger) (*Server, error) {
	s := &Server{directives: append(slices.Clone(directives), Directive), limiter: limiter, log: log}
	g, err := s.start(corefile, nil)
	if err != nil {
		return nil, err
	}
	s.now = g
	return s, nil
}

// Reload goes on by another Corefile, with the sockets that there are, so that no
// question over UDP is lost. If that fails the server goes on as it was.
func (s *Server) Reload(corefile string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.now
	old.stopJoining()
	before := map[string]*endpoint{}
	for _, b := range old.blocks {
		for _, e := range b.endpoints {
			if e.serving {
				before[e.address] = e
			}
		}
	}
	// Plugins are told the same as by a reload of CoreDNS's own.
	if err := all(old.instance.OnRestart); err != nil {
		old.join()
		return errors.Join(err, all(old.instance.OnRestartFailed))
	}
	g, err := s.start(corefile, before)
	if err != nil {
		old.join()
		return errors.Join(err, all(old.instance.OnRestartFailed))
	}
	s.now = g
	return errors.Join(all(old.instance.OnShutdown), old.close(), old.instance.Stop())
}

func all(callbacks []func() error) error {
	var errs []error
	for _, f := range callbacks {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

func (s *Server) start(corefile string, before map[string]*endpoint) (*generation, error) {
	starting.Lock()
	defer starting.Unlock()
	// Last, so that it starts to listen when all others are ready.
	if err := dnsserver.SetDirectives(s.directives); err != nil {
		return nil, err
	}
	g := &generation{server: s, before: before, endJoining: func() {}}
	current = g
	defer func() { current = nil }()
	var err error
	g.instance, err = caddy.Start(caddy.CaddyfileInput{
		Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns",
	})
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	g.join()
	return g, nil
}

// Stop ends the server.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.stop()
}

func (g *generation) stop() error {
	// They alone would leave its listeners open, and Instance.Stop alone its
	// plugins running.
	errs := g.instance.ShutdownCallbacks()
	return errors.Join(append(errs, g.close(), g.instance.Stop())...)
}

// close ends what listens, which may be nothing yet.
func (g *generation) close() error {
	g.stopJoining()
	var errs []error
	for _, b := range g.blocks {
		for _, e := range b.endpoints {
			errs = append(errs, e.stop())
		}
	}
	g.serving.Wait()
	return errors.Join(errs...)
}

// block is a server block.
type block struct {
	server    *generation
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
		b.endpoints = append(b.endpoints, &endpoint{address: addr.String(), dns: dns, missing: lasting.New(b.server.server.log)})
	}
	return nil
}

// listen opens the servers' sockets and serves them.
func (b *block) listen() error {
	for _, e := range b.endpoints {
		b.server.serve(e)
	}
	return nil
}

// joinInterval is how often an address is tried that can't be listened at.
const joinInterval = time.Second

// join serves at further addresses as they come.
func (g *generation) join() {
	ctx, cancel := context.WithCancel(context.Background())
	g.endJoining = cancel
	g.joining.Go(func() {
		again := time.NewTicker(joinInterval)
		defer again.Stop()
		for {
			missing := false
			for _, b := range g.blocks {
				for _, e := range b.endpoints {
					if !e.serving && !g.serve(e) {
						missing = true
					}
				}
			}
			if !missing {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
		}
	})
}

func (g *generation) stopJoining() {
	g.endJoining()
	g.joining.Wait()
}

// serve serves at an address, if that can be done now.
func (g *generation) serve(e *endpoint) bool {
	if err := e.listen(g.before[e.address]); err != nil {
		e.missing.Note("can't answer DNS at one of the addresses: answering at the others, and trying again until this one is there", err, "address", e.address)
		return false
	}
	e.missing.Over("answering DNS at one more address", "address", e.address)
	e.serving = true
	tcp := g.server.limiter.Listener(e.tcp)
	g.goServe("TCP", func() error { return e.dns.Serve(tcp) })
	g.goServe("UDP", func() error { return e.dns.ServePacket(e.udp) })
	return true
}

func (g *generation) goServe(network string, serve func() error) {
	g.serving.Go(func() {
		if err := ignoreClosed(serve()); err != nil {
			g.server.log.Error("DNS is not served any more", "network", network, "error", err)
		}
	})
}

// Listenable reports why nobody can listen for DNS at an address, if that is so.
// The server itself shares addresses with those who let it, which nobody wants.
func Listenable(address string) error {
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Join(err, udp.Close())
	}
	return errors.Join(udp.Close(), tcp.Close())
}

// endpoint is an address at which DNS is served.
type endpoint struct {
	address string
	dns     *dnsserver.Server
	tcp     net.Listener
	udp     net.PacketConn
	serving bool
	missing *lasting.Trouble
}

// listen opens the endpoint's sockets, or takes over those of the one before
// it, as CoreDNS does: whoever asked that one meanwhile has an answer from this
// one.
func (e *endpoint) listen(before *endpoint) (err error) {
	if before != nil {
		return e.inherit(before)
	}
	if err := Listenable(e.address); err != nil {
		return err
	}
	tcp, err := e.dns.Listen()
	if err != nil {
		return err
	}
	udp, err := e.dns.ListenPacket()
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	e.tcp, e.udp = tcp, udp
	return nil
}

// filer is a socket that can be had once more.
type filer interface{ File() (*os.File, error) }

func (e *endpoint) inherit(before *endpoint) error {
	tcp, isFiler := before.tcp.(filer)
	udp, isToo := before.udp.(filer)
	if !isFiler || !isToo {
		return fmt.Errorf("%T and %T can't be handed on", before.tcp, before.udp)
	}
	t, err := tcp.File()
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	u, err := udp.File()
	if err != nil {
		return err
	}
	defer func() { _ = u.Close() }()
	listener, err := net.FileListener(t)
	if err != nil {
		return err
	}
	packets, err := net.FilePacketConn(u)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	e.tcp, e.udp = listener, packets
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
