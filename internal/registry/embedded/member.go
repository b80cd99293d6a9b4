package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// readyTimeout is how long etcd may take to elect itself and serve; replaying
// a long log takes a while.
const readyTimeout = time.Minute

// Sizes in bytes. etcd's own are for clusters with a disk each: a log of two
// files of 64 MB, and a database that is mapped whole from the beginning.
const (
	// quota is the most that the database may hold. It is etcd's default, the
	// only one for which it leaves the mapping to initialMap. 300,000 instances
	// take 295 MB of it, and each 300,000 changes of the last hour as much.
	quota = storage.DefaultQuotaBytes
	// initialMap is what is mapped of the database at first; it grows with it.
	initialMap = 32 << 20
	// segment is the size of a file of the log, of which there is one ahead.
	segment = 1 << 20
	// wastedMB is what has to be free inside the database before a start takes
	// the time to give it back, in megabytes.
	wastedMB = 64
)

// member is an etcd inside this process.
type member struct {
	cfg  Config
	etcd *embed.Etcd
	log  zap.AtomicLevel
	// servers are those of gRPC.
	mu      sync.Mutex
	servers []*grpc.Server
	guard   guard
}

// startMember returns when the member serves. Its errors name the directory or
// the address that is the cause.
func startMember(ctx context.Context, cfg Config, log *zap.Logger, level zap.AtomicLevel) (*member, error) {
	m := &member{cfg: cfg, log: level}
	ec, err := m.config(log)
	if err != nil {
		return nil, err
	}
	etcd, err := embed.StartEtcd(ec)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &InUseError{Address: cfg.Listen}
	}
	if err != nil {
		return nil, fmt.Errorf("etcd in %s: %w", ec.Dir, err)
	}
	m.etcd = etcd
	err = os.Chmod(cfg.Socket, 0o600)
	if err == nil {
		err = m.awaitReady(ctx)
	}
	if err == nil {
		err = m.guard.open(etcd.Server.AuthStore(), cfg)
	}
	if err != nil {
		etcd.Close()
		return nil, fmt.Errorf("etcd in %s: %w", ec.Dir, err)
	}
	return m, nil
}

func (m *member) config(log *zap.Logger) (*embed.Config, error) {
	wal.SegmentSizeBytes = segment
	backend.InitialMmapSize = initialMap
	ec := embed.NewConfig()
	ec.Dir = filepath.Join(m.cfg.Dir, "etcd")
	ec.Name = "rackdns"
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	clients := []url.URL{{Scheme: "unix", Path: m.cfg.Socket}}
	if m.cfg.Listen != "" {
		u := url.URL{Scheme: "http", Host: m.cfg.Listen}
		if m.cfg.CertFile != "" {
			u.Scheme = "https"
			ec.ClientTLSInfo = transport.TLSInfo{
				CertFile: m.cfg.CertFile, KeyFile: m.cfg.KeyFile,
				TrustedCAFile: m.cfg.ClientCAFile, ClientCertAuth: m.cfg.ClientCAFile != "",
			}
		}
		if err := probe(m.cfg.Listen); err != nil {
			return nil, err
		}
		clients = append(clients, u)
	}
	ec.ListenClientUrls, ec.AdvertiseClientUrls = clients, clients
	// A single member has a name among peers, which stands in its data for
	// ever, but listens to none.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = nil, []url.URL{peer}
	ec.InitialCluster = ec.Name + "=" + peer.String()
	// JSON by HTTP is what a browser can speak. What is left at /metrics and
	// /version needs a name that no page can have; an empty list would be all.
	ec.EnableGRPCGateway = false
	ec.CORS = map[string]struct{}{"none": {}}
	ec.HostWhitelist = map[string]struct{}{"localhost": {}}
	ec.GRPCAdditionalServerOptions = m.guard.options()
	ec.AutoCompactionMode = embed.CompactorModePeriodic
	ec.AutoCompactionRetention = "1h"
	ec.QuotaBackendBytes = quota
	ec.BootstrapDefragThresholdMegabytes = wastedMB
	ec.ServiceRegister = m.addServer
	return ec, nil
}

func (m *member) awaitReady(ctx context.Context) error {
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-m.etcd.Server.ReadyNotify():
		return nil
	case err := <-m.etcd.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("not ready after %s", readyTimeout)
	}
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

// close stops the member and returns when its files are closed.
func (m *member) close() {
	// It reports its own closing of its listeners as so many errors.
	m.log.SetLevel(zap.FatalLevel)
	// It would wait for seconds for clients that watch for ever.
	m.stopServers()
	m.etcd.Close()
}

func (m *member) addServer(s *grpc.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers = append(m.servers, s)
}

func (m *member) stopServers() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.servers {
		s.Stop()
	}
	m.servers = nil
}
