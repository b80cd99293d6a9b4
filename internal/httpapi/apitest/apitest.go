// Package apitest is what tests of the families of routes have in common: racks
// that the test itself fills, and requests as if from anywhere.
package apitest

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpguard"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// Tokens of a server: one with all rights, and one with each.
const (
	Token        = "token-with-all-rights"
	NamesToken   = "token-that-reads-names"
	WriteToken   = "token-that-writes"
	SecretsToken = "token-that-reads-secrets"
)

// Local is an address of this host, Outside one of another.
const (
	Local   = "127.0.0.1:40000"
	Outside = "198.51.100.7:40000"
)

// Rack is one that a test fills.
type Rack struct {
	*httpapi.Rack

	t        testing.TB
	x        *index.Index
	layout   registry.Layout
	revision int64
}

// NewRack returns a rack with these values, which are pointers to the registry's
// types, seen from node-1.
func NewRack(t testing.TB, name string, values ...any) *Rack {
	t.Helper()
	r := Unread(t, name)
	r.revision++
	r.x.Feed().BeginList(r.revision, false)
	r.x.Feed().List(r.entries(values, false))
	r.x.Feed().EndList()
	return r
}

// Unread returns a rack of which there is no picture yet.
func Unread(t testing.TB, name string) *Rack {
	t.Helper()
	x, err := index.Open(index.Config{
		Registry: registry.Config{Rack: name}, Options: index.Options{Node: "node-1"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	r := &Rack{Rack: &httpapi.Rack{Name: name, Zone: name + ".convox", Node: "node-1"}, t: t, x: x}
	if r.layout, err = registry.NewLayout(registry.DefaultPrefix, name); err != nil {
		t.Fatal(err)
	}
	r.Follow(x, nil)
	return r
}

// Live returns a rack over a registry of its own, that can be written.
func Live(t testing.TB, name string) (*Rack, *etcdtest.Cluster) {
	t.Helper()
	etcd := etcdtest.Start(t, 1, nil)
	cfg := registry.Config{Endpoints: etcd.Endpoints(), Rack: name}
	client, err := registry.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	x, err := index.Open(index.Config{Registry: cfg, Options: index.Options{Node: "node-1"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	x.Start()
	t.Cleanup(func() { _ = x.Close() })
	r := &Rack{Rack: &httpapi.Rack{Name: name, Zone: name + ".convox", Node: "node-1"}, t: t, x: x, layout: client.Layout()}
	r.Follow(x, client)
	select {
	case <-x.Synced():
	case <-time.After(2 * time.Minute):
		t.Fatal("the index has no picture after two minutes")
	}
	return r, etcd
}

// Post sends a form as a process of this host does, with a token.
func Post(t testing.TB, h http.Handler, method, target, token string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := Request(t, method, target, Local, token)
	body := form.Encode()
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return Do(t, h, r)
}

// Put has the rack take in values, at one revision.
func (r *Rack) Put(values ...any) { r.update(values, false) }

// Delete has the rack lose values.
func (r *Rack) Delete(values ...any) { r.update(values, true) }

func (r *Rack) update(values []any, gone bool) {
	r.t.Helper()
	r.revision++
	r.x.Feed().Update(r.entries(values, gone))
}

// IndexNow returns the number of the present picture.
func (r *Rack) IndexNow() int64 { return r.x.Snapshot().Index() }

func (r *Rack) entries(values []any, gone bool) []registry.Entry {
	r.t.Helper()
	var all []registry.Entry
	for _, v := range values {
		e := registry.Entry{ModRevision: r.revision}
		switch v := v.(type) {
		case *registry.Instance:
			name := v.ID
			if v.Node == registry.NodeAPI && len(v.Ports) > 0 {
				name = fmt.Sprintf("%s/%s/%s~%d", v.App, v.Service, v.Host, v.Ports[0].Container)
			}
			e.Key = r.layout.Instance(v.Node, name)
		case *registry.Service:
			e.Key = r.layout.Service(v.App, v.Service)
		case *registry.Resource:
			e.Key = r.layout.Resource(v.App, v.Name)
		case *registry.Node:
			e.Key = r.layout.Node(v.Node)
		case *registry.Drained:
			e.Key = r.layout.Drained(v.Node)
		default:
			r.t.Fatalf("no key for a %T", v)
		}
		if !gone {
			var err error
			if e.Value, err = registry.Encode(v); err != nil {
				r.t.Fatal(err)
			}
		}
		all = append(all, e)
	}
	return all
}

// Instance returns an instance that serves, published at host:port.
func Instance(id, app, service, node, host string, port uint16) *registry.Instance {
	ip := netip.MustParseAddr(host)
	return &registry.Instance{
		ID: id, Node: node, App: app, Service: service, Namespace: app, Status: registry.StatusRunning, Host: ip, Weight: 1,
		Ports: []registry.Port{{Name: "http", Protocol: registry.TCP, Container: 3000, Bindings: []registry.Binding{{IP: ip, Port: port}}}},
	}
}

// Server returns what serves the families, with tokens, at a listener on loopback
// or another one.
func Server(t testing.TB, loopback bool, families []httpapi.Family, racks ...*Rack) http.Handler {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	hosts, err := httpguard.NewHosts("http-hosts", "rackdns.test")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), httpapi.TokenFile)
	text := strings.Join([]string{"# of the tests", Token, NamesToken + " names", WriteToken + " write", SecretsToken + " secrets", ""}, "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := httpapi.Config{Hosts: hosts, Families: families, Logger: log}
	if cfg.Tokens, err = httpapi.OpenTokens(file, log); err != nil {
		t.Fatal(err)
	}
	for _, r := range racks {
		cfg.Racks = append(cfg.Racks, r.Rack)
	}
	s, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s.Handler(loopback)
}

// Get asks as a process of this host does.
func Get(t testing.TB, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	return Do(t, h, Request(t, http.MethodGet, target, Local, ""))
}

// Request returns a request from an address, with a token unless that is empty.
func Request(t testing.TB, method, target, from, token string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	r.Host, r.RemoteAddr = "rackdns.test", from
	if token != "" {
		r.SetBasicAuth("convox", token)
	}
	return r
}

// Do has a request answered. One that is cut off has no status.
func Do(t testing.TB, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if why := recover(); why != nil {
				if why != http.ErrAbortHandler { //nolint:errorlint // it is what the standard library compares with
					panic(why)
				}
				w.Code = 0
			}
		}()
		h.ServeHTTP(w, r)
	}()
	return w
}
