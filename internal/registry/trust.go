package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// trust is the TLS of a client's connections. What it trusts, and by what it is
// known, is read from the files for each handshake: certificates are renewed
// while we run.
type trust struct {
	credentials.TransportCredentials
	cfg     Config
	refused *refusals
	mu      sync.Mutex
	// holds has the last refusal by and of each endpoint's host.
	holds map[string]*holdOff
}

func newTrust(cfg Config, refused *refusals) *trust {
	return &trust{
		// For all but the handshake, which is made with another one each time.
		TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}),
		cfg:                  cfg, refused: refused, holds: map[string]*holdOff{},
	}
}

// Clone implements [credentials.TransportCredentials]. There is nothing in it
// that one connection could change for another.
func (t *trust) Clone() credentials.TransportCredentials { return t }

// ClientHandshake implements [credentials.TransportCredentials]. After a refusal
// it waits, as long as the attempt may take.
func (t *trust) ClientHandshake(ctx context.Context, host string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := t.await(ctx, host); err != nil {
		return nil, nil, err
	}
	files := t.files()
	refuse := func(err error) {
		t.refused.note(refusedCertificate, host)
		t.of(host).refuse(&refusedError{reason: refusedCertificate, where: "https://" + host, err: err}, files)
	}
	cfg, err := tlsConfig(t.cfg)
	if err != nil {
		refuse(err)
		return nil, nil, err
	}
	conn, info, err := credentials.NewTLS(cfg).ClientHandshake(ctx, host, raw)
	if err != nil {
		if certificateRefused(err) {
			refuse(err)
		}
		return nil, nil, err
	}
	return &greeted{Conn: conn, refuse: refuse, accept: func() {
		t.refused.over(refusedCertificate, host)
		t.of(host).lift()
	}}, info, nil
}

func (t *trust) files() stamp { return stampOf(t.cfg.CAFile, t.cfg.CertFile, t.cfg.KeyFile) }

func (t *trust) of(host string) *holdOff {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holds[host] == nil {
		t.holds[host] = &holdOff{}
	}
	return t.holds[host]
}

// await waits until a handshake is worth an attempt.
func (t *trust) await(ctx context.Context, host string) error {
	const look = 250 * time.Millisecond
	for hold := t.of(host); ; {
		err := hold.holds(t.files())
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(look):
		}
	}
}

// refusal returns why no endpoint is to be tried now, if that is so.
func (t *trust) refusal() error {
	files := t.files()
	return t.all(func(h *holdOff) error { return h.holds(files) })
}

// last returns why no endpoint could be used, if that is so.
func (t *trust) last() error { return t.all((*holdOff).last) }

// all returns what is wrong with one of the endpoints if something is with all.
func (t *trust) all(wrong func(*holdOff) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.holds) < len(t.cfg.Endpoints) {
		return nil
	}
	var first error
	for _, hold := range t.holds {
		err := wrong(hold)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// certificateRefused reports whether one side doesn't accept the other's
// certificate, which nothing but another file will change.
func certificateRefused(err error) bool {
	var theirs *tls.CertificateVerificationError
	var alert *net.OpError
	return errors.As(err, &theirs) || errors.As(err, &alert) && alert.Op == "remote error"
}

// greeted is a connection of which it is not known yet whether the server likes
// our certificate: that it says in answer to the first data (TLS 1.3).
type greeted struct {
	net.Conn
	refuse func(error)
	accept func()
	once   sync.Once
}

// Read implements [net.Conn].
func (g *greeted) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	switch {
	case n > 0:
		g.once.Do(g.accept)
	case err != nil && certificateRefused(err):
		g.once.Do(func() { g.refuse(err) })
	}
	return n, err
}

// tlsConfig returns what is trusted, and by what we are known, by the files as
// they are now.
func tlsConfig(cfg Config) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, wrong("CAFile", "CA certificate: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, wrong("CAFile", "CA certificate %s: holds no certificate in PEM form", cfg.CAFile)
		}
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, wrong("CertFile", "a client certificate and its key come together: only one of them is given")
	}
	if cfg.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, wrong("CertFile", "client certificate %s: %w", cfg.CertFile, err)
		}
		// Sent whatever authorities the server names: it may say why it doesn't
		// like it, and not just that there was none.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return t, nil
}
