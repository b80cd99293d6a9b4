package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority.
type Authority struct {
	// CAFile is its own certificate.
	CAFile string

	t testing.TB
	// lasts is how long what it issues is valid, as it is itself.
	lasts time.Duration
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
}

// NewAuthority returns an authority of its own. Its files, and those of what it
// issues, end with the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	return LastingAuthority(t, time.Hour)
}

// LastingAuthority is NewAuthority for another time than an hour.
func LastingAuthority(t testing.TB, lasts time.Duration) *Authority {
	t.Helper()
	a := &Authority{t: t, lasts: lasts, cert: certificate("test CA", lasts)}
	a.cert.IsCA, a.cert.BasicConstraintsValid = true, true
	a.cert.KeyUsage = x509.KeyUsageCertSign
	var der []byte
	der, a.key = a.sign(a.cert)
	a.CAFile = writePEM(t, "ca.pem", "CERTIFICATE", der)
	return a
}

// Issue returns the files of a new certificate and its key, for a server at
// 127.0.0.1 as for a client.
func (a *Authority) Issue() (certFile, keyFile string) {
	a.t.Helper()
	leaf := certificate("test", a.lasts)
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, key := a.sign(leaf)
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return writePEM(a.t, "cert.pem", "CERTIFICATE", der), writePEM(a.t, "key.pem", "EC PRIVATE KEY", keyDER)
}

// sign gives a certificate a key, and signs it with the authority's own, or with
// the new one where that is the authority's.
func (a *Authority) sign(cert *x509.Certificate) (der []byte, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err = x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

func certificate(name string, lasts time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts),
	}
}

func writePEM(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
