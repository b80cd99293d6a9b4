package test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// After a restart over the same data directory the answers are the same, and
// what happened to containers meanwhile is seen, however the process ended.
func TestRestart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(*rack)
	}{
		{"after SIGTERM", func(r *rack) { r.stop(syscall.SIGTERM) }},
		{"after SIGKILL", func(r *rack) { r.crash() }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b, app := newBridge(t), unique("shop")
			r := startRack(t, b)
			name := r.service("web", app)
			instances := web(t, 3, app, b)
			same := func() error { return servedBy(r.dns, name, atHost(name, instances...)) }
			eventually(t, "three instances", same)

			tc.end(r)
			r.start()
			eventually(t, "the same after a restart", same)
			throughout(t, 2*time.Second, "the same ever after", same)

			// One dies and one is born while nobody is looking.
			tc.end(r)
			instances[0].kill()
			instances = append(instances[1:], web(t, 1, app, b)...)
			r.start()
			eventually(t, "what changed meanwhile", same)
			// An old lease that runs out must not take the living with it.
			throughout(t, 20*time.Second, "no change any more", same)
			if m, err := ask(r.dns, "udp", r.service("nope", app), dns.TypeA); err != nil || m.Rcode != dns.RcodeNameError {
				t.Errorf("unknown service: %v %v, want NXDOMAIN", m, err)
			}
		})
	}
}

// Either signal ends the whole of it, and promptly: exit code 0, and every
// port free for the next.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			r := startRack(t, nil, "--docker", "off")
			begin := time.Now()
			r.stop(sig)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %v to stop", took)
			}
			if n := linesWith(r.out.String(), `(?i)error|panic`); n > 0 {
				t.Errorf("%d lines tell of errors, though nothing went wrong", n)
			}
			if etcdtest.Listenable(r.dns) != nil {
				t.Errorf("%s is still in use", r.dns)
			}
			if _, err := os.Lstat(r.socket()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v, want it gone", r.socket(), err)
			}
			if _, err := net.DialTimeout("tcp", r.dns, time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("connecting to %s: %v, want a refusal", r.dns, err)
			}
		})
	}
}

// A terminal's Ctrl-C while it is still starting must end it as well.
func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	r := newRack(t, nil, "--docker", "off")
	r.process = launch(t, r.args...)
	eventually(t, "the registry listens", func() error {
		c, err := net.Dial("unix", r.socket())
		if err == nil {
			c.Close()
		}
		return err
	})
	r.stop(syscall.SIGINT)
}
