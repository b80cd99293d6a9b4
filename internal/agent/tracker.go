package agent

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/lasting"
	"github.com/rackdns/rackdns/internal/registry"
)

// publisher is what the agent needs of a [registry.Publisher]: to be told what
// is wanted, without ever waiting for the registry.
type publisher interface {
	Run(ctx context.Context) error
	Replace(instances map[string]*registry.Instance, keep map[string]bool)
	Set(i *registry.Instance)
	Remove(id string)
	SetNode(n registry.Node)
	Drain(ctx context.Context) error
}

// tracker knows all running containers of the engine and what was last
// published of each. Everything that changes it, events, lists and inspects,
// does so under its lock and never waits there.
type tracker struct {
	queue *queue
	sink  publisher
	log   *slog.Logger
	// grace is how long, beyond its stop timeout, a container may take to die
	// of its stop signal.
	grace time.Duration
	// confirm is how long the engine may take to tell of a kill that was heard
	// of.
	confirm time.Duration
	// fateOf says what a signal does to a container.
	fateOf func(f *facts, signal int) fate
	// watching waits for the goroutines that look at processes, or wait for
	// their ends.
	watching sync.WaitGroup

	mu sync.Mutex
	// skew is how far the engine's clock is ahead of this host's, which
	// matters where the engine is on another one.
	skew    time.Duration
	entries map[string]*entry
	// joiners holds, by the ID of a container, those that share its network.
	joiners map[string]map[string]bool
	// told is what the log was last told of a container, so that it is told
	// once.
	told map[string]string
	// folded are the names that became one.
	folded folded
	// kept are instances that the publisher was asked to leave as they are.
	kept map[string]bool
	// recalled are instances that were draining when the agent started, by ID.
	recalled map[string]*registry.Instance
	// existing are the containers that there are, running or not, and seen is
	// told of them; nil if nobody is.
	existing map[string]existing
	seen     seenSink
	// pending are the containers of the current list that nobody looked at
	// yet; nil if there is no current list.
	pending map[string]bool
	// ready is closed when the first list is done with.
	ready chan struct{}
	once  sync.Once
	// networked is told when the engine's networks may be others.
	networked func()
}

// entry is one container. It is replaced by another when the container dies,
// so that an inspect from before that finds its entry gone.
type entry struct {
	facts    *facts
	instance *registry.Instance
	// hidden is what was published in its place: see [decision].
	hidden  *registry.Instance
	refusal *Refusal
	// kills are the latest signals sent to the container, by number.
	kills map[int]kill
	hint  hint
	// survived is the time of a signal that the container outlived.
	survived time.Time
	// fate is what the stop signal does to the run that began at fateRun.
	fate    fate
	fateRun time.Time
	// asking says that somebody is finding that out.
	asking bool
	// lingering is that the container runs though it was sent that signal long
	// ago; nil if it never did.
	lingering *lasting.Trouble
	// init is the process of the container's run, nil if it isn't watched.
	init *initProcess
	// ended is the start of a run whose process is known to have ended.
	ended time.Time
	// asked is when the last look at the container began.
	asked time.Time
	// observed is the time of the first event since the last inspect.
	observed time.Time
	// failures counts the inspects that failed in a row.
	failures int
	// silent is that the engine doesn't say what the container is; nil if it
	// always did.
	silent *lasting.Trouble
}

func newTracker(q *queue, sink publisher, log *slog.Logger, grace time.Duration) *tracker {
	return &tracker{
		queue:   q,
		sink:    sink,
		log:     log,
		grace:   grace,
		confirm: confirmWithin,
		fateOf:  fateOf,
		entries: map[string]*entry{},
		joiners: map[string]map[string]bool{},
		told:    map[string]string{},
		folded:  newFolded(),
		ready:   make(chan struct{}),

		existing:  map[string]existing{},
		networked: func() {},
	}
}

// setClock tells how far the engine's clock is ahead.
func (t *tracker) setClock(skew time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skew = skew
}

// mark has a container looked at because something happened to it at the given
// time, and with it those that share its network.
func (t *tracker) mark(id string, at time.Time, l lane) {
	e := t.entries[id]
	if e == nil {
		e = &entry{}
		t.entries[id] = e
		seenContainers.Inc()
	}
	if e.observed.IsZero() {
		e.observed = at
	}
	t.queue.add(id, l)
	t.markJoiners(id, at, l)
}

