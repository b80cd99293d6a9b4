// Package etcdtest runs real etcd clusters in the process of a test, and cuts
// the wires to them.
package etcdtest

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// patience is how long anything may take that is certain to happen.
const patience = 2 * time.Minute

// Cluster is an etcd cluster.
type Cluster struct {
	t       testing.TB
	Members []*Member
}

// Member is one of its members, which may be stopped and started again.
type Member struct {
	t      testing.TB
	config func() *embed.Config
	etcd   *embed.Etcd
	// servers are those of gRPC, for a rude end.
	mu      sync.Mutex
	servers []*grpc.Server
	// Dir is its data directory.
	Dir string
	// Endpoint is the URL for its clients, the same after a restart.
	Endpoint string
}

// Start starts a cluster of n members, which ends with the test. adapt, if not
// nil, changes the configuration of each.
func Start(t testing.TB, n int, adapt func(*embed.Config)) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var peers []string
	peerURLs := make([]url.URL, n)
	for i := range n {
		peerURLs[i] = url.URL{Scheme: "http", Host: FreeAddr(t)}
		peers = append(peers, fmt.Sprintf("m%d=%s", i, peerURLs[i].String()))
	}
	for i := range n {
		m := &Member{t: t, Dir: filepath.Join(t.TempDir(), fmt.Sprintf("m%d", i))}
		client := url.URL{Scheme: "http", Host: FreeAddr(t)}
		m.config = func() *embed.Config {
			cfg := embed.NewConfig()
			cfg.Name, cfg.Dir = fmt.Sprintf("m%d", i), m.Dir
			cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peerURLs[i:i+1], peerURLs[i:i+1]
			cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
			cfg.InitialCluster = strings.Join(peers, ",")
			cfg.TickMs, cfg.ElectionMs = 50, 500
			cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
			// The data need not survive the machine.
			cfg.UnsafeNoFsync = true
			// The users of tests have passwords that nobody has to guess.
			cfg.BcryptCost = 4
			cfg.ServiceRegister = m.addServer
			// Kill closes what a call that is still at work would read.
			cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.WaitForHandlers(true)}
			if adapt != nil {
				adapt(cfg)
			}
			return cfg
		}
		cfg := m.config()
		m.Endpoint = cfg.ListenClientUrls[0].String()
		c.Members = append(c.Members, m)
	}
	t.Cleanup(func() {
		for _, m := range c.Members {
			m.Kill()
		}
	})
	c.Start()
	return c
}

// Start starts those members that don't run, and waits until all serve.
func (c *Cluster) Start() {
	c.t.Helper()
	var started []*Member
	for _, m := range c.Members {
		if m.etcd == nil {
			m.launch()
			started = append(started, m)
		}
	}
	for _, m := range started {
		m.await()
	}
}

// Kill ends all members at once.
func (c *Cluster) Kill() {
	for _, m := range c.Members {
		m.Kill()
	}
}

// Endpoints returns the URLs of all members.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.Endpoint)
	}
	return all
}

// Leader returns the member that leads.
func (c *Cluster) Leader() *Member {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, m := range c.Members {
			if m.etcd != nil && m.etcd.Server.Leader() == m.etcd.Server.MemberID() {
				return m
			}
		}
	}
	c.t.Fatal("etcd elects no leader")
	return nil
}

// Client returns a client of the whole cluster, which ends with the test.
func (c *Cluster) Client() *clientv3.Client {
	c.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Start starts a member that was stopped, and waits until it serves.
func (m *Member) Start() {
	m.t.Helper()
	m.launch()
	m.await()
}

func (m *Member) launch() {
	m.t.Helper()
	cfg := m.config()
	// What an earlier start listened with may still be open in a child of this
	// process that was forked just then and hasn't come to its exec.
	for _, u := range slices.Concat(cfg.ListenPeerUrls, cfg.ListenClientUrls) {
		if strings.HasPrefix(u.Scheme, "http") {
			Within(m.t, patience, "etcd's address is free", func() error { return Listenable(u.Host) })
		}
	}
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		m.t.Fatalf("start etcd: %v", err)
	}
	m.etcd = etcd
}

func (m *Member) await() {
	m.t.Helper()
	select {
	case <-m.etcd.Server.ReadyNotify():
	case <-time.After(patience):
		m.t.Fatal("etcd does not become ready")
	}
}

// stopPatience is how long calls may take to end when their server does.
const stopPatience = 5 * time.Second

// Kill ends the member without a word to the others, as a power cut would.
func (m *Member) Kill() {
	if m.etcd == nil {
		return
	}
	// Left to itself it would wait for its clients to leave.
	m.stopServers()
	m.etcd.Server.HardStop()
	m.etcd.Close()
	m.etcd = nil
}

// CopyDir copies the data of a member that is stopped.
func (m *Member) CopyDir(to string) {
	m.t.Helper()
	if err := os.CopyFS(to, os.DirFS(m.Dir)); err != nil {
		m.t.Fatal(err)
	}
}

// Eventually calls f until it returns nil, and fails the test if that takes
// too long.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	Within(t, patience, what, f)
}

// Within is Eventually with a time of its own.
func Within(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	var err error
	begin := time.Now()
	// What takes long is asked for less often.
	for time.Since(begin) < limit {
		if err = f(); err == nil {
			return
		}
		time.Sleep(min(max(time.Since(begin)/10, 5*time.Millisecond), 250*time.Millisecond))
	}
	t.Fatalf("%s: not within %s: %v", what, limit, err)
}

func (m *Member) addServer(s *grpc.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers = append(m.servers, s)
}

func (m *Member) stopServers() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.servers {
		stopped := make(chan struct{})
		go func() {
			s.Stop()
			close(stopped)
		}()
		// Behind TLS the connections are those of net/http, and Stop has been
		// seen to wait for ever for one that comes just then.
		select {
		case <-stopped:
		case <-time.After(stopPatience):
		}
	}
	m.servers = nil
}
