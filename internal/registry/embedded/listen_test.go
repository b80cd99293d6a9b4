package embedded

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes NAME.crt and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate, ips []net.IP) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject, c.IPAddresses = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}, ips
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for ext, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(a.file(name+ext), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed, key
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// At a TCP address nobody is let in without a certificate of the clients' CA.
func TestCertificates(t *testing.T) {
	ca, strangers := newAuthority(t), newAuthority(t)
	ca.sign("server", &x509.Certificate{}, []net.IP{net.IPv4(127, 0, 0, 1)})
	ca.sign("client", &x509.Certificate{}, nil)
	strangers.sign("client", &x509.Certificate{}, nil)
	at := etcdtest.FreeAddr(t)
	r, _ := start(t, Config{
		Dir: shortDir(t), Listen: at,
		CertFile: ca.file("server.crt"), KeyFile: ca.file("server.key"), ClientCAFile: ca.file("ca.crt"),
	}, false)
	if err := put(client(t, r), "a", "1"); err != nil {
		t.Errorf("by the socket: %v", err)
	}
	for name, tc := range map[string]struct {
		of  *authority
		got bool
	}{"ours": {ca, true}, "none": {nil, false}, "another's": {strangers, false}} {
		cfg := &tls.Config{RootCAs: ca.pool(), MinVersion: tls.VersionTLS12}
		if tc.of != nil {
			cert, err := tls.LoadX509KeyPair(tc.of.file("client.crt"), tc.of.file("client.key"))
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
