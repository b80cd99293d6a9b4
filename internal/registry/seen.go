package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/lasting"
)

// SeenFor is for how long a service is known after the last container of it was
// removed.
const SeenFor = time.Hour

// seenTimes are those by which a [SeenKeeper] goes.
type seenTimes struct {
	// kept is SeenFor. lease is that of what an agent has containers of: it is
	// renewed every interval, so that kept is left at any moment, and a service
	// whose last container here goes need not be written again where another
	// agent has one.
	kept, lease, interval time.Duration
	// least is what has to be left of a lease of another agent's, which may be
	// gone, for a key to be left to it.
	least time.Duration
	// farewell is for how long the services that go share one last lease.
	farewell time.Duration
}

var defaultSeenTimes = seenTimes{
	kept: SeenFor, lease: 90 * time.Minute, interval: 20 * time.Minute, least: 50 * time.Minute, farewell: 5 * time.Minute,
}

// Seen is a service that there was a container of within the last hour, running
// or not. Its names are still ours, though there is nothing to be told of them.
type Seen struct {
	App, Service string `json:"-"`
	// Node is the node whose agent wrote it, on a lease of its own.
	Node string `json:"node"`
	// Since says since when the app has each of its namespaces, without a gap of
	// an hour, by what was seen of the service.
	Since map[string]time.Time `json:"since"`
}

// DecodeSeen decodes and checks the value of a seen service's key. It may be
// empty: the namespace is then the app's name.
func DecodeSeen(k Key, value []byte) (*Seen, error) {
	s := new(Seen)
	if len(value) > 0 {
		if err := decode(value, s); err != nil {
			return nil, err
		}
	}
	s.App, s.Service = k.Owner, k.Name
	for ns := range s.Since {
		if err := CheckApp("namespace", ns); err != nil {
			return nil, err
		}
	}
	if err := CheckApp("app", s.App); err != nil {
		return nil, err
	}
	return s, CheckLabel("service", s.Service)
}

// SeenService is what a container is one of, and since when.
type SeenService struct {
	App, Service, Namespace string
	Since                   time.Time
}

func (s SeenService) pair() seenPair { return seenPair{s.App, s.Service} }

type seenPair struct{ app, service string }

// SeenKeeper notes in the registry of which services a node has containers. A
// key is written when nobody else has, and on difference; it is not written again
// to be renewed.
type SeenKeeper struct {
	client *Client
	node   string
	log    *slog.Logger
	// older is told since when an app has had a namespace on another node.
	older func(app, namespace string, since time.Time)
	wake  chan struct{}
	down  *lasting.Trouble
	clock func() time.Time
	times seenTimes

	mu sync.Mutex
	// containers are those that there are, by ID.
	containers map[string]SeenService

	// What follows is Run's alone. held are the services that are noted, with
	// their namespaces; lease is that of the node, last the one of those that went
	// lately, until lastUntil; due is when all of it is to be looked at again.
	held      map[seenPair]map[string]time.Time
	lease     clientv3.LeaseID
	last      clientv3.LeaseID
	lastUntil time.Time
	due       time.Time
	// settled says that the node's lease has been looked at before: by then all
	// containers that there are have been told of.
	settled bool
}

// NewSeenKeeper returns the keeper of a node that knows of no container yet. It
// calls older, from Run, when it reads that an app has had a namespace for longer
// than this node knows.
func NewSeenKeeper(c *Client, node string, older func(app, namespace string, since time.Time), log *slog.Logger) *SeenKeeper {
	log = log.With("rack", c.layout.rack, "node", node)
	return &SeenKeeper{
		client: c, node: node, log: log, older: older, wake: make(chan struct{}, 1), down: lasting.New(log), clock: time.Now, times: defaultSeenTimes,
		containers: map[string]SeenService{}, held: map[seenPair]map[string]time.Time{},
	}
}

// Set states that there is a container, running or not, of a service.
func (k *SeenKeeper) Set(id string, s SeenService) {
	k.change(func() bool { old, ok := k.containers[id]; k.containers[id] = s; return !ok || old != s })
}

// Remove states that there is no such container any more.
func (k *SeenKeeper) Remove(id string) {
	k.change(func() bool { _, ok := k.containers[id]; delete(k.containers, id); return ok })
}

