package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// troubled is a node with an agent and a DNS server elsewhere, asked all the
// time, whose registry gets into trouble.
type troubled struct {
	t         *testing.T
	bridge    *bridge
	app, name string
	replica   *replica
	agent     *process
	agentArgs []string
	instances []*instance
	load      *load
	srv       *question
}

// newTroubled starts all of it over an etcd that is there. flags are the agent's
// way in, properties those of the DNS server.
func newTroubled(t *testing.T, endpoints, flags []string, properties ...string) *troubled {
	t.Helper()
	tr := &troubled{t: t, bridge: newBridge(t), app: unique("shop")}
	rack := unique("r")
	tr.replica = startReplica(t, rack, endpoints, properties...)
	tr.name = "web." + tr.app + "." + tr.replica.zone
	tr.agentArgs = append([]string{"agent", "--rack", rack, "--node", "outpost", "--host-address", tr.bridge.gateway.String()}, flags...)
	for _, e := range endpoints {
		tr.agentArgs = append(tr.agentArgs, "--etcd", e)
	}
	tr.agent = launch(t, tr.agentArgs...)
	// A registry that comes back without them is disbelieved from ten on, and no
	// lease lasts as long as the troubles of a soak.
	count := 3
	if soaking() {
		count = 10
	}
	tr.instances = web(t, count, tr.app, tr.bridge)
	eventually(t, "the instances", func() error {
		return servedBy(tr.replica.server, tr.name, atHost(tr.name, tr.instances...))
	})
	tr.srv = asking(tr.name, dns.TypeSRV, tr.answer())
	tr.load = startLoad(t, tr.replica.server, 200, tr.srv,
		asking(tr.name, dns.TypeA, tr.bridge.gateway.String()),
		asking(tr.instances[0].id+"."+tr.name, dns.TypeA, tr.bridge.gateway.String()),
		asking("nope."+tr.replica.zone, dns.TypeA, nxdomain))
	return tr
}

func (tr *troubled) answer() string {
	return (&outpost{name: tr.name}).srv(tr.instances...)
}

// over has one more container started, of an app of its own, which is told once
// the trouble is over, and counts what was not right until then.
func (tr *troubled) over() faultCounts {
	tr.t.Helper()
	app := unique("more")
	name := "web." + app + "." + tr.replica.zone
	more := web(tr.t, 1, app, tr.bridge)
	within(tr.t, time.Minute, "one that is started afterwards", func() error {
		return servedBy(tr.replica.server, name, atHost(name, more...))
	})
	tr.load.settled(soon)
	var sum faultCounts
	asked := 0
	for _, q := range tr.load.questions {
		q.mu.Lock()
		sum.wrong += q.counts.wrong
		sum.failed += q.counts.failed
		sum.empty += q.counts.empty
		asked += q.asked
		q.mu.Unlock()
	}
	tr.t.Logf("%d questions: %d wrong, %d failed, %d empty", asked, sum.wrong, sum.failed, sum.empty)
	return sum
}

