package httpapi_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/httpguard"
)

// listen serves for real, and returns where.
func listen(t *testing.T, address string, change func(*httpapi.Config)) string {
	t.Helper()
	hosts, err := httpguard.NewHosts("http-hosts")
	if err != nil {
		t.Fatal(err)
	}
	cfg := httpapi.Config{
		Hosts: hosts, Racks: []*httpapi.Rack{apitest.NewRack(t, "acme").Rack}, Families: []httpapi.Family{family()},
		Logger: slog.New(slog.DiscardHandler),
	}
	change(&cfg)
	s, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.Start(ln)
	t.Cleanup(s.Close)
	return ln.Addr().String()
}

// One address can't have all streams, and those that it has are given back.
func TestStreams(t *testing.T) {
	t.Parallel()
	at := listen(t, "127.0.0.1:0", func(*httpapi.Config) {})
	var open []net.Conn
	ask := func() string {
		c, err := net.DialTimeout("tcp", at, patience)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(line)[1]
	}
	t.Cleanup(func() {
		for _, c := range open {
			_ = c.Close()
		}
	})
	for n := range 100 {
		if got := ask(); got != "200" {
			t.Fatalf("stream %d: %s", n, got)
		}
	}
	if got := ask(); got != "429" {
		t.Errorf("one more: %s", got)
	}
	for _, c := range open {
		_ = c.Close()
	}
	for deadline := time.Now().Add(patience); ask() != "200"; {
		if time.Now().After(deadline) {
			t.Fatal("what was closed is not given back")
		}
	}
}

// Without a token a listener that others reach grants nothing.
func TestOtherListener(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]int{"127.0.0.1:0": 200, "[::1]:0": 200, "0.0.0.0:0": 401, "[::]:0": 401} {
		if c, err := net.Listen("tcp", address); err != nil {
			t.Logf("%s: %v", address, err)
			continue
		} else if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(listen(t, address, func(*httpapi.Config) {}))
		if err != nil {
			t.Fatal(err)
		}
		host := "127.0.0.1"
		if strings.Contains(address, "::1") {
			host = "::1"
		}
		resp, err := http.Get("http://" + net.JoinHostPort(host, port) + "/names")
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", address, resp.StatusCode, want)
		}
	}
}

// certificate writes a certificate of its own for a serial number.
func certificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A certificate that is replaced is used without a restart, one that is broken
// isn't.
func TestCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate(t, dir, 1)
	c, err := httpapi.OpenCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := listen(t, "127.0.0.1:0", func(cfg *httpapi.Config) { cfg.Certificate = c })
	serial := func() int64 {
		conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is the test's own
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("certificate %d", got)
	}
	certificate(t, dir, 2)
	for deadline := time.Now().Add(patience); serial() != 2; {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate isn't used")
		}
	}
	if err := os.WriteFile(cert, []byte("half of o"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("with a broken file: certificate %d", got)
	}
	if _, err := httpapi.OpenCertificate(cert, key, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), cert) {
		t.Errorf("%v, want an error that names the file", err)
	}
}