func (k *SeenKeeper) change(f func() bool) {
	k.mu.Lock()
	changed := f()
	k.mu.Unlock()
	if !changed {
		return
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// wanted returns the services that there are containers of, with since when each
// has its namespaces.
func (k *SeenKeeper) wanted() map[seenPair]map[string]time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[seenPair]map[string]time.Time{}
	for _, s := range k.containers {
		if all[s.pair()] == nil {
			all[s.pair()] = map[string]time.Time{}
		}
		merge(all[s.pair()], map[string]time.Time{s.Namespace: s.Since})
	}
	return all
}

// merge puts the earlier of both times into a. It reports whether that changed
// anything. An unknown time is later than any other.
func merge(a, b map[string]time.Time) (changed bool) {
	for ns, since := range b {
		known, ok := a[ns]
		if !ok || !since.IsZero() && (known.IsZero() || since.Before(known)) {
			a[ns], changed = since.UTC(), true
		}
	}
	return changed
}

// Run keeps the registry up to date until ctx ends, which leaves everything in
// place for as long as the leases last. It should begin when the containers are
// known that run: then it finds what the agent before this one has left.
func (k *SeenKeeper) Run(ctx context.Context) {
	retry := newRetry()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		err := k.step(ctx)
		var next time.Duration
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			k.down.Note("can't note in the registry which services there are containers of: names of what ends now are not kept for an hour "+
				"(an agent's role needs to write the keys below seen/: see rackdns etcd-roles)", err)
			next = Patience(err, k.down.Since(), retry.NextBackOff())
			select {
			case <-ctx.Done():
				return
			case <-time.After(next):
			}
			next = 0
		default:
			k.down.Over("which services there are containers of is noted in the registry again")
			retry.Reset()
			next = max(k.due.Sub(k.clock()), 0)
		}
		timer.Reset(next)
	}
}

// step notes what has changed, and looks at all of it when that is due.
func (k *SeenKeeper) step(ctx context.Context) error {
	wanted := k.wanted()
	if due := !k.clock().Before(k.due); due {
		if err := k.renew(ctx, wanted); err != nil {
			return err
		}
	}
	var added, gone []seenPair
	for p, since := range wanted {
		if old, ok := k.held[p]; !ok || merge(maps.Clone(old), since) {
			added = append(added, p)
		}
	}
	for p := range k.held {
		if wanted[p] == nil {
			gone = append(gone, p)
		}
	}
	if err := k.each(ctx, added, func(old *seenKey) (clientv3.LeaseID, error) { return k.keep(ctx, old, wanted[old.pair]) }); err != nil {
		return err
	}
	for _, p := range added {
		if k.held[p] == nil {
			k.held[p] = map[string]time.Time{}
		}
		merge(k.held[p], wanted[p])
	}
	if err := k.each(ctx, gone, func(old *seenKey) (clientv3.LeaseID, error) { return k.leave(ctx, old) }); err != nil {
		return err
	}
	for _, p := range gone {
		delete(k.held, p)
	}
	return nil
}

// renew renews the node's lease, and looks at all keys again: those of others may
// hang on a lease that nobody renews any more.
func (k *SeenKeeper) renew(ctx context.Context, wanted map[seenPair]map[string]time.Time) error {
	if k.lease != 0 {
		err := k.client.do(ctx, "renew the lease of what was seen", func(ctx context.Context, _ clientv3.KV) error {
			etcd, err := k.client.connect(ctx)
			if err == nil {
				_, err = etcd.KeepAliveOnce(ctx, k.lease)
			}
			return err
		})
		if err == nil && k.settled {
			err = k.orphans(ctx, wanted)
		}
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			k.lease = 0
		case err != nil:
			return err
		}
		k.settled = true
	}
	pairs := make([]seenPair, 0, len(k.held))
	for p := range k.held {
		if wanted[p] != nil {
			pairs = append(pairs, p)
		}
	}
	if err := k.each(ctx, pairs, func(old *seenKey) (clientv3.LeaseID, error) { return k.keep(ctx, old, wanted[old.pair]) }); err != nil {
		return err
	}
	k.due = k.clock().Add(k.times.interval)
	return nil
}

