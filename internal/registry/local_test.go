package registry_test

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// socketDir is a directory whose name is short enough for a socket, and needs
// to be escaped in a URL.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rack dns%41-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func socketURL(path string) string { return (&url.URL{Scheme: "unix", Path: path}).String() }

// listenAt listens at a socket, and leaves it behind if that is stale.
func listenAt(t *testing.T, path string, stale bool) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if stale {
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		return
	}
	t.Cleanup(func() { _ = l.Close() })
}

// The default is the socket of this host's standalone, unless there is none, or
// certificates say that it is elsewhere.
func TestDefaultEndpoints(t *testing.T) {
	if _, err := os.Stat(registry.SocketIn("/var/lib/rackdns")); err == nil {
		t.Skip("this machine has a registry")
	}
	dir, home := socketDir(t), socketDir(t)
	t.Setenv("HOME", home)
	t.Setenv("RACKDNS_DATA", dir)
	ca := etcdtest.NewAuthority(t).CAFile
	got := func(cfg registry.Config) []string {
		t.Helper()
		cfg.Rack = "acme"
		c, err := registry.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Endpoints()
	}
	check := func(cfg registry.Config, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, got(cfg)); diff != "" {
			t.Error(diff)
		}
	}
	check(registry.Config{}, registry.DefaultEndpoint)
	listenAt(t, registry.SocketIn(dir), false)
	socket := socketURL(registry.SocketIn(dir))
	check(registry.Config{}, socket)
	check(registry.Config{CAFile: ca}, "https://127.0.0.1:2379")
	check(registry.Config{Endpoints: []string{"127.0.0.1:1"}}, "http://127.0.0.1:1")
	check(registry.Config{Endpoints: []string{socket, "127.0.0.1:1"}}, socket, "http://127.0.0.1:1")
	t.Chdir(dir)
	check(registry.Config{Endpoints: []string{"unix:etcd.sock"}}, socket)
	for _, wrong := range []string{"unix:", "unix://", "unix:///", "unix://host/x", "unix:///a?b", "unix:///a#b", "unix:///%zz", "unix:///a/"} {
		if _, err := registry.Open(registry.Config{Rack: "acme", Endpoints: []string{wrong}}); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if _, err := registry.Open(registry.Config{Rack: "acme", Endpoints: []string{socket}, CAFile: ca}); err == nil {
		t.Error("a socket with certificates is taken")
	}
}

// A socket is as good as an address, whatever its name.
func TestSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "etcd.sock")
	etcdtest.Start(t, 1, func(cfg *embed.Config) {
		at := cfg.ListenClientUrls[0]
		at.Scheme, at.Host, at.Path = "unix", "", path
		cfg.ListenClientUrls = append(cfg.ListenClientUrls, at)
	})
	c, err := registry.Open(registry.Config{Rack: "acme", Endpoints: []string{socketURL(path)}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.CheckAccess(); err != nil {
		t.Error(err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is wrong with a socket is said in words.
func TestSocketInWords(t *testing.T) {
	dir := socketDir(t)
	stale := filepath.Join(dir, "stale")
	listenAt(t, stale, true)
	inWords(t, registry.Config{Endpoints: []string{socketURL(stale)}}, "nobody listens at this socket any more", "is rackdns standalone running")
	inWords(t, registry.Config{Endpoints: []string{socketURL(filepath.Join(dir, "none"))}}, "there is no such socket", "is rackdns standalone running")
}
