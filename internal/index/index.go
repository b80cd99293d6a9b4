// Package index is the in-memory picture of a rack from which DNS, HTTP and
// the commands answer. It is fed by a watch of the registry and never asks
// etcd anything on behalf of a reader: a reader takes the current [Snapshot]
// from an atomic pointer and looks things up in it.
package index

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// Config says which registry to follow, and for whom.
type Config struct {
	Registry registry.Config
	Options  Options
	// Preserve is how long instances stay that are gone for no reason of their
	// own, see the package's documentation; DefaultPreserve if 0, never if
	// negative.
	Preserve time.Duration
	// State is a directory in which the last picture is kept, so that an index
	// that starts has one at once; none if empty.
	State  string
	Logger *slog.Logger
}

// Index follows one rack.
type Index struct {
	client *registry.Client
	log    *slog.Logger

	current atomic.Pointer[Snapshot]
	// confirmed is when the registry last said that the index is up to date,
	// in nanoseconds since 1970; 0 before the first sync.
	confirmed atomic.Int64
	synced    chan struct{}

	waiters waiters

	builder *builder
	pending int64

	follower *registry.Follower
	// keeper keeps the picture on disk, nil if there is none.
	keeper *keeper

	cancel context.CancelFunc
	done   chan struct{}
}

// Open checks cfg and returns an Index that is yet to be started.
func Open(cfg Config) (*Index, error) {
	switch cfg.Options.Address {
	case registry.AddressAuto, registry.AddressHost, registry.AddressContainer:
	default:
		return nil, fmt.Errorf("address %q: neither auto, host nor container", cfg.Options.Address)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	client, err := registry.Open(cfg.Registry)
	if err != nil {
		return nil, err
	}
	x := &Index{
		client:  client,
		log:     cfg.Logger,
		synced:  make(chan struct{}),
		builder: newBuilder(cfg.Options, cfg.Preserve, client.Layout(), cfg.Logger),
		done:    make(chan struct{}),
	}
	if cfg.State != "" {
		x.keeper = newKeeper(x, cfg.State, cfg.Registry)
	}
	return x, nil
}

// Start begins to follow the registry. It returns at once, or when the last
// picture was read from disk.
func (x *Index) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	x.cancel = cancel
	followed.add(x)
	x.follower = registry.NewFollower(x.client, (*handler)(x), x.log)
	if x.keeper != nil {
		if at, ok := x.keeper.load(); ok {
			x.follower.Resume(at)
		}
	}
	go func() {
		defer close(x.done)
		x.follower.Run(ctx)
	}()
}

// Close stops following. Snapshots stay valid.
func (x *Index) Close() error {
	if x.cancel != nil {
		x.cancel()
		<-x.done
		if x.keeper != nil {
			x.keeper.close(x.follower.Position())
		}
		followed.remove(x)
	}
	return x.client.Close()
}

// Snapshot returns the picture as it is now, nil before the first sync.
func (x *Index) Snapshot() *Snapshot { return x.current.Load() }

// Synced is closed when there is a first picture.
func (x *Index) Synced() <-chan struct{} { return x.synced }

// Age is how long ago the picture was last known to be the registry's, 0
// before the first sync.
func (x *Index) Age() time.Duration {
	at := x.confirmed.Load()
	if at == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, at)), 0)
}

// Rack returns the name of the rack.
func (x *Index) Rack() string { return x.client.Layout().Rack() }

// publish makes the builder's state the current one.
func (x *Index) publish() {
	b := x.builder
	b.counts[registry.KindInstance] = b.size
	s := b.snapshot()
	x.current.Store(s)
	x.waiters.wake(s.history.after(s.history.index-1), s.history.since < s.history.index)
	if x.keeper != nil {
		x.keeper.changed = true
	}
	rack := x.Rack()
	for _, k := range registry.Kinds() {
		entriesByKind.WithLabelValues(rack, k.String()).Set(float64(b.counts[k]))
	}
	entriesByKind.WithLabelValues(rack, "invalid").Set(float64(len(b.invalid)))
	preservedInstances.WithLabelValues(rack).Set(float64(b.loss.count))
	indexSerial.WithLabelValues(rack).Set(float64(b.offset + b.serial))
	indexRevision.WithLabelValues(rack).Set(float64(b.revision))
}

// handler is the side of an Index that the registry's follower sees.
type handler Index

// BeginList implements registry.Handler.
func (h *handler) BeginList(revision int64, reset bool) {
	h.pending = revision
	h.builder.beginList(reset)
}

// List implements registry.Handler.
func (h *handler) List(entries []registry.Entry) {
	h.builder.applyBatch(entries)
}

// EndList implements registry.Handler.
func (h *handler) EndList() (from int64) {
	from = h.builder.endList(h.pending)
	// Before there are answers: whoever has one finds an age, too.
	h.confirmed.Store(time.Now().UnixNano())
	(*Index)(h).publish()
	select {
	case <-h.synced:
	default:
		close(h.synced)
	}
	return from
}

// Replay implements registry.Handler.
func (h *handler) Replay(since int64, changes []registry.Change) {
	if h.builder.replay(since, changes) {
		(*Index)(h).publish()
	}
}

// Digest implements registry.Handler.
func (h *handler) Digest() registry.Digest { return h.builder.digest }

// Update implements registry.Handler.
func (h *handler) Update(entries []registry.Entry) {
	h.builder.nextSerial()
	h.builder.applyBatch(entries)
	(*Index)(h).publish()
	now := time.Now()
	for _, at := range h.builder.observed {
		propagation.WithLabelValues((*Index)(h).Rack()).Observe(max(now.Sub(at), 0).Seconds())
	}
	h.builder.observed = h.builder.observed[:0]
}

// Confirm implements registry.Handler.
func (h *handler) Confirm() { h.confirmed.Store(time.Now().UnixNano()) }

// shared are the indexes that several users have in common.
var shared struct {
	sync.Mutex
	byKey map[string]*sharing
}

type sharing struct {
	index *Index
	users int
}

// Acquire returns a started Index for cfg, which all callers with an equal
// configuration have in common, and a function to give it back. The last one
// to do so closes it.
func Acquire(cfg Config) (*Index, func() error, error) {
	key := cfg.key()
	shared.Lock()
	defer shared.Unlock()
	s := shared.byKey[key]
	if s == nil {
		x, err := Open(cfg)
		if err != nil {
			return nil, nil, err
		}
		x.Start()
		s = &sharing{index: x}
		if shared.byKey == nil {
			shared.byKey = map[string]*sharing{}
		}
		shared.byKey[key] = s
	}
	s.users++
	return s.index, sync.OnceValue(func() error { return release(key, s) }), nil
}

func release(key string, s *sharing) error {
	shared.Lock()
	defer shared.Unlock()
	if s.users--; s.users > 0 {
		return nil
	}
	delete(shared.byKey, key)
	return s.index.Close()
}

// key tells equal configurations; loggers don't count.
func (cfg Config) key() string {
	cfg.Logger = nil
	// Every field counts, also one that is added later.
	return fmt.Sprintf("%#v", cfg)
}

// Tick implements registry.Handler.
func (h *handler) Tick(now time.Time) {
	if h.builder.tick(now) {
		(*Index)(h).publish()
	}
	if h.keeper != nil {
		h.keeper.tick(now, h.follower.Position)
	}
}
