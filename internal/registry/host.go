package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
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
		ID: hostID(hostName(app, service, netip.AddrPortFrom(ip, at.Port()))), Node: NodeAPI, App: app, Service: service, Namespace: app,
		Status: StatusRunning, Host: ip,
		Ports: []Port{{Protocol: TCP, Container: at.Port(), Bindings: []Binding{{IP: ip, Port: at.Port()}}}},
		// It has no network that it could be reached by, whatever is configured.
		Address: AddressHost,
		Weight:  KeepWeight,
	}
}

// hostID is a label like that of a container. It is always the same for a
// host, so that the name below its service outlives a renewal.
func hostID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:6])
}

// hostName is the end of a host's key: all that tells it from others. A host
// can have several apps' services of one name, and one at several ports.
func hostName(app, service string, at netip.AddrPort) string {
	return app + "/" + service + "/" + at.Addr().String() + "~" + strconv.Itoa(int(at.Port()))
}

// olderHostName is what keys ended in before they had app and port.
func olderHostName(service string, ip netip.Addr) string { return service + "~" + ip.String() }

// hostKey is the key of one of [HostInstance]'s.
func (i *Instance) hostKey() Key {
	var port uint16
	if len(i.Ports) > 0 {
		port = i.Ports[0].Container
	}
	return Key{KindInstance, NodeAPI, hostName(i.App, i.Service, netip.AddrPortFrom(i.Host, port))}
}

// checkHostKey checks an instance that an API's key holds, an older one's too.
func (i *Instance) checkHostKey(name string) error {
	ok := i.Node == NodeAPI && i.Host.IsValid()
	if ok && name != olderHostName(i.Service, i.Host) {
		ok = slices.ContainsFunc(i.Ports, func(p Port) bool {
			return name == hostName(i.App, i.Service, netip.AddrPortFrom(i.Host, p.Container))
		})
	}
	if !ok {
		return fmt.Errorf("service %s at %s: contradicts its key", Quote(i.Service), i.Host)
	}
	return nil
}

// Register registers one of [HostInstance]'s for as long as ttl, in whole
// seconds, or renews it. What was registered before is overwritten, but for a
// weight that isn't given (KeepWeight) and the time at which it started. If it is
// as it was, its lease alone is renewed.
func (c *Client) Register(ctx context.Context, i Instance, ttl time.Duration) error {
	_, err := c.registerHost(ctx, i, ttl)
	return err
}

// registerHost is Register, and returns the lease.
func (c *Client) registerHost(ctx context.Context, i Instance, ttl time.Duration) (lease clientv3.LeaseID, err error) {
	if ttl < time.Second || ttl%time.Second != 0 {
		return 0, fmt.Errorf("TTL %s: want whole seconds, one or more", ttl)
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
		return 0, err
	}
	if err := checked.check(i.hostKey()); err != nil {
		return 0, err
	}
	for {
		lease, err := c.register(ctx, i, ttl)
		if !errors.Is(err, errChanged) && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return lease, err
		}
	}
}

// register returns errChanged if it has to be done again.
func (c *Client) register(ctx context.Context, i Instance, ttl time.Duration) (lease clientv3.LeaseID, err error) {
	k := i.hostKey()
	key := c.layout.Instance(k.Owner, k.Name)
	kv, err := c.readHost(ctx, key)
	if err != nil {
		return 0, err
	}
	swap := hostSwap{what: "register " + i.Service, read: []*mvccpb.KeyValue{kv}}
	older, was, err := c.readOlderHost(ctx, i.Service, i.Host)
	if err != nil {
		return 0, err
	}
	if was == nil || was.hostKey() != k {
		older, was = nil, nil // there is none, or it is another's
	} else {
		swap.read, swap.ops = append(swap.read, older), append(swap.ops, clientv3.OpDelete(string(older.Key)))
	}
	if is, err := DecodeInstance(k, kv.Value); err == nil {
		was = is
	}
	if was != nil {
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
		return 0, err
	}
	old := clientv3.LeaseID(kv.Lease)
	lease, err = c.hostLease(ctx, key, old, ttl)
	if err != nil {
		return 0, err
	}
	if lease == old && older == nil && sameButObserved(kv.Value, value) {
		return lease, nil
	}
	swap.ops = append(swap.ops, clientv3.OpPut(key, string(value), clientv3.WithLease(lease)))
	err = c.swapHost(ctx, swap)
	// One of them has no key now: the new one, if it came to nothing.
	switch {
	case lease == old:
	case err != nil:
		c.dropLease(ctx, lease)
	default:
		c.dropLease(ctx, old)
	}
	if err == nil && older != nil {
		c.dropLease(ctx, clientv3.LeaseID(older.Lease))
	}
	return lease, err
}

