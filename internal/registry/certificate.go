package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"
)

// Certificate is one on which the connection to etcd depends.
type Certificate struct {
	// Where is the file or the endpoint that it is of.
	Where string
	Ends  time.Time
}

// Certificates returns those that are ours, and those that the members show; none
// without TLS. Of a member that shows none the error tells.
func (c *Client) Certificates(ctx context.Context) ([]Certificate, error) {
	if c.trust == nil {
		return nil, nil
	}
	var all []Certificate
	for _, file := range []string{c.cfg.CAFile, c.cfg.CertFile} {
		if file == "" {
			continue
		}
		ends, err := firstEnd(file)
		if err != nil {
			return nil, err
		}
		all = append(all, Certificate{file, ends})
	}
	var failed error
	for _, endpoint := range c.cfg.Endpoints {
		ends, err := c.shown(ctx, endpoint)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", endpoint, err))
			continue
		}
		all = append(all, Certificate{endpoint, ends})
	}
	return all, failed
}

// firstEnd returns when the first of a file's certificates ends.
func firstEnd(file string) (first time.Time, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return first, err
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return first, fmt.Errorf("%s: %w", file, err)
		}
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	if first.IsZero() {
		return first, fmt.Errorf("%s: holds no certificate in PEM form", file)
	}
	return first, nil
}

// shown returns when the first certificate ends that a member shows. Whether it
// is to be trusted is another question, which each connection asks.
func (c *Client) shown(ctx context.Context, endpoint string) (first time.Time, err error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return first, err
	}
	cfg, err := tlsConfig(c.cfg)
	if err != nil {
		return first, err
	}
	cfg.InsecureSkipVerify = true
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return first, errors.New(tlsReason(err))
	}
	defer func() { _ = conn.Close() }()
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return first, errors.New("no TLS")
	}
	for _, cert := range secured.ConnectionState().PeerCertificates {
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first, nil
}
