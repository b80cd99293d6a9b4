package test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/miekg/dns"
)

// Without Docker there is nothing to watch, and a DNS server all the same.
func TestDockerOff(t *testing.T) {
	t.Parallel()
	r := startRack(t, nil, "--docker", "off")
	m, err := ask(r.dns, "udp", r.service("web", "shop"), dns.TypeA)
	if err != nil || m.Rcode != dns.RcodeNameError || !m.Authoritative {
		t.Errorf("unknown name: %v %v, want an authoritative NXDOMAIN", m, err)
	}
	if n := linesWith(r.out.String(), `(?i)\bdocker\b[^']`); n != 1 {
		t.Errorf("%d lines about Docker, want one:\n%s", n, r.out)
	}
}

// An engine that isn't there is reported once; when it comes, it is used; when
// it goes, DNS says what it knew last, but for containers that die.
func TestDockerComesAndGoes(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	socket := filepath.Join(t.TempDir(), "docker.sock")
	r := startRack(t, b, "--docker", "unix://"+socket)
	name := r.service("web", app)
	said := func() error {
		if n := linesWith(r.out.String(), regexp.QuoteMeta(socket)); n != 1 {
			return fmt.Errorf("%d lines about %s, want one", n, socket)
		}
		return nil
	}
	eventually(t, "a line about the missing engine", said)
	throughout(t, 5*time.Second, "not a word more, and DNS works", func() error {
		m, err := ask(r.dns, "udp", name, dns.TypeA)
		if err != nil || m.Rcode != dns.RcodeNameError {
			return fmt.Errorf("unknown name: %w %v", err, m)
		}
		return said()
	})

	instances := web(t, 2, app, b)
	want := atHost(name, instances...)
	engine := relayEngine(t, socket)
	eventually(t, "two instances, the engine being there", func() error { return servedBy(r.dns, name, want) })

	engine.close()
	throughout(t, 2*time.Second, "the last known answers", func() error { return servedBy(r.dns, name, want) })
	instances[0].kill()
	want = atHost(name, instances[1])
	eventually(t, "one instance, the other's process being dead", func() error { return servedBy(r.dns, name, want) })
	throughout(t, time.Second, "the one that is alive", func() error { return servedBy(r.dns, name, want) })

	relayEngine(t, socket)
	next := web(t, 1, app, b)
	want = atHost(name, instances[1], next[0])
	eventually(t, "a new instance, the engine being back", func() error { return servedBy(r.dns, name, want) })
}

// linesWith counts the lines that a pattern matches.
func linesWith(text, pattern string) int {
	re, n := regexp.MustCompile(pattern), 0
	for line := range strings.Lines(text) {
		if re.MatchString(line) {
			n++
		}
	}
	return n
}

// relay passes a socket on to the Docker Engine's own, until it is closed: an
// engine that comes and goes without troubling those who share the real one.
type relay struct {
	ln   net.Listener
	mu   sync.Mutex
	open map[net.Conn]bool // nil once closed
	done sync.WaitGroup
}

func relayEngine(t *testing.T, socket string) *relay {
	t.Helper()
	host, err := client.ParseHostURL(engine(t).DaemonHost())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, open: map[net.Conn]bool{}}
	r.done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed
			}
			r.done.Go(func() { r.pass(c, host.Scheme, host.Host+host.Path) })
		}
	})
	t.Cleanup(r.close)
	return r
}

// pass copies both ways until either end closes.
func (r *relay) pass(c net.Conn, network, address string) {
	defer c.Close()
	up, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer up.Close()
	if !r.keep(c, up) {
		return
	}
	copied := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // ends with the connection
			copied <- struct{}{}
		}()
	}
	<-copied
	c.Close()
	up.Close()
	<-copied
}

// keep remembers connections that close must cut.
func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		return false
	}
	for _, c := range conns {
		r.open[c] = true
	}
	return true
}

func (r *relay) close() {
	r.ln.Close()
	r.mu.Lock()
	for c := range r.open {
		c.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.done.Wait()
}