// orphans takes note of the keys on the node's lease of services whose last
// container went while no agent was there to see it.
func (k *SeenKeeper) orphans(ctx context.Context, wanted map[seenPair]map[string]time.Time) error {
	return k.client.do(ctx, "ask for the lease of what was seen", func(ctx context.Context, _ clientv3.KV) error {
		etcd, err := k.client.connect(ctx)
		if err != nil {
			return err
		}
		r, err := etcd.TimeToLive(ctx, k.lease, clientv3.WithAttachedKeys())
		if err != nil {
			return err
		}
		for _, key := range r.Keys {
			parsed, err := k.client.layout.Parse(string(key))
			if p := (seenPair{parsed.Owner, parsed.Name}); err == nil && parsed.Kind == KindSeen && wanted[p] == nil && k.held[p] == nil {
				k.held[p] = map[string]time.Time{}
			}
		}
		return nil
	})
}

// seenKey is a key as it was read; value is what it is to say.
type seenKey struct {
	pair     seenPair
	key      string
	revision int64
	lease    clientv3.LeaseID
	old      *Seen
	value    []byte
	left     func(clientv3.LeaseID) (time.Duration, error)
}

// each reads the keys of services and writes those that decide returns a lease
// for. Where somebody else was quicker, it begins again.
func (k *SeenKeeper) each(ctx context.Context, pairs []seenPair, decide func(*seenKey) (clientv3.LeaseID, error)) error {
	left := k.timesLeft(ctx)
	for len(pairs) > 0 {
		n := min(len(pairs), batchOps)
		err := k.batch(ctx, pairs[:n], left, decide)
		if errors.Is(err, errChanged) {
			continue
		}
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			// The lease ended, or is that of another history.
			k.lease, k.last, k.due = 0, 0, time.Time{}
		}
		if err != nil {
			return err
		}
		pairs = pairs[n:]
	}
	return nil
}

func (k *SeenKeeper) batch(ctx context.Context, pairs []seenPair, left func(clientv3.LeaseID) (time.Duration, error), decide func(*seenKey) (clientv3.LeaseID, error)) error {
	var gets []clientv3.Op
	for _, p := range pairs {
		gets = append(gets, clientv3.OpGet(k.client.layout.Seen(p.app, p.service)))
	}
	var read *clientv3.TxnResponse
	err := k.client.do(ctx, "read what was seen", func(ctx context.Context, kv clientv3.KV) (err error) {
		read, err = kv.Txn(ctx).Then(gets...).Commit()
		return err
	})
	if err != nil {
		return err
	}
	all := make([]*seenKey, 0, len(pairs))
	for n, p := range pairs {
		s := &seenKey{pair: p, key: k.client.layout.Seen(p.app, p.service), left: left, old: &Seen{}}
		for _, kv := range read.Responses[n].GetResponseRange().Kvs {
			s.revision, s.lease, s.value = kv.ModRevision, clientv3.LeaseID(kv.Lease), kv.Value
			if old, err := DecodeSeen(Key{Kind: KindSeen, Owner: p.app, Name: p.service}, kv.Value); err == nil {
				s.old = old
			}
		}
		if err := k.adopt(s); err != nil {
			return err
		}
		all = append(all, s)
	}
	var ifs []clientv3.Cmp
	var puts []clientv3.Op
	for _, s := range all {
		lease, err := decide(s)
		if err != nil {
			return err
		}
		if lease == 0 {
			continue
		}
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(s.key), "=", s.revision))
		puts = append(puts, clientv3.OpPut(s.key, string(s.value), clientv3.WithLease(lease)))
	}
	if len(puts) == 0 {
		return nil
	}
	return k.client.do(ctx, "note what was seen", func(ctx context.Context, kv clientv3.KV) error {
		r, err := kv.Txn(ctx).If(ifs...).Then(puts...).Commit()
		if err == nil && !r.Succeeded {
			return errChanged
		}
		return err
	})
}

