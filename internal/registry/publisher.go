package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/lasting"
)

// DefaultTTL is how long a node's names outlive its agent.
const DefaultTTL = 15 * time.Second

// refreshInterval is how often a publisher reads its own keys again, so that
// a key that somebody else removed or changed comes back by itself.
const refreshInterval = 30 * time.Second

// PublisherConfig says for which node a [Publisher] writes.
type PublisherConfig struct {
	// Node is what the node's key is to say. Draining and Listed are the
	// Publisher's to say.
	Node Node
	// Alone says that no other host writes to this registry. Then the engine
	// alone tells whose the node's key is: one that was left by another boot, or
	// with another address, is taken over at once.
	Alone bool
	// TTL is how long the node's keys stay when it is gone; whole seconds,
	// DefaultTTL if zero.
	TTL    time.Duration
	Logger *slog.Logger
	// OnCommit, if set, is called for every instance that was written, with
	// the revision it was written at.
	OnCommit func(id string, observed time.Time, revision int64)
}

// Publisher keeps the keys of one node equal to the state that it was last
// told. All of them hang on one lease. Set, Remove and Replace only note what
// is wanted and return at once; Run writes the differences, and tries again
// for as long as it takes.
type Publisher struct {
	client *Client
	cfg    PublisherConfig
	log    *slog.Logger
	wake   chan struct{}
	// What follows is Run's alone: what the log was told, of etcd and of another
	// writer; the lease that was had last; and the wait for a name.
	down, rival *lasting.Trouble
	drained     *lasting.Trouble
	rivals      rivalry
	lease       clientv3.LeaseID
	siege       *siege
	// tenures is Run's, too.
	tenures tenures

	mu sync.Mutex
	// node is what the node's key is to say; nodeChanged, that this isn't
	// written yet.
	node        Node
	nodeChanged bool
	desired     map[string]*Instance
	// keep holds IDs whose registered state stays as it is.
	keep map[string]bool
	// replaced says that desired is the whole truth. Until then nothing that
	// is registered is removed: an agent that just started knows nothing yet.
	replaced bool
	// gone holds what was removed before that.
	gone     map[string]bool
	dirty    map[string]bool
	allDirty bool
	// inherited says since when apps have had their namespaces by what others
	// know, heirs which of that is yet to be handed on.
	inherited map[tenureKey]inheritance
	heirs     map[tenureKey]bool
}

// NewPublisher returns a Publisher that knows of no instance yet.
func NewPublisher(c *Client, cfg PublisherConfig) *Publisher {
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	log := cfg.Logger.With("rack", c.layout.Rack(), "node", cfg.Node.Node)
	return &Publisher{
		client:  c,
		cfg:     cfg,
		log:     log,
		down:    lasting.New(log),
		rival:   lasting.New(log),
		drained: lasting.New(log),
		wake:    make(chan struct{}, 1),
		node:    cfg.Node,
		desired: map[string]*Instance{},
		gone:    map[string]bool{},
		dirty:   map[string]bool{},

		inherited: map[tenureKey]inheritance{},
		heirs:     map[tenureKey]bool{},
	}
}

// Replace states all that is to be registered. What is registered and neither
// in instances nor in keep goes away; keep names instances of which nothing is
// known right now, so that what is registered of them is left alone.
func (p *Publisher) Replace(instances map[string]*Instance, keep map[string]bool) {
	p.change(func() {
		p.desired = make(map[string]*Instance, len(instances))
		maps.Copy(p.desired, instances)
		p.keep = maps.Clone(keep)
		p.replaced, p.allDirty = true, true
		clear(p.gone)
	})
}

// SetNode states what the node's key is to say from now on. Its name is that
// which the Publisher was made with; Draining and Listed don't count.
func (p *Publisher) SetNode(n Node) {
	p.change(func() {
		n.Node = p.cfg.Node.Node
		p.node, p.nodeChanged = n, true
	})
}

// self is what the node's key is to say.
func (p *Publisher) self() Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node
}

// takeNode reports whether that changed since it was last called.
func (p *Publisher) takeNode() (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed, p.nodeChanged = p.nodeChanged, false
	return changed
}

// Set states one instance. The publisher keeps it: don't change it afterwards.
func (p *Publisher) Set(i *Instance) {
	p.change(func() {
		p.desired[i.ID] = i
		delete(p.keep, i.ID)
		delete(p.gone, i.ID)
		p.dirty[i.ID] = true
	})
}

