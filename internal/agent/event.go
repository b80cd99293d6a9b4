package agent

import (
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/registry"
)

// actions are the events that matter. The others are either implied by these
// (stop, restart, oom) or not ours, and every health check makes three exec
// events: the engine filters, so that they cost nobody anything.
var actions = []events.Action{
	events.ActionStart, events.ActionDie, events.ActionKill, events.ActionPause, events.ActionUnPause,
	events.ActionHealthStatus, events.ActionRename, events.ActionDestroy,
	events.ActionConnect, events.ActionDisconnect, events.ActionCreate,
}

// eventFilters returns the filters for the engine. There is none by label:
// network events carry no container's labels.
func eventFilters() filters.Args {
	args := filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)),
		filters.Arg("type", string(events.NetworkEventType)),
	)
	for _, a := range actions {
		args.Add("event", string(a))
	}
	return args
}

// kill is a signal that was sent to a container, by the engine's clock and by
// this host's.
type kill struct {
	at, here time.Time
	number   int
	// early says that it is a hint: see foretold.go.
	early bool
}

// event takes in one event. It only ever touches memory: an engine drops the
// events of those who read too slowly, without a word.
func (t *tracker) event(m events.Message) {
	at := eventTime(m)
	action := m.Action
	if strings.HasPrefix(string(action), string(events.ActionHealthStatus)) {
		action = events.ActionHealthStatus
	}
	lastEvent.SetToCurrentTime()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch m.Type {
	case events.NetworkEventType:
		t.networkEvent(m, at)
		return
	case events.ContainerEventType:
	default:
		return
	}
	id := m.Actor.ID
	switch action {
	case events.ActionDie:
		t.died(id, at)
	case events.ActionDestroy:
		t.drop(id)
		delete(t.told, id)
		t.vanished(id)
		t.markJoiners(id, at, hot)
	case events.ActionKill:
		t.killed(id, m.Actor.Attributes["signal"], at)
	case events.ActionStart, events.ActionPause, events.ActionUnPause, events.ActionRename, events.ActionHealthStatus:
		t.mark(id, at, hot)
	default:
		return
	}
	eventCount.WithLabelValues(string(action)).Inc()
}

func eventTime(m events.Message) time.Time {
	if m.TimeNano != 0 {
		return time.Unix(0, m.TimeNano)
	}
	return time.Unix(m.Time, 0)
}

// networkEvent takes in a container's arrival on a network or departure from
// it. While a container starts or stops, such events say nothing that the
// event of the start or the death doesn't say; an inspect would hang until the
// engine is done with the container, and keep a worker from others.
func (t *tracker) networkEvent(m events.Message, at time.Time) {
	if m.Action == events.ActionCreate || m.Action == events.ActionDestroy {
		t.networked()
		return
	}
	if m.Action != events.ActionConnect && m.Action != events.ActionDisconnect {
		return
	}
	id := m.Actor.Attributes["container"]
	if t.entries[id] == nil {
		return
	}
	eventCount.WithLabelValues(string(m.Action)).Inc()
	t.mark(id, at, hot)
}

// died takes a container away at once. An event that is older than the run
// that the agent knows of is one of the past, which engines repeat to those
// who subscribe; an inspect says what is true now.
func (t *tracker) died(id string, at time.Time) {
	e := t.entries[id]
	switch {
	case e == nil:
		t.markJoiners(id, at, hot)
	case e.facts != nil && at.After(e.facts.started):
		t.drop(id)
		t.markJoiners(id, at, hot)
	default:
		t.renew(id, e)
		t.mark(id, at, hot)
	}
}

// renew makes inspects that are under way count for nothing.
func (t *tracker) renew(id string, e *entry) {
	fresh := *e
	t.entries[id] = &fresh
}

// killed takes in a signal that was sent to a container. The stop signal and
// SIGKILL announce its death: from now on nobody should be sent there, though
// it may serve for seconds yet those who already are.
func (t *tracker) killed(id, signal string, at time.Time) {
	n, ok := parseSignal(signal)
	e := t.entries[id]
	if !ok || e == nil {
		return
	}
	if e.kills == nil {
		e.kills = map[int]kill{}
	}
	now := time.Now()
	k := kill{at: at, here: now, number: n}
	if was := at.Add(-t.skew); was.Before(now) {
		k.here = was
	}
	if e.kills[n].at.Before(at) {
		e.kills[n] = k
	}
	e.hint.confirm(n, at)
	if e.facts != nil && n == e.facts.stopSignal && at.After(e.facts.started) {
		t.askFate(id, e)
	}
	if e.instance != nil && t.draining(id, e, now) {
		t.drain(e, at)
	}
}

// recall takes in what the registry had of the node when the agent started.
func (t *tracker) recall(all []*registry.Instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recalled = map[string]*registry.Instance{}
	for _, i := range all {
		if i.Draining {
			t.recalled[i.ID] = i
		}
	}
}

// remember has a container that was draining when the agent started be one that
// was sent its stop signal, if it is the same run and nobody knows better.
func (t *tracker) remember(e *entry, f *facts) {
	was := t.recalled[shortID(f.id)]
	delete(t.recalled, shortID(f.id))
	if was == nil || !was.Started.Equal(f.started) || len(e.kills) > 0 {
		return
	}
	at := was.Observed
	if !at.After(f.started) {
		at = f.started.Add(1)
	}
	e.kills = map[int]kill{f.stopSignal: {at: at, here: at.Add(-t.skew), number: f.stopSignal}}
}

// drain publishes that nobody should be sent to the container any more.
func (t *tracker) drain(e *entry, at time.Time) {
	i := *e.instance
	i.Draining = true
	i.Observed = at.UTC()
	t.publish(e, &i)
}

// draining decides whether the container is dead or about to die. In the
// latter case it has it looked at again when it should be dead: if it isn't
// then, it must prove that it survived.
func (t *tracker) draining(id string, e *entry, now time.Time) bool {
	if e.over() {
		return true
	}
	last := e.stopping()
	if last.early {
		if left := e.hint.over(t.confirm).Sub(now); left > 0 {
			t.queue.addAfter(id, hot, left)
			return true
		}
		if e.init != nil && e.init.ended() {
			// Whoever waits for that hasn't had its turn yet.
			return true
		}
		t.disbelieve(id, e, now)
		last = e.stopping()
	}
	if last.at.IsZero() {
		return false
	}
	if !e.fateRun.Equal(e.facts.started) {
		t.askFate(id, e)
	}
	if left := last.here.Add(e.facts.stopTimeout + t.grace).Sub(now); left > 0 {
		t.queue.addAfter(id, hot, left)
		return true
	}
	return !t.outlives(id, e, last)
}

// stopping returns the last signal that was to end the container's present
// run, if it didn't outlive that.
func (e *entry) stopping() kill {
	var last kill
	for _, n := range []int{e.facts.stopSignal, int(unix.SIGKILL)} {
		k := e.kills[n]
		if e.hint.number == n && e.hint.at.After(k.at) {
			k = e.hint.kill
		}
		if k.at.After(last.at) && k.at.After(e.facts.started) && k.at.After(e.survived) {
			last = k
		}
	}
	return last
}

// endsBy reports whether a signal is to end the container.
func (f *facts) endsBy(n int) bool { return n == f.stopSignal || n == int(unix.SIGKILL) }
