package embedded

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// At a TCP address nobody is let in without a certificate of the clients' CA.
func TestCertificates(t *testing.T) {
	ca, strangers := etcdtest.NewAuthority(t), etcdtest.NewAuthority(t)
	cert, key := ca.Issue()
	at := etcdtest.FreeAddr(t)
	r, _ := start(t, Config{
		Dir: shortDir(t), Listen: at, CertFile: cert, KeyFile: key, ClientCAFile: ca.CAFile,
	}, false)
	if err := put(client(t, r), "a", "1"); err != nil {
		t.Errorf("by the socket: %v", err)
	}
	roots, err := os.ReadFile(ca.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		of  *etcdtest.Authority
		got bool
	}{"ours": {ca, true}, "none": {nil, false}, "another's": {strangers, false}} {
		cfg := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		cfg.RootCAs.AppendCertsFromPEM(roots)
		if tc.of != nil {
			cert, err := tls.LoadX509KeyPair(tc.of.Issue())
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{cert}
		}
		value, err := get(dial(t, clientv3.Config{Endpoints: []string{"https://" + at}, TLS: cfg}), "a")
		if (value == "1") != tc.got {
			t.Errorf("with the certificate %s: %q, %v", name, value, err)
		}
	}
}

// Without certificates only users of etcd are let in: none if there are none,
// and none any more when there are none any more.
func TestUsers(t *testing.T) {
	cfg := Config{Dir: shortDir(t), Listen: etcdtest.FreeAddr(t)}
	if _, err := Start(t.Context(), cfg, options(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "has no users") {
		t.Fatalf("without users: %v", err)
	}
	r, _ := start(t, Config{Dir: cfg.Dir}, false)
	c := client(t, r)
	for _, err := range []error{
		put(c, "a", "1"),
		second(c.UserAdd(t.Context(), "root", "secret")),
		second(c.UserGrantRole(t.Context(), "root", "root")),
		second(c.AuthEnable(t.Context())),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	closed(t, r)

	r, _ = start(t, cfg, false)
	anonymous := dial(t, clientv3.Config{Endpoints: []string{cfg.Listen}})
	root := dial(t, clientv3.Config{Endpoints: []string{cfg.Listen}, Username: "root", Password: "secret"})
	if value, err := get(root, "a"); err != nil || value != "1" {
		t.Errorf("a user: %q, %v", value, err)
	}
	if value, err := get(anonymous, "a"); err == nil {
		t.Errorf("nobody reads %q", value)
	}
	if _, err := root.AuthDisable(t.Context()); err != nil {
		t.Fatal(err)
	}
	value, err := get(anonymous, "a")
	if err == nil || !strings.Contains(err.Error(), "only at its socket") {
		t.Errorf("without users any more nobody reads %q, %v", value, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for w := range anonymous.Watch(ctx, "a", clientv3.WithRev(1)) {
		if len(w.Events) > 0 {
			t.Error("nobody watches")
		}
	}
	if value, err := get(client(t, r), "a"); err != nil || value != "1" {
		t.Errorf("by the socket: %q, %v", value, err)
	}
}

// second drops what a call returns beside its error.
func second[T any](_ T, err error) error { return err }
