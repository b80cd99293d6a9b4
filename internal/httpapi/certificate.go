package httpapi

import (
	"crypto/tls"
	"fmt"
	"log/slog"
)

// Certificate is a server's, read again when its files change.
type Certificate struct{ file *reloaded[*tls.Certificate] }

// OpenCertificate reads a certificate and its key.
func OpenCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	file, err := reload("the certificate "+certFile, log, func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
		}
		return &c, nil
	}, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &Certificate{file}, nil
}

func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// HTTP/2 would have many requests on one connection, and connections
		// are what is bounded.
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.file.get(), nil },
	}
}