func (t *tracker) markJoiners(id string, at time.Time, l lane) {
	for j := range t.joiners[id] {
		if e := t.entries[j]; e != nil && j != id {
			if e.observed.IsZero() {
				e.observed = at
			}
			t.queue.add(j, l)
			t.markJoiners(j, at, l)
		}
	}
}

// listed has all listed containers looked at, and all known ones that are not
// in the list: it is older than what events told meanwhile, so that absence
// is a hint as well, no proof.
func (t *tracker) listed(ids []string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil {
		t.pending = map[string]bool{}
	}
	for _, id := range ids {
		t.pending[id] = true
	}
	for id := range t.entries {
		t.pending[id] = true
	}
	for id := range t.pending {
		t.mark(id, at, cold)
	}
	for id := range t.told {
		if t.entries[id] == nil {
			delete(t.told, id)
		}
	}
	lastList.SetToCurrentTime()
	t.finish()
}

// lookAgain has all known containers looked at, since what follows from them has
// changed with the node.
func (t *tracker) lookAgain(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.entries {
		t.mark(id, at, hot)
	}
}

// begin returns the entry of a container that is about to be inspected, or nil
// if there is no reason any more.
func (t *tracker) begin(id string) (e *entry, observed time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e = t.entries[id]
	if e == nil {
		t.settle(id)
		return nil, time.Time{}
	}
	observed, e.observed = e.observed, time.Time{}
	e.asked = time.Now()
	return e, observed
}

// gone records that the engine doesn't know the container any more.
func (t *tracker) gone(id string, e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries[id] == e {
		t.drop(id)
		delete(t.told, id)
		t.vanished(id)
	}
	t.settle(id)
}

// failed records that an inspect failed: whatever was published stays. It
// returns how often that happened in a row.
func (t *tracker) failed(id string, e *entry, observed time.Time, err error) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.failures++
	if e.observed.IsZero() {
		e.observed = observed
	}
	if t.entries[id] == e {
		t.undo(id, e, time.Now())
		if e.instance == nil && e.hidden == nil {
			t.refuse(e, &Refusal{ID: shortID(id), Reason: ReasonInspect, Detail: "the engine doesn't say what it is"})
		}
		// With the engine gone, all of them fail, and that is logged once.
		if !client.IsErrConnectionFailed(err) {
			if e.silent == nil {
				e.silent = lasting.New(t.log)
			}
			e.silent.Note("can't inspect a container: what is registered of it stays, and it is tried again", err, "container", shortID(id))
		}
	}
	t.settle(id)
	return e.failures
}

// apply records what was decided for a container, and publishes it.
func (t *tracker) apply(id string, e *entry, d *decision, observed time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle(id)
	if t.entries[id] != e {
		return
	}
	e.failures = 0
	if e.silent != nil {
		e.silent.Over("a container can be inspected again", "container", shortID(id))
	}
	t.exists(id, d)
	if !d.facts.running() {
		t.drop(id)
		return
	}
	t.join(id, d.facts.joins)
	if e.facts == nil {
		t.remember(e, d.facts)
	}
	e.facts = d.facts
	if e.init != nil && !e.init.runs(e.facts) {
		t.unwatch(e)
	}
	t.refuse(e, d.refusal)
	t.tell(id, d)
	t.tellFolded(id, d)
	if d.instance == nil {
		t.unwatch(e)
		if d.hidden == nil {
			t.unpublish(id, e)
		} else {
			t.publishHidden(e, d.hidden)
		}
		return
	}
	now := time.Now()
	e.hint.hearOut(now.Sub(e.asked), t.confirm, now)
	d.instance.Draining = t.draining(id, e, now)
	if !d.instance.Draining && e.lingering != nil {
		e.lingering.Over("container is told of again", "container", shortID(id))
	}
	if observed.IsZero() {
		observed = time.Now()
	}
	d.instance.Observed = observed.UTC()
	t.publish(e, d.instance)
}