// withUsers gives an etcd a user who may do all, and whose password is in a file.
func withUsers(t *testing.T, client *clientv3.Client) (passwordFile string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	var err error
	for _, user := range []string{"root", "rackdns"} {
		_, e := client.UserAdd(ctx, user, "first")
		_, g := client.UserGrantRole(ctx, user, "root")
		err = errors.Join(err, e, g)
	}
	_, e := client.AuthEnable(ctx)
	passwordFile = filepath.Join(t.TempDir(), "password")
	if err := errors.Join(err, e, os.WriteFile(passwordFile, []byte("first\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return passwordFile
}

// certFiles are what a program finds its CA, its certificate and the key in,
// whatever is written there.
type certFiles struct {
	t             *testing.T
	ca, cert, key string
}

func newCertFiles(t *testing.T, a *etcdtest.Authority) *certFiles {
	t.Helper()
	dir := t.TempDir()
	f := &certFiles{t: t, ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	f.replace(a)
	return f
}

// replace replaces all three, one after the other, as an operator would: what
// is read in between doesn't fit together.
func (f *certFiles) replace(a *etcdtest.Authority) {
	f.t.Helper()
	cert, key := a.Issue()
	for _, of := range [][2]string{{cert, f.cert}, {key, f.key}, {a.CAFile, f.ca}} {
		content, err := os.ReadFile(of[0])
		if err == nil {
			err = os.WriteFile(of[1], content, 0o600)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// written returns what was written to an etcd from a revision on.
func written(t *testing.T, client *clientv3.Client, from int64) []*clientv3.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	// What the watch must come to is a write of our own.
	last, err := client.Put(ctx, "/last", "")
	if err != nil {
		t.Fatal(err)
	}
	var all []*clientv3.Event
	for r := range client.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Events {
			if e.Kv.ModRevision >= last.Header.Revision {
				return all
			}
			all = append(all, e)
		}
	}
	t.Fatal("the watch ended before the last write")
	return nil
}

// TestSoakRegistryTroubles has the registry lose what it had, its passwords, its
// certificates, its tokens and its space, and a node's name given away twice. Each is asked
// 200 questions a second meanwhile, and what is not as the table allows is a
// fault. With RACKDNS_SOAK each lasts for minutes.
func TestSoakRegistryTroubles(t *testing.T) {
	t.Parallel()
	lasts := 5 * time.Second
	if soaking() {
		lasts = time.Minute
	} else if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, tc := range []struct {
		name    string
		allowed faultCounts
		run     func(t *testing.T) *troubled
	}{
		{name: "an etcd that is wiped", run: func(t *testing.T) *troubled {
			t.Helper()
			etcd := etcdtest.Start(t, 1, nil)
			tr := newTroubled(t, etcd.Endpoints(), nil)
			etcd.Kill()
			if err := os.RemoveAll(etcd.Members[0].Dir); err != nil {
				t.Fatal(err)
			}
			throughout(t, lasts, "answers without etcd", tr.load.healthy)
			etcd.Start()
			eventually(t, "nothing is preserved any more", func() error {
				client := etcd.Client()
				r, err := client.Get(t.Context(), "/rackdns/v1/"+tr.replica.rack+"/instances/outpost/", clientv3.WithPrefix(), clientv3.WithCountOnly())
				if err == nil && r.Count < int64(len(tr.instances)) {
					err = fmt.Errorf("%d are registered", r.Count)
				}
				n, e := tr.replica.metric("rackdns_index_preserved_instances")
				if e == nil && n != 0 {
					e = fmt.Errorf("%v are preserved", n)
				}
				return errors.Join(err, e)
			})
			return tr
		}},
		{name: "a password that is changed", run: func(t *testing.T) *troubled {
			t.Helper()
			etcd := etcdtest.Start(t, 1, nil)
			client := etcd.Client()
			file := withUsers(t, client)
			tr := newTroubled(t, etcd.Endpoints(), []string{"--etcd-user", "rackdns", "--etcd-password-file", file}, "credentials rackdns "+file)
			root, err := clientv3.New(clientv3.Config{Endpoints: etcd.Endpoints(), Username: "root", Password: "first", Logger: zap.NewNop()})
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if _, err := root.UserChangePassword(t.Context(), "rackdns", "second"); err != nil {
				t.Fatal(err)
			}
			// Whoever is in stays in, until the connection breaks.
			etcd.Kill()
			etcd.Start()
			throughout(t, lasts, "answers with a password of before", tr.load.healthy)
			if err := os.WriteFile(file, []byte("second\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return tr
		}},
		{name: "certificates and their CA that are replaced", run: func(t *testing.T) *troubled {
			t.Helper()
			old, renewed := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
			files := newCertFiles(t, old)
			authority := old
			etcd := etcdtest.Start(t, 1, func(c *embed.Config) {
				for _, u := range [][]url.URL{c.ListenClientUrls, c.AdvertiseClientUrls} {
					u[0].Scheme = "https"
				}
				c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = authority.Issue()
				c.ClientTLSInfo.TrustedCAFile, c.ClientTLSInfo.ClientCertAuth = authority.CAFile, true
				// It would be a client of its own, without a certificate.
				c.EnableGRPCGateway = false
			})
			tr := newTroubled(t, etcd.Endpoints(),
				[]string{"--etcd-ca", files.ca, "--etcd-cert", files.cert, "--etcd-key", files.key},
				fmt.Sprintf("tls %s %s %s", files.cert, files.key, files.ca))
			etcd.Kill()
			authority = renewed
			etcd.Start()
			throughout(t, lasts, "answers with certificates of before", tr.load.healthy)
			files.replace(renewed)
			return tr
		}},
		{name: "tokens that end while nothing happens, etcd 3.4", run: func(t *testing.T) *troubled {
			t.Helper()
			etcd := etcdtest.StartProcesses(t, etcdtest.Debian, 1, "--auth-token", "simple", "--auth-token-ttl", "3")
			file := withUsers(t, etcd.Client())
			tr := newTroubled(t, etcd.Endpoints(), []string{"--etcd-user", "rackdns", "--etcd-password-file", file}, "credentials rackdns "+file)
			throughout(t, 2*lasts, "answers while tokens end", tr.load.healthy)
			return tr
		}},
		{name: "a disk that is full", run: func(t *testing.T) *troubled {
			t.Helper()
			etcd := etcdtest.Start(t, 1, func(c *embed.Config) { c.QuotaBackendBytes = 2 << 20 })
			tr := newTroubled(t, etcd.Endpoints(), nil)
			client, ballast := etcd.Client(), strings.Repeat("x", 500<<10)
			eventually(t, "a full disk", func() error {
				if _, err := client.Put(t.Context(), "/ballast", ballast); err == nil {
					return errors.New("there is still space")
				}
				return nil
			})
			throughout(t, lasts, "answers without space", tr.load.healthy)
			// What ends goes, also while nothing can be written.
			gone := tr.instances[1]
			tr.instances = append(tr.instances[:1:1], tr.instances[2:]...)
			tr.srv.then(tr.answer())
			gone.kill()
			tr.load.settled(soon)
			makeSpace(t, etcd)
			return tr
		}},
		{name: "two agents of one name", run: func(t *testing.T) *troubled {
			t.Helper()
			etcd := etcdtest.Start(t, 1, nil)
			tr := newTroubled(t, etcd.Endpoints(), []string{"--ttl", "3s"})
			before, err := etcd.Client().Get(t.Context(), "/")
			if err != nil {
				t.Fatal(err)
			}
			second := append([]string{}, tr.agentArgs...)
			for n := range second {
				if second[n] == "--host-address" {
					second[n+1] = "192.0.2.77"
				}
			}
			rival := launch(t, second...)
			select {
			case <-rival.exited:
			case <-time.After(soon):
				t.Error("a second agent of the name goes on")
			}
			says(t, rival, "outpost", "--node")
			// The first one goes on with what other tests start and end.
			ours := func(key []byte) bool {
				return strings.HasSuffix(string(key), "/nodes/outpost") ||
					slices.ContainsFunc(tr.instances, func(i *instance) bool { return strings.HasSuffix(string(key), "/"+i.id) })
			}
			for _, w := range written(t, etcd.Client(), before.Header.Revision+1) {
				if bytes.Contains(w.Kv.Value, []byte("192.0.2.77")) || w.Type == clientv3.EventTypeDelete && ours(w.Kv.Key) {
					t.Errorf("the second agent wrote %s: %s", w.Kv.Key, w.Kv.Value)
				}
			}
			throughout(t, lasts, "answers", tr.load.healthy)
			return tr
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tr := tc.run(t)
			if got := tr.over(); got != tc.allowed {
				t.Errorf("%+v, allowed are %+v", got, tc.allowed)
			}
			tr.load.end()
		})
	}
}
