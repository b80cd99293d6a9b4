package rack_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	// The plugins that the Corefiles of this package's tests and manual have.
	_ "github.com/coredns/coredns/plugin/autopath"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
	_ "github.com/rackdns/rackdns/plugin/rack"
	_ "github.com/rackdns/rackdns/plugin/recursion"
	_ "github.com/rackdns/rackdns/plugin/shortname"
)

// patience is how long anything may take that is certain to happen.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	caddy.Quiet, dnsserver.Quiet = true, true
	err := dnsserver.SetDirectives([]string{
		"metadata", "reload", "bind", "ready", "prometheus", "errors", "log", "autopath", "bufsize", "shortname", "recursion", "cache", "dnssec",
		"template", "transfer", "hosts", "rack", "forward",
	})
	if err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// server is a CoreDNS in this process.
type server struct {
	instance *caddy.Instance
	udp, tcp string
	// took is how long the start took.
	took time.Duration
}

// starting keeps two servers from starting at once, which CoreDNS can't do.
var starting sync.Mutex

func input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{Contents: []byte(corefile), Filepath: "Corefile", ServerTypeName: "dns"}
}

// serve starts a server whose blocks all listen on port 0.
func serve(t *testing.T, corefile string) *server {
	t.Helper()
	starting.Lock()
	defer starting.Unlock()
	begin := time.Now()
	i, err := caddy.Start(input(corefile))
	if err != nil {
		t.Fatalf("%s: %v", corefile, err)
	}
	s := &server{instance: i, took: time.Since(begin)}
	t.Cleanup(func() {
		s.instance.ShutdownCallbacks()
		if err := s.instance.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.udp, s.tcp = i.Servers()[0].LocalAddr().String(), i.Servers()[0].Addr().String()
	return s
}

// reload replaces the server by one with another Corefile, at the same address.
func (s *server) reload(corefile string) error {
	starting.Lock()
	defer starting.Unlock()
	i, err := s.instance.Restart(input(corefile))
	if err == nil {
		s.instance = i
	}
	return err
}

// ask asks over UDP.
func (s *server) ask(t *testing.T, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m, err := dns.Exchange(new(dns.Msg).SetQuestion(name, qtype), s.udp)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[qtype], err)
	}
	return m
}

// says polls until a name's A records are these, or its code is that.
func (s *server) says(t *testing.T, name, want string) {
	t.Helper()
	deadline, got := time.Now().Add(patience), ""
	for tick := time.NewTicker(10 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		if got = said(s.ask(t, name, dns.TypeA)); got == want {
			return
		}
	}
	t.Fatalf("%s: still %s, want %s", name, got, want)
}

// said is a reply in words.
func said(m *dns.Msg) string {
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode]
	}
	var all []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.CNAME:
			all = append(all, rr.Target)
		}
	}
	return strings.Join(all, " ")
}

// store is a rack's registry in a real etcd.
type store struct {
	t      *testing.T
	client *clientv3.Client
	url    string
	layout registry.Layout
}

func newStore(t *testing.T, rack string) *store {
	t.Helper()
	c := etcdtest.Start(t, 1, nil)
	return &store{t: t, client: c.Client(), url: c.Endpoints()[0], layout: layoutOf(t, rack)}
}

func layoutOf(t *testing.T, rack string) registry.Layout {
	t.Helper()
	l, err := registry.NewLayout(registry.DefaultPrefix, rack)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// put writes a value, on a lease if there is one.
func (s *store) put(v any, opts ...clientv3.OpOption) {
	s.t.Helper()
	key := ""
	switch v := v.(type) {
	case registry.Instance:
		key = s.layout.Instance(v.Node, v.ID)
	case registry.Resource:
		key = s.layout.Resource(v.App, v.Name)
	}
	value, err := registry.Encode(v)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.Put(s.context(), key, string(value), opts...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// web is instance n of web.shop, published at 10.1.x.x.
func web(n int) registry.Instance {
	ip := netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)})
	return registry.Instance{
		ID: fmt.Sprintf("%012x", n), Node: "node-1", App: "shop", Service: "web", Namespace: "shop",
		Status: registry.StatusRunning, Weight: 1, Host: ip,
		Ports: []registry.Port{{Name: "http", Protocol: registry.TCP, Container: 3000, Bindings: []registry.Binding{{IP: ip, Port: 40000}}}},
	}
}
