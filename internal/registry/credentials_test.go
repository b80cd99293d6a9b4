package registry_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// metric returns the sum of a metric's series that have the labels, given as
// pairs of name and value.
func metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	all, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range all {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			match := true
			for n := 0; n < len(labels); n += 2 {
				match = match && has[labels[n]] == labels[n+1]
			}
			if match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func refusals(t *testing.T, rack, reason string) float64 {
	t.Helper()
	return metric(t, "rackdns_registry_refusals_total", "rack", rack, "reason", reason)
}

// pass lets time pass, and fails the test if something becomes wrong meanwhile.
func pass(t *testing.T, d time.Duration, wrong func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := wrong(); err != nil {
			t.Fatal(err)
		}
	}
}

// has waits until a follower sees an instance of node-1.
func (p *picture) has(t *testing.T, rack, id string) {
	t.Helper()
	etcdtest.Eventually(t, "instance "+id, func() error {
		if values, _, _, _ := p.state(); values["/rackdns/v1/"+rack+"/instances/node-1/"+id] == "" {
			return errors.New("the follower doesn't see it")
		}
		return nil
	})
}

// written waits until an instance of node-1 is registered.
func written(t *testing.T, client *clientv3.Client, rack, id string) {
	t.Helper()
	etcdtest.Eventually(t, "instance "+id, func() error {
		if key := "/rackdns/v1/" + rack + "/instances/node-1/" + id; keysOf(t, client, key)[key] == "" {
			return errors.New("isn't registered")
		}
		return nil
	})
}

// replace puts another file in the place of one, as a deployment does.
func replace(t *testing.T, file, text string) {
	t.Helper()
	next := file + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
}

