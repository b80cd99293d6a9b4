package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// diagnoseTimeout bounds the look at one endpoint.
const diagnoseTimeout = 1500 * time.Millisecond

// inWords says what etcd's answer err means for whoever has to mend it.
func (c *Client) inWords(ctx context.Context, what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // whatever etcd's client makes of it
	}
	said := rpctypes.Error(err)
	is := func(known ...error) bool {
		return slices.ContainsFunc(known, func(e error) bool { return errors.Is(said, e) })
	}
	var why string
	switch reason := reasonOf(err); {
	case reason != "":
		why = c.refusedWhy(reason, err)
	case is(rpctypes.ErrNoSpace):
		why = "etcd is out of space and takes no writes (alarm NOSPACE): compact and defragment it, then disarm the alarm"
	case is(rpctypes.ErrNoLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrTimeoutDueToLeaderFail):
		why = "etcd has no leader now: are most of its members running?"
	case is(rpctypes.ErrTimeout, rpctypes.ErrTooManyRequests, rpctypes.ErrTimeoutDueToConnectionLost):
		why = "etcd is too slow or overloaded"
	default:
		why = c.diagnose(ctx, err)
	}
	return &Error{What: what, Why: why, Err: err}
}

// refusedWhy says what is refused, and which file to mend.
func (c *Client) refusedWhy(reason string, err error) string {
	switch reason {
	case refusedPassword:
		return fmt.Sprintf("etcd refuses user %q: the name or the password is wrong (mend %s, it is read again when it changes)", c.cfg.Username, c.cfg.PasswordFile)
	case refusedUser:
		return "etcd wants a user and a password, and none is configured"
	case refusedToken:
		return fmt.Sprintf("etcd refuses what its login gave user %q: %v", c.cfg.Username, err)
	case refusedPermission:
		return fmt.Sprintf("etcd's user %q has no role that permits it", c.cfg.Username)
	}
	var refused *refusedError
	if !errors.As(err, &refused) {
		return err.Error()
	}
	files := []string{}
	for _, file := range []string{c.cfg.CAFile, c.cfg.CertFile} {
		if file != "" {
			files = append(files, file)
		}
	}
	why := refused.where + ": " + tlsReason(refused.err)
	if len(files) > 0 {
		why += fmt.Sprintf(" (%s: read again when it changes)", strings.Join(files, ", "))
	}
	return why
}

// Error is a call to the registry that failed, in words.
type Error struct {
	What, Why string
	Err       error
}

// Error returns one line.
func (e *Error) Error() string { return "can't " + e.What + ": " + e.Why }

// Unwrap returns what etcd's client said.
func (e *Error) Unwrap() error { return e.Err }

// diagnose looks at the endpoints by hand, since "context deadline exceeded"
// is all that etcd's client says of a refused connection, a wrong certificate
// and a cut cable alike.
func (c *Client) diagnose(ctx context.Context, err error) string {
	code := status.Code(err)
	if !errors.Is(err, context.DeadlineExceeded) && code != codes.Unavailable && code != codes.DeadlineExceeded {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	var secure *tls.Config
	if c.trust != nil {
		if refused := c.trust.last(); refused != nil {
			return c.refusedWhy(refusedCertificate, refused)
		}
		var err error
		if secure, err = tlsConfig(c.cfg); err != nil {
			return err.Error()
		}
	}
	found := make([]string, len(c.cfg.Endpoints))
	done := make(chan struct{})
	for n, endpoint := range c.cfg.Endpoints {
		go func() {
			found[n] = fmt.Sprintf("%s: %s", endpoint, probe(ctx, endpoint, secure))
			done <- struct{}{}
		}()
	}
	for range found {
		<-done
	}
	return strings.Join(found, "; ")
}

// probe says what stands in the way of talking to the endpoint.
func probe(ctx context.Context, endpoint string, cfg *tls.Config) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err.Error()
	}
	path, isSocket := socketPath(endpoint)
	network, address := "tcp", u.Host
	if isSocket {
		network, address = "unix", path
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	switch {
	case err != nil && isSocket:
		return socketReason(path, err)
	case err != nil:
		return netReason(err)
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err.Error()
		}
	}
	if cfg != nil {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{"h2"}
		if cfg.ServerName == "" {
			cfg.ServerName = u.Hostname()
		}
		secured := tls.Client(conn, cfg)
		if err := secured.HandshakeContext(ctx); errors.Is(err, io.EOF) {
			return "the server hangs up on a TLS handshake: it probably doesn't speak TLS, use http://"
		} else if err != nil {
			return tlsReason(err)
		}
		conn = secured
	}
	return greet(conn, cfg != nil)
}

// greet opens HTTP/2 by hand: a server that dislikes our certificate says so
// only in answer to the first data (TLS 1.3).
func greet(conn net.Conn, secured bool) string {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	if _, err := io.WriteString(conn, preface); err != nil {
		return tlsReason(err)
	}
	var head [9]byte
	switch n, err := io.ReadFull(conn, head[:]); {
	case n > 0 && !secured && head[0] == 0x15:
		return "the server speaks TLS: use https:// and name its CA certificate"
	case err != nil && n == 0 && errors.Is(err, io.EOF) && !secured:
		return "the server hangs up: does it want TLS (https://)?"
	case err != nil:
		return tlsReason(err)
	case head[3] != 0x04:
		return "something answers, but it is not etcd"
	}
	return "the server is there but answers too late: is etcd overloaded, without a quorum, or is the network slow?"
}

func netReason(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("host name %s can't be resolved (%s)", dns.Name, dns.Err)
	case isTimeout(err):
		return "no answer to a connection attempt: is the address right, and does a firewall stand between?"
	case errors.As(err, &op) && op.Err != nil:
		return strings.TrimPrefix(op.Err.Error(), "connect: ")
	}
	return err.Error()
}

func tlsReason(err error) string {
	var record tls.RecordHeaderError
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &record):
		return "the server doesn't speak TLS: use http://"
	case errors.As(err, &cert):
		return "the server's certificate is not accepted: " + cert.Err.Error()
	case errors.As(err, &op) && op.Op == "remote error":
		return "the server ends the connection with an alert: " + op.Err.Error() + " (does it accept our client certificate?)"
	case isTimeout(err):
		return "connected, but no answer: is etcd hanging, or is it another kind of server?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server hangs up"
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
