package registry

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// DefaultEndpoint is where etcd listens unless told otherwise, on a host without
// a standalone.
const DefaultEndpoint = "http://127.0.0.1:2379"

// opTimeout bounds one call to etcd. With the diagnosis that follows a timeout
// it stays below the five seconds after which an operator wants to know why.
const opTimeout = 3 * time.Second

// Config says where the registry is and how to get in.
type Config struct {
	// Endpoints are URLs of etcd members, all https or none, such as
	// unix:///PATH for a socket. Those without a scheme are https if there is a
	// certificate, else http. If there is none, it is the socket of this host's
	// standalone, and DefaultEndpoint where that isn't, or a certificate is given.
	Endpoints []string
	// Username and PasswordFile are etcd's user; the password never comes as
	// an argument.
	Username, PasswordFile string
	// CertFile and KeyFile make the client known to etcd, CAFile makes etcd
	// known to the client; without it the system's roots count.
	CertFile, KeyFile, CAFile string
	// Prefix is DefaultPrefix if empty.
	Prefix string
	Rack   string
}

// Client is a connection to one rack's registry. It connects when it is first
// needed and again whenever it must; opening it never waits for etcd.
type Client struct {
	cfg     Config
	layout  Layout
	refused *refusals
	// login is nil without a user, trust without TLS.
	login *login
	trust *trust

	mu     sync.Mutex
	etcd   *clientv3.Client
	closed bool
}

// ErrClosed is returned by a Client after Close.
var ErrClosed = errors.New("registry client is closed")

// ConfigError is what is wrong with one field of a Config.
type ConfigError struct {
	Field string
	Err   error
}

// Error returns one line that names the value, but for a password.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

func wrong(field, format string, args ...any) error {
	return &ConfigError{field, fmt.Errorf(format, args...)}
}

// Open checks cfg and returns its client. It makes no connection. An error is
// a [ConfigError].
func Open(cfg Config) (*Client, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if len(cfg.Endpoints) == 0 {
		if cfg.CAFile != "" || cfg.CertFile != "" {
			_, host, _ := strings.Cut(DefaultEndpoint, "://")
			cfg.Endpoints = []string{host}
		} else {
			cfg.Endpoints = defaultEndpoints()
		}
	}
	if err := CheckLabel("rack", cfg.Rack); err != nil {
		return nil, &ConfigError{"Rack", err}
	}
	layout, err := NewLayout(cfg.Prefix, cfg.Rack)
	if err != nil {
		return nil, &ConfigError{"Prefix", err}
	}
	endpoints, secure, err := checkEndpoints(cfg)
	if err != nil {
		return nil, err
	}
	cfg.Endpoints = endpoints
	c := &Client{cfg: cfg, layout: layout, refused: newRefusals(layout.Rack())}
	if secure {
		// Whatever becomes of the files later, now is when somebody looks.
		if _, err := tlsConfig(cfg); err != nil {
			return nil, err
		}
		c.trust = newTrust(cfg, c.refused)
	}
	if password, err := cfg.password(); err != nil {
		return nil, err
	} else if password != "" {
		c.login = newLogin(cfg, c.refused)
	}
	return c, nil
}

// Layout returns the keys of the client's rack.
func (c *Client) Layout() Layout { return c.layout }

// Endpoints returns the URLs that the client uses.
func (c *Client) Endpoints() []string { return c.cfg.Endpoints }

// Close ends the connection, and with it every call under way.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.refused.end()
	}
	c.closed = true
	return c.disconnect()
}

// leave ends the connections of etcd, which connect returned, with all calls
// under way. The next connect makes new ones.
func (c *Client) leave(etcd *clientv3.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.etcd == etcd {
		_ = c.disconnect() // whatever it says, it is not used any more
	}
}

func (c *Client) disconnect() error {
	if c.etcd == nil {
		return nil
	}
	err := c.etcd.Close()
	c.etcd = nil
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Check asks the registry something small and says in words what is wrong, if
// anything is, within five seconds.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.agreed(ctx)
	return c.inWords(ctx, "read the registry", err)
}

