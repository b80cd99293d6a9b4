package embedded

import (
	"context"
	"errors"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// guard refuses whoever comes by TCP and can't be known by a certificate nor,
// since etcd has no users (any more), by a password.
type guard struct {
	users atomic.Pointer[auth.AuthStore]
	// byCertificate says that TLS has refused them already.
	byCertificate atomic.Bool
}

var errNoUsers = errors.New("it has no users, so a TCP address needs --etcd-listen-client-ca; or add users first, by way of the socket, and `etcdctl auth enable`")

// open lets requests in. It is an error if all by TCP would be refused.
func (g *guard) open(users auth.AuthStore, cfg Config) error {
	g.byCertificate.Store(cfg.ClientCAFile != "")
	g.users.Store(&users)
	if cfg.Listen != "" && cfg.ClientCAFile == "" && !users.IsAuthEnabled() {
		return errNoUsers
	}
	return nil
}

func (g *guard) check(ctx context.Context) error {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil && p.Addr.Network() == "unix" {
		return nil // the socket's mode has decided
	}
	if users := g.users.Load(); g.byCertificate.Load() || users != nil && (*users).IsAuthEnabled() {
		return nil
	}
	return status.Error(codes.PermissionDenied, "this etcd has no users: it answers only at its socket")
}

// options has every call checked.
func (g *guard) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := g.check(ctx); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := g.check(s.Context()); err != nil {
				return err
			}
			return handle(srv, s)
		}),
	}
}
