// Package benchetcd is the etcd of benchmarks: one member at a TCP address,
// open to all, since it holds nothing worth a lock.
package benchetcd

import (
	"context"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// Serve runs etcd until ctx ends.
func Serve(ctx context.Context, dir, address string) error {
	servers := make(chan *grpc.Server, 1) // one listener, without TLS
	cfg := embed.NewConfig()
	cfg.Dir, cfg.Name = dir, "bench"
	client, peer := url.URL{Scheme: "http", Host: address}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	cfg.QuotaBackendBytes = 8 << 30
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.ServiceRegister = func(s *grpc.Server) { servers <- s }
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("etcd in %s: %w", dir, err)
	}
	defer etcd.Close()
	select {
	case <-ctx.Done():
	case err := <-etcd.Err():
		return err
	}
	// It would wait for clients that watch for ever.
	(<-servers).Stop()
	return nil
}