// sameButObserved reports whether two values say the same of an instance, whenever
// that was seen.
func sameButObserved(a, b []byte) bool {
	var was, is map[string]any
	if json.Unmarshal(a, &was) != nil || json.Unmarshal(b, &is) != nil {
		return false
	}
	delete(was, "observed")
	delete(is, "observed")
	return reflect.DeepEqual(was, is)
}

// SetHostWeight gives a registered host another weight. The error wraps
// [ErrNotRegistered] if there is no such host.
func (c *Client) SetHostWeight(ctx context.Context, app, service string, at netip.AddrPort, weight int) error {
	if err := CheckWeight(weight); err != nil {
		return err
	}
	for {
		kv, err := c.findHost(ctx, app, service, at)
		if err != nil {
			return err
		}
		k, err := c.layout.Parse(string(kv.Key))
		if err != nil {
			return err
		}
		i, err := DecodeInstance(k, kv.Value)
		if err != nil {
			return err
		}
		i.Weight = weight
		value, err := Overlay(kv.Value, *i)
		if err != nil {
			return err
		}
		err = c.swapHost(ctx, hostSwap{"set the weight of " + service, []*mvccpb.KeyValue{kv}, []clientv3.Op{
			clientv3.OpPut(string(kv.Key), string(value), clientv3.WithIgnoreLease()),
		}})
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

// Deregister removes a host that was registered as an instance of an app's
// service, at the port of at, or with port 0 at the only one that it has there.
// If there is none it returns an error that wraps [ErrNotRegistered], if there
// are several one that names their ports; then nothing is removed.
func (c *Client) Deregister(ctx context.Context, app, service string, at netip.AddrPort) error {
	if err := CheckApp("app", app); err != nil {
		return err
	}
	if err := CheckLabel("service", service); err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	if err := CheckAddr("host", ip); err != nil {
		return err
	}
	for {
		kv, err := c.findHost(ctx, app, service, netip.AddrPortFrom(ip, at.Port()))
		if err != nil {
			return err
		}
		err = c.swapHost(ctx, hostSwap{"remove " + service, []*mvccpb.KeyValue{kv}, []clientv3.Op{clientv3.OpDelete(string(kv.Key))}})
		if err == nil {
			c.dropLease(ctx, clientv3.LeaseID(kv.Lease))
		}
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

// findHost returns the one key of a host's registration.
func (c *Client) findHost(ctx context.Context, app, service string, at netip.AddrPort) (*mvccpb.KeyValue, error) {
	prefix := c.layout.Instance(NodeAPI, app+"/"+service+"/"+at.Addr().String()+"~")
	var r *clientv3.GetResponse
	err := c.do(ctx, "read the registry", func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Get(ctx, prefix, clientv3.WithPrefix())
		return err
	})
	if err != nil {
		return nil, err
	}
	var (
		found []*mvccpb.KeyValue
		ports []string
	)
	add := func(kv *mvccpb.KeyValue, port string) {
		if at.Port() == 0 || port == strconv.Itoa(int(at.Port())) {
			found, ports = append(found, kv), append(ports, port)
		}
	}
	for _, kv := range r.Kvs {
		add(kv, string(kv.Key[len(prefix):]))
	}
	older, was, err := c.readOlderHost(ctx, service, at.Addr())
	switch {
	case err != nil:
		return nil, err
	case was != nil && was.App == app && len(was.Ports) > 0:
		add(older, strconv.Itoa(int(was.Ports[0].Container)))
	}
	what := at.Addr().String()
	if at.Port() != 0 {
		what = at.String()
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("service %s of app %s at %s: %w in rack %s", service, app, what, ErrNotRegistered, c.layout.rack)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("service %s of app %s at %s: is registered at several ports, %s: say which", service, app, what, strings.Join(ports, ", "))
}

// readOlderHost returns what there is of a host at a key that tells neither app
// nor port; was is nil if that is nothing which can be used.
func (c *Client) readOlderHost(ctx context.Context, service string, ip netip.Addr) (kv *mvccpb.KeyValue, was *Instance, err error) {
	k := Key{KindInstance, NodeAPI, olderHostName(service, ip)}
	if kv, err = c.readHost(ctx, c.layout.Instance(k.Owner, k.Name)); err != nil {
		return nil, nil, err
	}
	if i, err := DecodeInstance(k, kv.Value); err == nil {
		was = i
	}
	return kv, was, nil
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

// hostSwap are changes that are made if what was read is still so.
type hostSwap struct {
	what string
	read []*mvccpb.KeyValue
	ops  []clientv3.Op
}

// swapHost makes all changes, or none.
func (c *Client) swapHost(ctx context.Context, s hostSwap) error {
	ifs := make([]clientv3.Cmp, 0, len(s.read))
	for _, kv := range s.read {
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision))
	}
	var r *clientv3.TxnResponse
	err := c.do(ctx, s.what, func(ctx context.Context, kv clientv3.KV) (err error) {
		r, err = kv.Txn(ctx).If(ifs...).Then(s.ops...).Commit()
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
