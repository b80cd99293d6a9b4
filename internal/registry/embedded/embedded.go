// Package embedded runs an etcd member inside this process: the registry of a
// rack that has one host.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// readyTimeout is how long etcd may take to elect itself and serve; replaying
// a long log takes a while.
const readyTimeout = time.Minute

// quota is the most that the member stores, in bytes: enough for 300,000
// instances and the history of a busy hour.
const quota = 8 << 30

// Config says where the member keeps its data and listens.
type Config struct {
	// Dir is the data directory, which is created if need be.
	Dir string
	// Listen is the address for clients, HOST:PORT; port 0 is a free one.
	Listen string
}

// InUseError says that somebody else listens on the address.
type InUseError struct{ Address string }

// Error returns one line.
func (e *InUseError) Error() string { return "address " + e.Address + " is in use" }

// Member is a running etcd.
type Member struct {
	etcd *embed.Etcd
	log  zap.AtomicLevel
	lock *os.File
	// servers are those of gRPC.
	mu      sync.Mutex
	servers []*grpc.Server
}

// Start returns when the member serves. Its errors name the directory or the
// address that is the cause.
func Start(ctx context.Context, cfg Config) (*Member, error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	m := &Member{log: zap.NewAtomicLevelAt(zap.ErrorLevel), lock: lock}
	if m.etcd, err = m.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return m, nil
}

func (m *Member) start(ctx context.Context, cfg Config) (*embed.Etcd, error) {
	if err := probe(cfg.Listen); err != nil {
		return nil, err
	}
	ec := embed.NewConfig()
	ec.Dir = filepath.Join(cfg.Dir, "etcd")
	ec.Name = "rackdns"
	log, err := newLogger(m.log)
	if err != nil {
		return nil, err
	}
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	client := url.URL{Scheme: "http", Host: cfg.Listen}
	ec.ListenClientUrls, ec.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	// A single member talks to no peer; it only insists on a listener.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	ec.InitialCluster = ec.Name + "=" + peer.String()
	ec.AutoCompactionMode = embed.CompactorModePeriodic
	ec.AutoCompactionRetention = "1h"
	ec.QuotaBackendBytes = quota
	ec.ServiceRegister = m.addServer

	etcd, err := embed.StartEtcd(ec)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &InUseError{Address: cfg.Listen}
	}
	if err != nil {
		return nil, fmt.Errorf("etcd in %s: %w", ec.Dir, err)
	}
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case err = <-etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C:
		err = fmt.Errorf("not ready after %s", readyTimeout)
	}
	etcd.Close()
	return nil, fmt.Errorf("etcd in %s: %w", ec.Dir, err)
}

// newLogger returns what etcd logs with: only what needs somebody's attention.
func newLogger(level zap.AtomicLevel) (*zap.Logger, error) {
	c := zap.NewProductionConfig()
	c.Level = level
	c.Encoding = "console"
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	c.DisableCaller, c.DisableStacktrace = true, true
	l, err := c.Build()
	if err != nil {
		return nil, fmt.Errorf("etcd's log: %w", err)
	}
	return l.Named("etcd"), nil
}

// probe finds a taken address before etcd has touched the disk.
func probe(address string) error {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &InUseError{Address: address}
	}
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	return l.Close()
}

// lockDir makes sure that the directory is there, can be written, and is
// nobody else's: etcd itself would wait for the other one without a word.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, cause(err))
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, cause(err))
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(lock.Name())
		_ = lock.Close()
		return nil, fmt.Errorf("data directory %s: in use by another rackdns (process %s)", dir, strings.TrimSpace(string(holder)))
	}
	if err := lock.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", dir, cause(err)), lock.Close())
	}
	if _, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", dir, cause(err)), lock.Close())
	}
	return lock, nil
}

// cause takes the path off an error that names it already.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Endpoint is the URL that clients use.
func (m *Member) Endpoint() string { return "http://" + m.etcd.Clients[0].Addr().String() }

// Err delivers an error that ends the member.
func (m *Member) Err() <-chan error { return m.etcd.Err() }

// Close stops the member and returns when its files are closed.
func (m *Member) Close() error {
	// It reports its own closing of its listeners as so many errors.
	m.log.SetLevel(zap.FatalLevel)
	// It would wait for seconds for clients that watch for ever.
	m.stopServers()
	m.etcd.Close()
	return m.lock.Close()
}

func (m *Member) addServer(s *grpc.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers = append(m.servers, s)
}

func (m *Member) stopServers() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.servers {
		s.Stop()
	}
	m.servers = nil
}