// keep decides about the key of a service that there is a container of, which
// has its namespaces since some time.
func (k *SeenKeeper) keep(ctx context.Context, s *seenKey, since map[string]time.Time) (clientv3.LeaseID, error) {
	known := maps.Clone(s.old.Since)
	if known == nil {
		known = map[string]time.Time{}
	}
	for ns, at := range known {
		if ours, ok := since[ns]; ok && !at.IsZero() && at.Before(ours) {
			k.older(s.pair.app, ns, at)
		}
	}
	news := merge(known, since)
	if s.revision != 0 && !news {
		if s.lease == k.lease && k.lease != 0 {
			return 0, nil
		}
		if left, err := s.left(s.lease); err != nil || left >= k.times.least {
			return 0, err
		}
	}
	if err := k.grant(ctx, &k.lease, k.times.lease); err != nil {
		return 0, err
	}
	value, err := Overlay(s.value, Seen{Node: k.node, Since: known})
	s.value = value
	return k.lease, err
}

// adopt takes over the lease of the agent before this one, if a key hangs on it,
// so that nothing is written for its restart.
func (k *SeenKeeper) adopt(s *seenKey) error {
	if k.lease != 0 || s.lease == 0 || s.old.Node != k.node {
		return nil
	}
	left, err := s.left(s.lease)
	if err == nil && left > k.times.kept+k.times.farewell {
		// It is to be renewed at once.
		k.lease, k.due = s.lease, time.Time{}
	}
	return err
}

// leave decides about the key of a service whose last container here is gone: it
// is to last for an hour from now.
func (k *SeenKeeper) leave(ctx context.Context, s *seenKey) (clientv3.LeaseID, error) {
	if s.revision != 0 && s.lease != k.lease {
		left, err := s.left(s.lease)
		if err != nil || left >= k.times.kept {
			return 0, err
		}
	}
	if !k.clock().Before(k.lastUntil) {
		k.last = 0
	}
	fresh := k.last == 0
	if err := k.grant(ctx, &k.last, k.times.kept+k.times.farewell); err != nil {
		return 0, err
	}
	if fresh {
		k.lastUntil = k.clock().Add(k.times.farewell)
	}
	since := maps.Clone(k.held[s.pair])
	if since == nil {
		since = map[string]time.Time{}
	}
	merge(since, s.old.Since)
	value, err := Overlay(s.value, Seen{Node: k.node, Since: since})
	s.value = value
	return k.last, err
}

// grant gets a lease if there is none yet.
func (k *SeenKeeper) grant(ctx context.Context, lease *clientv3.LeaseID, ttl time.Duration) error {
	if *lease != 0 {
		return nil
	}
	return k.client.do(ctx, "get a lease for what was seen", func(ctx context.Context, _ clientv3.KV) error {
		etcd, err := k.client.connect(ctx)
		if err != nil {
			return err
		}
		granted, err := etcd.Grant(ctx, int64(ttl/time.Second))
		if err == nil {
			*lease = granted.ID
		}
		return err
	})
}

// timesLeft returns what tells how much is left of a lease, which it asks once.
func (k *SeenKeeper) timesLeft(ctx context.Context) func(clientv3.LeaseID) (time.Duration, error) {
	known := map[clientv3.LeaseID]time.Duration{}
	return func(lease clientv3.LeaseID) (time.Duration, error) {
		if left, ok := known[lease]; ok {
			return left, nil
		}
		if lease == 0 {
			// Somebody put it there by hand, for ever.
			return k.times.lease, nil
		}
		err := k.client.do(ctx, "ask for the lease of what was seen", func(ctx context.Context, _ clientv3.KV) error {
			etcd, err := k.client.connect(ctx)
			if err != nil {
				return err
			}
			r, err := etcd.TimeToLive(ctx, lease)
			if err == nil {
				known[lease] = time.Duration(max(r.TTL, 0)) * time.Second
			}
			return err
		})
		return known[lease], err
	}
}

// MarshalJSON leaves out times that nobody knows.
func (s Seen) MarshalJSON() ([]byte, error) {
	since := map[string]*time.Time{}
	for _, ns := range slices.Sorted(maps.Keys(s.Since)) {
		at := s.Since[ns]
		if since[ns] = &at; at.IsZero() {
			since[ns] = nil
		}
	}
	return json.Marshal(struct {
		Node  string                `json:"node"`
		Since map[string]*time.Time `json:"since"`
	}{s.Node, since})
}

// String names the service.
func (s *Seen) String() string { return fmt.Sprintf("%s.%s", s.Service, s.App) }
