package test

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// fewFiles is as many file descriptors as a server of this test gets, flooders
// how many connections others would like to have with it. etcd refuses to start
// with less than 150.
const (
	fewFiles = 160
	flooders = 2000
)

// flood holds connections to a server open, and opens each again that is closed,
// until the returned function is called. They are those of another client than
// the test: of whoever has most the next one closes another.
func flood(t *testing.T, server string) (stop func()) {
	t.Helper()
	from := net.Dialer{Timeout: soon, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}, Control: shared}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	var up sync.WaitGroup
	for range flooders {
		up.Add(1)
		wg.Go(func() {
			first := sync.OnceFunc(up.Done)
			defer first()
			for {
				c, err := from.DialContext(t.Context(), "tcp", server)
				first()
				if err == nil {
					closed := make(chan struct{})
					go func() {
						defer close(closed)
						// It says nothing, and nobody answers.
						_, _ = c.Read(make([]byte, 1))
					}()
					select {
					case <-closed:
					case <-ended:
					}
					_ = c.Close()
					<-closed
				}
				pause := time.NewTimer(time.Second)
				select {
				case <-pause.C:
				case <-ended:
					pause.Stop()
					return
				}
			}
		})
	}
	up.Wait()
	return sync.OnceFunc(func() {
		close(ended)
		wg.Wait()
	})
}

// shared lets others listen at the port that a client's socket takes: in a minute
// a flood has had each port out of which the engine chooses those it publishes,
// and the containers of the tests beside it would not start.
func shared(_, _ string, conn syscall.RawConn) error {
	var err error
	if e := conn.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); e != nil {
		return e
	}
	return err
}

// A flood of connections to the DNS server, or to HTTP, takes nothing from the
// agent and the registry: what starts is in DNS, what is killed is out.
func TestFloodOfConnections(t *testing.T) {
	t.Parallel()
	needTool(t, "prlimit")
	needFiles(t, 3*flooders)
	for _, what := range []string{"DNS", "HTTP"} {
		t.Run(what, func(t *testing.T) {
			b, app, at := newBridge(t), unique("shop"), etcdtest.FreeAddr(t)
			r := newRack(t, b, "--http", at)
			cmd := command(t, r.args...)
			prlimit, err := exec.LookPath("prlimit")
			if err != nil {
				t.Fatal(err)
			}
			cmd.Args = append([]string{"prlimit", fmt.Sprintf("--nofile=%d", fewFiles), cmd.Path}, cmd.Args[1:]...)
			cmd.Path = prlimit
			r.process = launchCommand(t, cmd)
			ready(t, r.process, r.dns, r.zone)
			name := r.service("web", app)
			before := web(t, 1, app, b)
			eventually(t, "an instance before the flood", func() error { return servedBy(r.dns, name, atHost(name, before...)) })

			server := r.dns
			if what == "HTTP" {
				server = at
			}
			stop := flood(t, server)
			defer stop()
			second := web(t, 1, app, b)
			both := append(append([]*instance{}, before...), second...)
			eventually(t, "an instance that starts meanwhile", func() error { return servedBy(r.dns, name, atHost(name, both...)) })
			before[0].kill()
			eventually(t, "an instance that is killed is gone", func() error { return servedBy(r.dns, name, atHost(name, second...)) })
			if n := openFiles(t, r.process); n > fewFiles*7/8 {
				t.Errorf("%d of %d descriptors are taken", n, fewFiles)
			}
			if v, err := metric(at, `rackdns_listener_evicted_connections_total{listener="`+strings.ToLower(what)+`"}`); err != nil || v == 0 {
				t.Errorf("%v connections had to give way, %v", v, err)
			}
			if err := ok(at, "/healthz"); err != nil {
				t.Error(err)
			}
			stop()
			eventually(t, "DNS over TCP", func() error { return answered(ask(r.dns, "tcp", name, dns.TypeSRV)) })
			eventually(t, "the flood's connections are closed", func() error {
				if v, err := metric(at, `rackdns_listener_connections{listener="dns"}`); err != nil || v > 1 {
					return fmt.Errorf("%v, %w", v, err)
				}
				return nil
			})
			if n := strings.Count(r.out.String(), "too many connections"); n != 1 {
				t.Errorf("%d lines of it, want 1", n)
			}
			if strings.Contains(r.out.String(), "too many open files") {
				t.Error("the process ran out of descriptors")
			}
		})
	}
}
