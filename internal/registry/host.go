package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// HostTTL is how long a registered host stays unless told otherwise.
const HostTTL = 10 * time.Minute

// ErrNotRegistered says that there is no such host to be removed.
var ErrNotRegistered = errors.New("is not registered")

// HostInstance returns the instance that a host is which no agent watches, for
// [Client.Register]. It has no weight yet, which means: the one it has had.
func HostInstance(app, service string, at netip.AddrPort) Instance {
	ip := at.Addr().Unmap()
	return Instance{
		ID: hostID(service, ip), Node: NodeAPI, App: app, Service: service, Namespace: app,
		Status: StatusRunning, Host: ip,
		Ports: []Port{{Protocol: TCP, Container: at.Port(), Bindings: []Binding{{IP: ip, Port: at.Port()}}}},
		// It has no network that it could be reached by, whatever is configured.
		Address: AddressHost,
		Weight:  KeepWeight,
	}
}

// hostID is a label like that of a container. It is always the same for a
// host, so that the name below its service outlives a renewal.
func hostID(service string, ip netip.Addr) string {
	sum := sha256.Sum256([]byte(hostName(service, ip)))
	return hex.EncodeToString(sum[:6])
}

// hostName is the last part of a host's key.
func hostName(service string, ip netip.Addr) string { return service + "~" + ip.String() }

// Register registers one of [HostInstance]'s for as long as ttl, in whole
// seconds, or renews it. What was registered before is overwritten, but for a
// weight that isn't given (KeepWeight) and the time at which it started.
func (c *Client) Register(ctx context.Context, i Instance, ttl time.Duration) error {
	if ttl < time.Second || ttl%time.Second != 0 {
		return fmt.Errorf("TTL %s: want whole seconds, one or more", ttl)
	}
	if i.Observed.IsZero() {
		i.Observed = time.Now().UTC()
	}
	if i.Started.IsZero() {
		i.Started = i.Observed
	}
	checked := i
	if i.Weight == KeepWeight {
		checked.Weight = DefaultWeight
	}
	if err := checked.checkPortNames(); err != nil {
		return err
	}
	if err := checked.check(Key{KindInstance, NodeAPI, hostName(i.Service, i.Host)}); err != nil {
		return err
	}
	for {
		err := c.register(ctx, i, ttl)
		if !errors.Is(err, errChanged) && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
	}
}

// register returns errChanged if it has to be done again.
func (c *Client) register(ctx context.Context, i Instance, ttl time.Duration) error {
	k := Key{KindInstance, NodeAPI, hostName(i.Service, i.Host)}
	key := c.layout.Instance(k.Owner, k.Name)
	kv, err := c.readHost(ctx, key)
	if err != nil {
		return err
	}
	if was, err := DecodeInstance(k, kv.Value); err == nil {
		i.Started = was.Started
		if i.Weight == KeepWeight {
			i.Weight = was.Weight
		}
	}
	if i.Weight == KeepWeight {
		i.Weight = DefaultWeight
	}
	value, err := Overlay(kv.Value, i)
	if err != nil {
		return err
	}
	old := clientv3.LeaseID(kv.Lease)
	lease, err := c.hostLease(ctx, key, old, ttl)
	if err != nil {
		return err
	}
	err = c.swapHost(ctx, "register "+i.Service, kv, clientv3.OpPut(key, string(value), clientv3.WithLease(lease)))
	// One of them has no key now: the new one, if it came to nothing.
	switch {
	case lease == old:
	case err != nil:
		c.dropLease(ctx, lease)
	default:
		c.dropLease(ctx, old)
	}
	return err
}

// Deregister removes a host that was registered. If there is none it returns
// an error that wraps [ErrNotRegistered].
func (c *Client) Deregister(ctx context.Context, service string, ip netip.Addr) error {
	if err := CheckLabel("service", service); err != nil {
		return err
	}
	ip = ip.Unmap()
	if err := CheckAddr("host", ip); err != nil {
		return err
	}
	key := c.layout.Instance(NodeAPI, hostName(service, ip))
	for {
		kv, err := c.readHost(ctx, key)
		if err != nil {
			return err
		}
		if kv.ModRevision == 0 {
			return fmt.Errorf("service %s at %s: %w in rack %s", service, ip, ErrNotRegistered, c.layout.rack)
		}
		if err = c.swapHost(ctx, "remove "+service, kv, clientv3.OpDelete(key)); err == nil {
			c.dropLease(ctx, clientv3.LeaseID(kv.Lease))
		}
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

// readHost returns what is registered at the key, and its name alone if that is
// nothing.
func (c *Client) readHost(ctx context.Context, key string) (*mvccpb.KeyValue, error) {
	var r *clientv3.GetResponse
	err := c.do(ctx, "read the registry", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(r.Kvs) == 0 {
		return &mvccpb.KeyValue{Key: []byte(key)}, nil
	}
	return r.Kvs[0], nil
}

// swapHost does op if the key is still what was read.
func (c *Client) swapHost(ctx context.Context, what string, read *mvccpb.KeyValue, op clientv3.Op) error {
	var r *clientv3.TxnResponse
	err := c.do(ctx, what, func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(string(read.Key)), "=", read.ModRevision)).Then(op).Commit()
		return err
	})
	if err == nil && !r.Succeeded {
		err = errChanged
	}
	return err
}

// hostLease returns a lease that ends in ttl: the old one renewed, if it is the
// key's alone and as long, else a new one.
func (c *Client) hostLease(ctx context.Context, key string, old clientv3.LeaseID, ttl time.Duration) (lease clientv3.LeaseID, err error) {
	etcd, err := c.connect(ctx)
	if err != nil {
		return 0, c.inWords(ctx, "write to the registry", err)
	}
	seconds := int64(ttl / time.Second)
	err = c.do(ctx, "get a lease", func(ctx context.Context, _ clientv3.KV) error {
		if old != 0 {
			is, err := etcd.TimeToLive(ctx, old, clientv3.WithAttachedKeys())
			if err != nil {
				return err
			}
			if is.GrantedTTL == seconds && slices.EqualFunc(is.Keys, []string{key}, func(a []byte, b string) bool { return string(a) == b }) {
				if alive, err := etcd.KeepAliveOnce(ctx, old); err == nil && alive.TTL > 0 {
					lease = old
					return nil
				}
			}
		}
		granted, err := etcd.Grant(ctx, seconds)
		if err == nil {
			lease = granted.ID
		}
		return err
	})
	return lease, err
}

// dropLease ends a lease that no key needs any more. If that fails, it ends by
// itself.
func (c *Client) dropLease(ctx context.Context, lease clientv3.LeaseID) {
	// Whoever gave up has to be cleaned up after as well.
	ctx = context.WithoutCancel(ctx)
	etcd, err := c.connect(ctx)
	if err != nil || lease == 0 {
		return
	}
	_ = c.try(ctx, func(ctx context.Context, _ clientv3.KV) error {
		is, err := etcd.TimeToLive(ctx, lease, clientv3.WithAttachedKeys())
		if err == nil && is.TTL > 0 && len(is.Keys) == 0 {
			_, err = etcd.Revoke(ctx, lease)
		}
		return err
	})
}