// Remove states that an instance is gone.
func (p *Publisher) Remove(id string) {
	p.change(func() {
		delete(p.desired, id)
		delete(p.keep, id)
		if !p.replaced {
			p.gone[id] = true
		}
		p.dirty[id] = true
	})
}

func (p *Publisher) change(f func()) {
	p.mu.Lock()
	f()
	desiredInstances.WithLabelValues(p.labels()...).Set(float64(len(p.desired)))
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Publisher) labels() []string { return []string{p.client.layout.Rack(), p.cfg.Node.Node} }

// Run writes until ctx ends, which leaves everything in place for as long as
// the lease lasts. It returns a *TakenError if another agent has the node's name
// and still has it after a lease.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.lifted()
	wait := newRetry()
	for ctx.Err() == nil {
		s, err := p.claim(ctx)
		if err == nil {
			wait.Reset()
			err = s.run(ctx)
		}
		var taken *TakenError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &taken):
			return err
		}
		pause := Patience(err, p.down.Since(), wait.NextBackOff())
		if errors.Is(err, errChanged) || errors.Is(err, errMoved) {
			p.meet(s.is)
			pause = max(pause, p.rivals.truce(time.Now()))
		} else {
			p.noteDown(ctx, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// noteDown says why nothing can be written.
func (p *Publisher) noteDown(ctx context.Context, err error) {
	p.down.Turn(reasonOf(err))
	if !p.down.Due() {
		return
	}
	if errors.Is(err, errLeft) || errors.Is(err, errUnrenewed) || errors.Is(err, errLeaseLost) {
		// Why is more to the point, if that is still so.
		switch why := p.client.Check(ctx); {
		case why != nil:
			err = fmt.Errorf("%w: %w", err, why)
		case p.down.Lasts():
			return
		case errors.Is(err, errLeaseLost):
			// The registry may be back for a moment already before it is known
			// that it was away for too long.
			p.log.Info("the node's names are registered anew", "error", err)
			return
		default:
			p.log.Info("the lease is renewed by another connection from now on", "error", err)
			return
		}
	}
	p.down.Note("can't write to the registry: changes wait", err)
}

// noteUp says that all is written again.
func (p *Publisher) noteUp() { p.down.Over("registry is back") }

var errDrained = errors.New("an operator's word")

// noteDrained says whether the node is drained.
func (p *Publisher) noteDrained(is bool, word *Drained) {
	if !is {
		p.drained.Over("the node is not drained any more: its containers are registered")
		return
	}
	p.drained.Note("the node is drained: none of its containers is registered until `rackdns node drain "+p.cfg.Node.Node+" --undo`",
		errDrained, "word", word.String())
}

// Drain removes everything that the node has in the registry, at once. It is
// for after Run has returned.
func (p *Publisher) Drain(ctx context.Context) error {
	p.Replace(nil, nil)
	s, err := p.claim(ctx)
	if err != nil {
		return err
	}
	for {
		err := s.write(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, errChanged) {
			return err
		}
		p.meet(s.is)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(p.rivals.truce(time.Now())):
		}
		if err := s.reread(ctx); err != nil {
			return err
		}
	}
	return p.client.do(ctx, "give back the lease", func(ctx context.Context, _ clientv3.KV) error {
		etcd, err := p.client.connect(ctx)
		if err != nil {
			return err
		}
		_, err = etcd.Revoke(ctx, s.lease)
		return err
	})
}

// take returns what changed since it was last called.
func (p *Publisher) take() (ids map[string]bool, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids, all = p.dirty, p.allDirty
	p.dirty, p.allDirty = map[string]bool{}, false
	return ids, all
}

// untake gives back what take returned, since it was not written.
func (p *Publisher) untake(ids map[string]bool, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.dirty, ids)
	p.allDirty = p.allDirty || all
}

// isReplaced reports whether it is known all that is to be registered.
func (p *Publisher) isReplaced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replaced
}

// wanted returns the instance that is to be registered under id. If leave is
// true, whatever is registered stays.
func (p *Publisher) wanted(id string) (i *Instance, leave bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i = p.desired[id]
	return i, i == nil && (p.keep[id] || !p.replaced && !p.gone[id])
}

// known returns the IDs of all instances that are to be registered.
func (p *Publisher) known() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.desired))
	for id := range p.desired {
		ids = append(ids, id)
	}
	return ids
}
