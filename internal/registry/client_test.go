package registry_test

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// inWords checks that the registry's first answer is an error that an operator
// can act on, in time.
func inWords(t *testing.T, cfg registry.Config, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := open(t, cfg).Check(ctx)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("error %v, out of time: %v; want one within 5 s", err, ctx.Err())
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "deadline exceeded") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is no answer", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	nobody := "http://" + etcdtest.FreeAddr(t)
	inWords(t, registry.Config{Endpoints: []string{nobody}}, nobody, "connection refused")
	inWords(t, registry.Config{Endpoints: []string{"http://no.such.host.invalid:2379"}}, "no.such.host.invalid", "can't be resolved")

	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	inWords(t, registry.Config{Endpoints: []string{"http://" + l.Addr().String()}}, l.Addr().String(), "no answer")

	etcd := etcdtest.Start(t, 1, nil)
	wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
	wire.Swallow()
	inWords(t, registry.Config{Endpoints: []string{wire.URL(), nobody}}, wire.URL()+": connected, but no answer", nobody+": connection refused")
}

// Two of three members are down: the one that is left can't decide anything.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 3, nil)
	etcd.Members[1].Kill()
	etcd.Members[2].Kill()
	inWords(t, registry.Config{Endpoints: []string{etcd.Members[0].Endpoint}}, etcd.Members[0].Endpoint, "quorum")
}

func TestOutOfSpace(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, func(c *embed.Config) { c.QuotaBackendBytes = 1 << 20 })
	client := etcd.Client()
	fill(t, client)
	logged := &lines{}
	c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
	p := registry.NewPublisher(c, registry.PublisherConfig{Node: registry.Node{Node: "node-1", Engine: "E1"}, Logger: logged.logger()})
	p.Replace(instances("a"), nil)
	publish(t, p)
	etcdtest.Eventually(t, "a clear log", func() error {
		if s := logged.String(); !strings.Contains(s, "NOSPACE") || !strings.Contains(s, "defragment") {
			return errors.New(s)
		}
		return nil
	})
	// Reading still works, and once there is space so does writing.
	if err := c.Check(context.Background()); err != nil {
		t.Errorf("reading: %v", err)
	}
	freeSpace(t, client)
	holds(t, etcd, "a")
	if n := strings.Count(logged.String(), "can't write"); n != 1 {
		t.Errorf("%d lines about one state:\n%s", n, logged)
	}
}

// fill writes to /junk until etcd takes no more.
func fill(t *testing.T, client *clientv3.Client) {
	t.Helper()
	junk := strings.Repeat("x", 1<<18)
	for n := 0; ; n++ {
		if _, err := client.Put(context.Background(), "/junk", junk); err != nil {
			break
		}
		if n > 100 {
			t.Fatal("etcd takes more than its quota")
		}
	}
}