// agreed reads something small, and returns the state that most members agree
// on.
func (c *Client) agreed(ctx context.Context) (*etcdserverpb.ResponseHeader, error) {
	var r *clientv3.GetResponse
	err := c.try(ctx, func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Get(ctx, c.layout.Base(), clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Header, nil
}

// do makes one bounded call and puts what etcd says of it into words.
func (c *Client) do(ctx context.Context, what string, call func(context.Context, clientv3.KV) error) error {
	return c.inWords(ctx, what, c.tryFor(ctx, what, call))
}

// try makes one bounded call, and another one if the connections were left
// meanwhile, which ends all calls that are under way.
func (c *Client) try(ctx context.Context, call func(context.Context, clientv3.KV) error) error {
	return c.tryFor(ctx, "read the registry", call)
}

func (c *Client) tryFor(ctx context.Context, what string, call func(context.Context, clientv3.KV) error) error {
	left, err := c.tryOnce(ctx, call)
	if left {
		_, err = c.tryOnce(ctx, call)
	}
	switch reason := reasonOf(err); {
	case reason == refusedPermission || reason == refusedUser:
		c.refused.note(reason, what)
	case err == nil:
		c.refused.over(refusedPermission, what)
		c.refused.over(refusedUser, what)
	}
	return err
}

func (c *Client) tryOnce(ctx context.Context, call func(context.Context, clientv3.KV) error) (left bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	etcd, err := c.connect(ctx)
	if err != nil {
		return false, err
	}
	if err = call(ctx, etcd); err == nil {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, ErrClosed
	}
	return c.etcd != etcd, err
}

// connect returns the client underneath, which it makes without a word to etcd:
// that connects, and logs in, when there is something to ask. An error is final
// ([ErrClosed]), or a refusal that still holds.
func (c *Client) connect(ctx context.Context) (*clientv3.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.trust != nil {
		if err := c.trust.refusal(); err != nil {
			return nil, err
		}
	}
	if c.etcd != nil {
		return c.etcd, nil
	}
	etcd, err := clientv3.New(c.options())
	if err != nil {
		return nil, err
	}
	c.etcd = etcd
	return etcd, nil
}

func (c *Client) options() clientv3.Config {
	cfg := clientv3.Config{
		Endpoints:   c.cfg.Endpoints,
		DialTimeout: opTimeout,
		// etcd refuses clients that ping more often than every five seconds.
		DialKeepAliveTime:    6 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			// gRPC's own limit is two minutes: names would stay wrong that
			// long after etcd is back.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second / 2},
			MinConnectTimeout: opTimeout,
		})},
	}
	if c.trust != nil {
		cfg.DialOptions = append(cfg.DialOptions, grpc.WithTransportCredentials(c.trust))
	}
	if c.login != nil {
		cfg.DialOptions = append(cfg.DialOptions, c.login.options()...)
	}
	return cfg
}

// isLeft reports whether the connections of etcd, which connect returned, were
// left meanwhile.
func (c *Client) isLeft(etcd *clientv3.Client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.etcd != etcd && !c.closed
}

func (cfg Config) password() (string, error) {
	if cfg.PasswordFile == "" {
		if cfg.Username != "" {
			return "", wrong("Username", "user %q: has no password file", cfg.Username)
		}
		return "", nil
	}
	if cfg.Username == "" {
		return "", wrong("PasswordFile", "password file %s: has no user", cfg.PasswordFile)
	}
	b, err := os.ReadFile(cfg.PasswordFile)
	if err != nil {
		return "", wrong("PasswordFile", "password file: %w", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", wrong("PasswordFile", "password file %s: is empty", cfg.PasswordFile)
	}
	return password, nil
}

func checkEndpoints(cfg Config) (endpoints []string, secure bool, err error) {
	secure = cfg.CAFile != "" || cfg.CertFile != ""
	for n, e := range cfg.Endpoints {
		if strings.HasPrefix(e, "unix:") {
			if e, err = checkSocket(e); err != nil {
				return nil, false, err
			}
			if secure {
				return nil, false, wrong("Endpoints", "etcd endpoint %q: is a socket, and needs no certificates", e)
			}
			endpoints = append(endpoints, e)
			continue
		}
		if !strings.Contains(e, "://") {
			scheme := "http"
			if secure {
				scheme = "https"
			}
			e = scheme + "://" + e
		}
		u, err := url.Parse(e)
		switch {
		case strings.Contains(e, "@"):
			return nil, false, wrong("Endpoints", "etcd endpoint %q: a URL is no place for a user and a password", withoutUser(e))
		case err != nil || u.Host == "" || u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
			return nil, false, wrong("Endpoints", "etcd endpoint %q: want http://HOST:PORT, https://HOST:PORT or unix:///PATH", cfg.Endpoints[n])
		case !isPort(u.Port()):
			return nil, false, wrong("Endpoints", "etcd endpoint %q: port %s is none of 1 to 65535", cfg.Endpoints[n], u.Port())
		case u.Scheme != "http" && u.Scheme != "https":
			return nil, false, wrong("Endpoints", "etcd endpoint %q: scheme %q is none of http, https and unix", cfg.Endpoints[n], u.Scheme)
		case n == 0:
			if u.Scheme == "http" && secure {
				return nil, false, wrong("Endpoints", "etcd endpoint %q: is not https, but certificates are given", e)
			}
			secure = u.Scheme == "https"
		case secure != (u.Scheme == "https"):
			return nil, false, wrong("Endpoints", "etcd endpoint %q: http and https don't mix", e)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, secure, nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// withoutUser is what may be told of an endpoint that holds more than it should.
func withoutUser(endpoint string) string {
	return "…" + endpoint[strings.LastIndexByte(endpoint, '@'):]
}
