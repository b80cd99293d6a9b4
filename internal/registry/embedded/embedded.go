// Package embedded runs an etcd member, the registry of a rack that has one
// host, in a process of its own: a child of the one that answers DNS.
//
// etcd ends its process where it can't go on, be it for want of disk, of
// descriptors or of memory. DNS needs no registry to answer what it knows, so
// the child may end at any time; its parent starts it again.
package embedded

import (
	"fmt"
	"net/url"
	"path/filepath"
)

// socketName is the default socket's name in the data directory, which
// registry.SocketIn knows too.
const socketName = "etcd.sock"

// maxSocketPath is the longest path that a socket can have, in bytes: sun_path
// of unix(7) without the zero at its end.
const maxSocketPath = 107

// Config says where the member keeps its data and listens.
type Config struct {
	// Dir is the data directory, which is created if need be.
	Dir string
	// Socket is the path of the unix socket for clients, which only the user
	// of this process can connect to; etcd.sock in Dir if empty.
	Socket string
	// Listen is an address for clients elsewhere, HOST:PORT, or empty. Clients
	// there must have a certificate of ClientCAFile, or be users of etcd.
	Listen string
	// CertFile and KeyFile are the member's at Listen; ClientCAFile is whose
	// certificates its clients must have.
	CertFile, KeyFile, ClientCAFile string
}

// withDefaults makes all paths absolute, and checks what can be checked without
// touching anything.
func (c Config) withDefaults() (Config, error) {
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, fmt.Errorf("data directory %s: %w", c.Dir, err)
	}
	if c.Socket == "" {
		c.Socket = filepath.Join(c.Dir, socketName)
	} else if c.Socket, err = filepath.Abs(c.Socket); err != nil {
		return c, fmt.Errorf("socket %s: %w", c.Socket, err)
	}
	if len(c.Socket) > maxSocketPath {
		return c, fmt.Errorf("socket %s: the path has %d bytes, and a socket's has at most %d: put it elsewhere with --etcd-listen unix:PATH, or the data in a directory with a shorter name",
			c.Socket, len(c.Socket), maxSocketPath)
	}
	return c, nil
}

// Endpoint is the URL of the socket.
func (c Config) Endpoint() string {
	return (&url.URL{Scheme: "unix", Path: c.Socket}).String()
}

// InUseError says that somebody else listens on the address.
type InUseError struct{ Address string }

// Error returns one line.
func (e *InUseError) Error() string { return "address " + e.Address + " is in use" }