// freeSpace frees what fill took.
func freeSpace(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := context.Background()
	r, err := client.Get(ctx, "/junk", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	for _, e := range client.Endpoints() {
		if _, err := client.Defragment(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	cert, key := ca.Issue()
	strangerCert, strangerKey := other.Issue()
	start := func(mutual bool) string {
		return etcdtest.Start(t, 1, func(c *embed.Config) {
			c.ListenClientUrls[0].Scheme, c.AdvertiseClientUrls[0].Scheme = "https", "https"
			c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = cert, key
			if mutual {
				c.ClientTLSInfo.TrustedCAFile, c.ClientTLSInfo.ClientCertAuth = ca.CAFile, true
			}
		}).Members[0].Endpoint
	}
	plain := etcdtest.Start(t, 1, nil).Members[0].Endpoint
	server, mutual := start(false), start(true)
	ctx := context.Background()

	for name, cfg := range map[string]registry.Config{
		"server only": {Endpoints: []string{server}, CAFile: ca.CAFile},
		"mutual":      {Endpoints: []string{mutual}, CAFile: ca.CAFile, CertFile: cert, KeyFile: key},
		"bare host":   {Endpoints: []string{strings.TrimPrefix(server, "https://")}, CAFile: ca.CAFile},
	} {
		if err := open(t, cfg).Check(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, tc := range []struct {
		name string
		cfg  registry.Config
		want string
	}{
		{"unknown authority", registry.Config{Endpoints: []string{server}, CAFile: other.CAFile}, "unknown authority"},
		{"the system's roots", registry.Config{Endpoints: []string{server}}, "certificate is not accepted"},
		{"no certificate of ours", registry.Config{Endpoints: []string{mutual}, CAFile: ca.CAFile}, "certificate required"},
		{
			"a stranger's certificate",
			registry.Config{Endpoints: []string{mutual}, CAFile: ca.CAFile, CertFile: strangerCert, KeyFile: strangerKey}, "client certificate",
		},
		{"no TLS here", registry.Config{Endpoints: []string{strings.Replace(server, "https", "http", 1)}}, "TLS"},
		{"no TLS there", registry.Config{Endpoints: []string{strings.Replace(plain, "http", "https", 1)}, CAFile: ca.CAFile}, "speak TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			inWords(t, tc.cfg, tc.want)
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	empty := writeFile(t, "empty", "")
	for _, tc := range []struct {
		name string
		cfg  registry.Config
		want string
	}{
		{"no host", registry.Config{Endpoints: []string{"nonsense"}}, `"nonsense"`},
		{"scheme", registry.Config{Endpoints: []string{"ftp://a:1"}}, `"ftp"`},
		{"mixed", registry.Config{Endpoints: []string{"http://a:1", "https://b:1"}}, "https://b:1"},
		{"path", registry.Config{Endpoints: []string{"http://a:1/x"}}, "http://a:1/x"},
		{"query", registry.Config{Endpoints: []string{"http://a:1?x"}}, "http://a:1?x"},
		{"user", registry.Config{Endpoints: []string{"http://u:s3cret@a:1"}}, "…@a:1"},
		{"user without a scheme", registry.Config{Endpoints: []string{"u:s3cret@a:1"}}, "…@a:1"},
		{"user in what is no URL", registry.Config{Endpoints: []string{"http://u:s3cret%@a:1"}}, "…@a:1"},
		{"prefix", registry.Config{Prefix: "rackdns"}, `"rackdns"`},
		{"rack", registry.Config{Rack: "a/b"}, `"a/b"`},
		{"CA is missing", registry.Config{CAFile: "/no/such/ca"}, "/no/such/ca"},
		{"CA is empty", registry.Config{CAFile: empty}, empty},
		{"certificate without key", registry.Config{CAFile: etcdtest.NewAuthority(t).CAFile, CertFile: "c"}, "together"},
		{"user without password", registry.Config{Username: "u"}, `"u"`},
		{"password without user", registry.Config{PasswordFile: empty}, empty},
		{"password is missing", registry.Config{Username: "u", PasswordFile: "/no/such/file"}, "/no/such/file"},
		{"password is empty", registry.Config{Username: "u", PasswordFile: empty}, empty},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.cfg.Rack == "" {
				tc.cfg.Rack = "acme"
			}
			_, err := registry.Open(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v, want one that names %s", err, tc.want)
			}
			var field *registry.ConfigError
			if !errors.As(err, &field) {
				t.Errorf("error %v doesn't say which field is wrong", err)
			} else if reflect.ValueOf(tc.cfg).FieldByName(field.Field).IsZero() {
				t.Errorf("error %v blames the field %s, which is not set", err, field.Field)
			}
		})
	}
}

// users are etcd's, after enableAuth.
type users struct {
	root *clientv3.Client
	// config is the reader's.
	config registry.Config
	agent  registry.Config
	nobody registry.Config
}

// enableAuth sets up the roles as the command does, users for them, and turns
// authentication on.
func enableAuth(t *testing.T, etcd cluster) users {
	t.Helper()
	return enableAuthIn(t, etcd, "acme")
}

// enableAuthIn does it for a rack.
func enableAuthIn(t *testing.T, etcd cluster, rack string) users {
	t.Helper()
	ctx := context.Background()
	c := open(t, registry.Config{Endpoints: etcd.Endpoints(), Rack: rack})
	roles, err := c.Layout().Roles([]string{"node-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles {
		// Twice: it must be fit to be repeated.
		for range 2 {
			if err := c.SetUpRole(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	client := etcd.Client()
	for user, role := range map[string]string{
		"root": "root", "reader": "rackdns-" + rack + "-reader", "agent": "rackdns-" + rack + "-agent-node-1", "admin": "rackdns-" + rack + "-admin", "nobody": "",
	} {
		if _, err := client.UserAdd(ctx, user, "p-"+user); err != nil {
			t.Fatal(err)
		}
		if role == "" {
			continue
		}
		if _, err := client.UserGrantRole(ctx, user, role); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	login := func(user string) registry.Config {
		return registry.Config{Endpoints: etcd.Endpoints(), Rack: rack, Username: user, PasswordFile: writeFile(t, "password", "p-"+user+"\n")}
	}
	return users{root: as(t, etcd, "root"), config: login("reader"), agent: login("agent"), nobody: login("nobody")}
}

// as returns a client of a user of enableAuth's.
func as(t *testing.T, etcd cluster, user string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: etcd.Endpoints(), Username: user, Password: "p-" + user, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRoles(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	u := enableAuth(t, etcd)
	ctx := context.Background()
	layout := open(t, registry.Config{}).Layout()
	other, err := registry.NewLayout(registry.DefaultPrefix, "other")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		user, key   string
		read, write bool
	}{
		{"reader", layout.Instance("node-1", "a"), true, false},
		{"reader", layout.Service("shop", "web"), true, false},
		{"reader", layout.Secret("shop", "db"), false, false},
		{"reader", other.Instance("node-1", "a"), false, false},
		{"agent", layout.Node("node-1"), true, true},
		{"agent", layout.Instance("node-1", "a"), true, true},
		{"agent", layout.Node("node-10"), true, false},
		{"agent", layout.Instance("node-2", "a"), true, false},
		{"agent", layout.Service("shop", "web"), true, false},
		{"agent", layout.Secret("", "db"), false, false},
		{"admin", layout.Instance(registry.NodeAPI, "a"), true, true},
		{"admin", layout.Resource("", "db"), true, true},
		{"admin", layout.Secret("", "db"), true, true},
		{"admin", other.Secret("", "db"), false, false},
		{"nobody", layout.Instance("node-1", "a"), false, false},
	} {
		c := as(t, etcd, tc.user)
		if _, err := c.Get(ctx, tc.key); (err == nil) != tc.read {
			t.Errorf("%s reads %s: %v, want allowed: %t", tc.user, tc.key, err, tc.read)
		}
		if _, err := c.Put(ctx, tc.key, "x"); (err == nil) != tc.write {
			t.Errorf("%s writes %s: %v, want allowed: %t", tc.user, tc.key, err, tc.write)
		}
	}
	if _, err := u.root.Delete(ctx, "/rackdns/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}

	wrong := u.config
	wrong.PasswordFile = writeFile(t, "wrong", "wrong")
	inWords(t, wrong, `user "reader"`, "password is wrong")
	inWords(t, registry.Config{Endpoints: etcd.Endpoints()}, "wants a user and a password")
	inWords(t, u.nobody, `user "nobody" has no role`)

	// With its role an agent can do its work, and a DNS server its own.
	p := follow(t, open(t, u.config))
	pub := newPublisher(open(t, u.agent), 2*time.Second)
	publish(t, pub)
	pub.Replace(instances("a"), nil)
	pub.Set(instance("b"))
	pub.Remove("a")
	etcdtest.Eventually(t, "the agent's instance", func() error {
		if values, _, _, _ := p.state(); values[prefix+"b"] == "" || values[prefix+"a"] != "" {
			return errors.New("not as it should be")
		}
		return nil
	})
}
