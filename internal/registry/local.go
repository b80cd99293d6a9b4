package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// systemData is where a registry that belongs to the system has its data.
const systemData = "/var/lib/rackdns"

// DefaultDataDir is where standalone keeps its data unless told otherwise: in
// $RACKDNS_DATA, or where a system's or a user's programs keep their state.
func DefaultDataDir() string {
	if dir := os.Getenv("RACKDNS_DATA"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return systemData
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "rackdns-data"
	}
	return filepath.Join(home, ".local", "share", "rackdns")
}

// SocketIn is the socket of a standalone's registry with its data in dir.
func SocketIn(dir string) string { return filepath.Join(dir, "etcd.sock") }

// defaultEndpoints are where the registry is if nobody says so: at the socket
// of this host's standalone, this user's or the system's, else at
// DefaultEndpoint.
func defaultEndpoints() []string {
	for _, dir := range []string{DefaultDataDir(), systemData} {
		socket, err := filepath.Abs(SocketIn(dir))
		if err != nil {
			continue
		}
		// One that may not be looked for is there: only root's directory is
		// closed to others.
		if _, err := os.Stat(socket); err == nil || errors.Is(err, fs.ErrPermission) {
			return []string{socketURL(socket)}
		}
	}
	return []string{DefaultEndpoint}
}

func socketURL(path string) string { return (&url.URL{Scheme: "unix", Path: path}).String() }

// socketPath returns the path of an endpoint that is a unix socket's URL.
func socketPath(endpoint string) (path string, ok bool) {
	u, err := url.Parse(endpoint)
	return u.Path, err == nil && u.Scheme == "unix"
}

// checkSocket takes unix:PATH or unix:///PATH and returns the latter.
func checkSocket(endpoint string) (string, error) {
	bad := wrong("Endpoints", "etcd endpoint %q: want unix:///PATH of a socket", endpoint)
	u, err := url.Parse(endpoint)
	if err != nil || u.Host != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", bad
	}
	path := u.Path
	if u.Opaque != "" {
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", bad
		}
	}
	if path == "" || strings.HasSuffix(path, "/") {
		return "", bad
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", wrong("Endpoints", "etcd endpoint %q: %w", endpoint, err)
	}
	return socketURL(path), nil
}

// CheckAccess says at once, without a connection, if one of the endpoints is a
// socket of another user's, who alone can connect to it.
func (c *Client) CheckAccess() error {
	for _, e := range c.cfg.Endpoints {
		if path, ok := socketPath(e); ok && errors.Is(unix.Access(path, unix.W_OK), fs.ErrPermission) {
			return &Error{What: "open the registry", Why: e + ": " + notOurs(path), Err: fs.ErrPermission}
		}
	}
	return nil
}

// socketReason says why a connection to the socket failed.
func socketReason(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return notOurs(path)
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such socket: is rackdns standalone running, and with this data directory?"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens at this socket any more: is rackdns standalone running?"
	}
	return netReason(err)
}

// notOurs is for whoever may not connect.
func notOurs(path string) string {
	return fmt.Sprintf("this registry belongs to %s, and nobody else may read it: use sudo, or --etcd for another registry; names can be asked of the DNS server", ownerOf(path))
}

// ownerOf names the owner of a file, or of the directory that hides it.
func ownerOf(path string) string {
	for {
		info, err := os.Stat(path)
		if err == nil {
			s, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return "another user"
			}
			uid := strconv.FormatUint(uint64(s.Uid), 10)
			if u, err := user.LookupId(uid); err == nil {
				return u.Username
			}
			return "user " + uid
		}
		if parent := filepath.Dir(path); parent != path {
			path = parent
			continue
		}
		return "another user"
	}
}
