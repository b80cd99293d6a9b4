package test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/miekg/dns"
)

// The names of an app whose last container ended, or was removed, are the rack's
// all the same: in its zone and as short names they have no answer, by our word.
func TestWhatWasKnownStaysOurs(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("orders")
	r := startRack(t, b)
	c := start(t, spec{app: app, service: "web", network: b, labels: map[string]string{"rackdns.namespace": app + "-ns"}})
	names := []string{r.service("web", app), r.service("web", app+"-ns"), "web." + app + ".", "web." + app + "-ns."}
	eventually(t, "the container's name", func() error {
		m, err := found(r.dns, r.service("web", app), dns.TypeA)
		if err == nil && len(m.Answer) == 0 {
			err = errors.New("no address")
		}
		return err
	})
	ours := func() error {
		for _, name := range names {
			m, err := found(r.dns, name, dns.TypeA)
			if err != nil {
				return err
			}
			if len(m.Answer) != 0 {
				return fmt.Errorf("%s has %v", name, m.Answer)
			}
			soa, ok := m.Ns[0].(*dns.SOA)
			if !ok || !m.Authoritative || soa.Hdr.Ttl > 5 || soa.Minttl > 5 {
				t.Fatalf("%s is denied by %s, authoritative %t", name, m.Ns[0], m.Authoritative)
			}
		}
		return nil
	}
	stays := func(when string) {
		t.Helper()
		eventually(t, "the end of the answers "+when, func() error {
			// What isn't ours goes upstream, or is unknown: no state on the way may be
			// that.
			err := ours()
			if err != nil {
				for _, name := range names {
					if m, askErr := ask(r.dns, "udp", name, dns.TypeA); askErr == nil && m.Rcode != dns.RcodeSuccess {
						t.Fatalf("%s: %s is %s", when, name, dns.RcodeToString[m.Rcode])
					}
				}
			}
			return err
		})
	}
	c.kill()
	stays("after its end")
	r.stop(syscall.SIGTERM)
	r.start()
	stays("after a restart, of a container that is stopped")
	c.remove()
	eventually(t, "the container's removal", func() error {
		if _, err := c.cli.ContainerInspect(engineContext(t), c.id); err == nil {
			return errors.New("it is there")
		}
		return nil
	})
	stays("after its removal")
	c = start(t, spec{app: app, service: "web", network: b})
	eventually(t, "the name of another one", func() error {
		m, err := found(r.dns, r.service("web", app), dns.TypeA)
		if err == nil && len(m.Answer) == 0 {
			err = errors.New("no address")
		}
		return err
	})
	if err := c.cli.ContainerRemove(engineContext(t), c.id, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	stays("after the removal of one that ran")
}