// publish tells the publisher of an instance, if it is news.
func (t *tracker) publish(e *entry, i *registry.Instance) {
	if e.instance == nil {
		publishedContainers.Inc()
	}
	delete(t.kept, i.ID)
	if sameInstance(e.instance, i) {
		return
	}
	e.instance, e.hidden = i, nil
	writes.WithLabelValues("set").Inc()
	t.sink.Set(i)
}

// publishHidden tells the publisher of a container that only asks.
func (t *tracker) publishHidden(e *entry, i *registry.Instance) {
	if e.instance != nil {
		publishedContainers.Dec()
		e.instance = nil
	}
	delete(t.kept, i.ID)
	if sameInstance(e.hidden, i) {
		return
	}
	e.hidden = i
	writes.WithLabelValues("set").Inc()
	t.sink.Set(i)
}

// unpublish takes back what was published of a container.
func (t *tracker) unpublish(id string, e *entry) {
	short := shortID(id)
	if e.instance == nil && e.hidden == nil && !t.kept[short] {
		return
	}
	if e.instance != nil {
		publishedContainers.Dec()
	}
	e.instance, e.hidden = nil, nil
	delete(t.kept, short)
	writes.WithLabelValues("remove").Inc()
	t.sink.Remove(short)
}

// drop forgets a container that doesn't run any more.
func (t *tracker) drop(id string) {
	e := t.entries[id]
	if e == nil {
		return
	}
	t.unwatch(e)
	t.unpublish(id, e)
	t.refuse(e, nil)
	t.join(id, "")
	t.folded.forget(id)
	delete(t.entries, id)
	seenContainers.Dec()
}

// refuse notes why a container is not registered, or with nil that it is.
func (t *tracker) refuse(e *entry, r *Refusal) {
	if e.refusal != nil {
		refusedContainers.WithLabelValues(string(e.refusal.Reason)).Dec()
	}
	e.refusal = r
	if r != nil {
		refusedContainers.WithLabelValues(string(r.Reason)).Inc()
	}
}

// join notes whose network a container shares.
func (t *tracker) join(id, owner string) {
	e := t.entries[id]
	if e != nil && e.facts != nil && e.facts.joins != owner {
		delete(t.joiners[e.facts.joins], id)
		if len(t.joiners[e.facts.joins]) == 0 {
			delete(t.joiners, e.facts.joins)
		}
	}
	if owner == "" {
		return
	}
	if t.joiners[owner] == nil {
		t.joiners[owner] = map[string]bool{}
	}
	t.joiners[owner][id] = true
}

// tell logs what somebody should know of a container, once.
func (t *tracker) tell(id string, d *decision) {
	text := ""
	if d.refusal != nil {
		text = d.refusal.Detail
	}
	remarks := d.remarks()
	for _, r := range remarks {
		text += "\n" + r
	}
	if t.told[id] == text {
		return
	}
	t.told[id] = text
	log := t.log.With("container", shortID(id), "name", clean(d.facts.name, maxText))
	switch {
	case d.refusal == nil:
	case d.refusal.Reason.Meant():
		log.Info("container is left out", "reason", d.refusal.Reason, "why", d.refusal.Detail)
	default:
		log.Warn("container is not registered", "reason", d.refusal.Reason, "why", d.refusal.Detail)
	}
	for _, r := range remarks {
		log.Warn("container has something that doesn't count", "what", r)
	}
}

// settle takes a container off the current list, and ends the list with the
// last one.
func (t *tracker) settle(id string) {
	if t.pending == nil {
		return
	}
	delete(t.pending, id)
	t.finish()
}

// finish tells the publisher the whole truth once every listed container was
// looked at. Those that the engine says nothing of are in it as they were last
// published; if this agent never published them, but perhaps one before it
// did, the publisher is asked to leave them alone.
func (t *tracker) finish() {
	if len(t.pending) > 0 {
		return
	}
	t.pending = nil
	instances, keep := map[string]*registry.Instance{}, map[string]bool{}
	for id, e := range t.entries {
		switch {
		case e.instance != nil:
			instances[e.instance.ID] = e.instance
		case e.hidden != nil:
			instances[e.hidden.ID] = e.hidden
		case e.facts == nil:
			keep[shortID(id)] = true
		}
	}
	t.kept = maps.Clone(keep)
	writes.WithLabelValues("replace").Inc()
	t.sink.Replace(instances, keep)
	t.once.Do(func() { close(t.ready) })
}