// A password that is changed in etcd and, later, in its file is used without a
// restart. Until then nobody hammers at etcd, the log says what to mend, and
// what is registered stays.
func TestRegistryPasswordChanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		start func(t *testing.T) (etcd cluster, restart func())
	}{
		{"built-in", func(t *testing.T) (cluster, func()) {
			t.Helper()
			c := etcdtest.Start(t, 1, nil)
			return c, func() { c.Kill(); c.Start() }
		}},
		{"3.4", func(t *testing.T) (cluster, func()) {
			t.Helper()
			p := startProcess(t)
			return p, func() { p.kill(); p.start() }
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			etcd, restart := tc.start(t)
			rack := "password-" + strings.ReplaceAll(tc.name, ".", "")
			u := enableAuthIn(t, etcd, rack)
			var log lines
			pub := registry.NewPublisher(open(t, u.agent), registry.PublisherConfig{
				Node: registry.Node{Node: "node-1", Engine: "E1"}, TTL: time.Minute, Logger: log.logger(),
			})
			publish(t, pub)
			pub.Replace(instances("a"), nil)
			written(t, as(t, etcd, "root"), rack, "a")
			seen := follow(t, open(t, u.config))
			seen.has(t, rack, "a")
			lease, _ := meta(t, as(t, etcd, "root"), "/rackdns/v1/"+rack+"/instances/node-1/a")

			ctx := context.Background()
			root := as(t, etcd, "root")
			for _, user := range []string{"reader", "agent"} {
				if _, err := root.UserChangePassword(ctx, user, "another"); err != nil {
					t.Fatal(err)
				}
			}
			// Every stream is opened anew.
			restart()
			pub.Set(instance("b"))
			etcdtest.Eventually(t, "a line in the log", func() error {
				if s := log.String(); !strings.Contains(s, `user \"agent\"`) || !strings.Contains(s, u.agent.PasswordFile) {
					return fmt.Errorf("log: %s", s)
				}
				return nil
			})
			etcdtest.Eventually(t, "two refused users", func() error {
				if n := metric(t, "rackdns_registry_refused", "rack", rack, "reason", "password"); n != 2 {
					return fmt.Errorf("%v are", n)
				}
				return nil
			})
			before := refusals(t, rack, "password")
			pass(t, 4*time.Second, func() error {
				if values, _, _, _ := seen.state(); len(values) != 2 {
					return fmt.Errorf("the follower sees %d keys", len(values))
				}
				return nil
			})
			// Each of the two after 1, 2 and 4 s.
			if n := refusals(t, rack, "password") - before; n > 6 {
				t.Errorf("%v logins were refused in 4 s", n)
			}
			// One change in place, one by a rename.
			if err := os.WriteFile(u.config.PasswordFile, []byte("another\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			replace(t, u.agent.PasswordFile, "another\n")
			etcdtest.Eventually(t, "the new instance", func() error {
				if values, _, _, _ := seen.state(); values["/rackdns/v1/"+rack+"/instances/node-1/b"] == "" {
					return errors.New("isn't seen")
				}
				return nil
			})
			if l, _ := meta(t, as(t, etcd, "root"), "/rackdns/v1/"+rack+"/instances/node-1/a"); l != lease {
				t.Errorf("the lease was lost: %x, then %x", lease, l)
			}
			etcdtest.Eventually(t, "nobody refused", func() error {
				if n := metric(t, "rackdns_registry_refused", "rack", rack); n != 0 {
					return fmt.Errorf("%v are", n)
				}
				return nil
			})
			if n := strings.Count(log.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings about one state:\n%s", n, log.String())
			}
		})
	}
}

// A token that ran out while nothing was to be written costs one login, also
// where etcd refuses a login that comes with a token that ran out (3.4), and
// nothing else: the watch and the lease go on.
func TestIdleTokenExpires(t *testing.T) {
	t.Parallel()
	etcd := startProcess(t, "--auth-token-ttl", "2")
	const rack = "token-34"
	u := enableAuthIn(t, etcd, rack)
	var log lines
	pub := registry.NewPublisher(open(t, u.agent), registry.PublisherConfig{
		Node: registry.Node{Node: "node-1", Engine: "E1"}, TTL: time.Minute, Logger: log.logger(),
	})
	publish(t, pub)
	pub.Replace(instances("a"), nil)
	written(t, as(t, etcd, "root"), rack, "a")
	seen := follow(t, open(t, u.config))
	seen.has(t, rack, "a")
	key := "/rackdns/v1/" + rack + "/instances/node-1/a"
	lease, _ := meta(t, as(t, etcd, "root"), key)
	for _, id := range []string{"b", "c"} {
		pass(t, 5*time.Second, func() error { return nil })
		pub.Set(instance(id))
		seen.has(t, rack, id)
	}
	if n := refusals(t, rack, "token"); n < 2 || n > 8 {
		t.Errorf("%v tokens were refused, want one for each call after a pause", n)
	}
	if l, _ := meta(t, as(t, etcd, "root"), key); l != lease {
		t.Errorf("the lease was lost: %x, then %x", lease, l)
	}
	if s := log.String(); s != "" {
		t.Errorf("logged: %s", s)
	}
}

// An authority that is replaced on disk, by a link that is set anew as
// deployments do, is the one that counts from the next handshake on.
func TestRegistryAuthorityReplaced(t *testing.T) {
	t.Parallel()
	const rack = "authority"
	before, after := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	dir := t.TempDir()
	link := func(name, to string) string {
		file := filepath.Join(dir, name)
		if err := os.Symlink(to, file+".next"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".next", file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key := before.Issue()
	serverCA := before.CAFile
	etcd := etcdtest.Start(t, 1, func(c *embed.Config) {
		c.ListenClientUrls[0].Scheme, c.AdvertiseClientUrls[0].Scheme = "https", "https"
		c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = cert, key
		c.ClientTLSInfo.TrustedCAFile, c.ClientTLSInfo.ClientCertAuth = serverCA, true
	})
	ownCert, ownKey := before.Issue()
	cfg := registry.Config{
		Endpoints: []string{etcd.Members[0].Endpoint}, Rack: rack,
		CAFile: link("ca.pem", before.CAFile), CertFile: link("cert.pem", ownCert), KeyFile: link("key.pem", ownKey),
	}
	var log lines
	seen := follow(t, open(t, cfg))
	pub := registry.NewPublisher(open(t, cfg), registry.PublisherConfig{
		Node: registry.Node{Node: "node-1", Engine: "E1"}, TTL: time.Minute, Logger: log.logger(),
	})
	publish(t, pub)
	pub.Replace(instances("a"), nil)
	seen.has(t, rack, "a")

	etcd.Kill()
	cert, key = after.Issue()
	serverCA = after.CAFile
	// Ready is what its own clients see, and those have to trust it.
	etcd.Start()
	pub.Set(instance("b"))
	etcdtest.Eventually(t, "a line in the log", func() error {
		if s := log.String(); !strings.Contains(s, "certificate is not accepted") || !strings.Contains(s, cfg.CAFile) {
			return fmt.Errorf("log: %s", s)
		}
		return nil
	})
	started := refusals(t, rack, "certificate")
	pass(t, 4*time.Second, func() error { return nil })
	if n := refusals(t, rack, "certificate") - started; n > 6 {
		t.Errorf("%v handshakes were refused in 4 s", n)
	}
	// Now they trust etcd, which doesn't trust them yet.
	link("ca.pem", after.CAFile)
	etcdtest.Eventually(t, "a refusal of ours", func() error {
		err := open(t, cfg).Check(t.Context())
		var alert tls.AlertError
		if err == nil || errors.As(err, &alert) || !strings.Contains(err.Error(), "client certificate") {
			return fmt.Errorf("said: %w", err)
		}
		return nil
	})
	ownCert, ownKey = after.Issue()
	link("key.pem", ownKey)
	link("cert.pem", ownCert)
	seen.has(t, rack, "b")
	etcdtest.Eventually(t, "nobody refused", func() error {
		if n := metric(t, "rackdns_registry_refused", "rack", rack); n != 0 {
			return fmt.Errorf("%v are", n)
		}
		return nil
	})
}

// A login that etcd leaves without an answer holds up nobody for longer than
// they wish, and neither the client's end.
func TestSlowLoginHoldsUpNobody(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	u := enableAuthIn(t, etcd, "slow-login")
	wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
	wire.Swallow()
	cfg := u.config
	cfg.Endpoints = []string{wire.URL()}
	c := open(t, cfg)
	slow := make(chan error, 1)
	go func() { slow <- c.Check(context.Background()) }()
	// By then the first one waits for its login, or this one does.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := c.Lock(ctx, "up/shop", func() {}); err == nil {
		t.Error("a lock without etcd")
	}
	select {
	case err := <-slow:
		t.Errorf("who could wait for longer got %v", err)
	default:
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-slow; !errors.Is(err, registry.ErrClosed) {
		t.Errorf("a call that the client's end cut off: %v, want %v", err, registry.ErrClosed)
	}
}
