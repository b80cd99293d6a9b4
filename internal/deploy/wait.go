package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/terminal"
)

const (
	// first is how long a container without a health check must have run before
	// what comes after it is started, if it stays on trial.
	first = time.Second
	// firstSync is how long the registry has for its first list.
	firstSync = 10 * time.Second
	// logLines is how much is shown of what a container said before it ended.
	logLines = 10
)

// follow opens the index and waits for its first picture.
func follow(ctx context.Context, cfg registry.Config) (*index.Index, error) {
	x, err := index.Open(index.Config{Registry: cfg, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	x.Start()
	timeout := time.NewTimer(firstSync)
	defer timeout.Stop()
	select {
	case <-x.Synced():
		return x, nil
	case <-timeout.C:
		err = fmt.Errorf("can't read the registry: a list of everything takes over %s", firstSync)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, x.Close())
}

// registeredBy returns the node whose agent registers an engine's containers.
func registeredBy(s *index.Snapshot, rack, engine string) (*registry.Node, error) {
	for _, n := range s.Nodes() {
		if n.Engine != engine {
			continue
		}
		if d := s.Drained(n.Node); d != nil {
			return nil, fmt.Errorf("node %s is %s: its agent registers nothing until 'rackdns node drain %[1]s --undo'", n.Node, d)
		}
		return n, nil
	}
	return nil, fmt.Errorf("no agent registers this engine's containers in rack %s: start rackdns agent or rackdns standalone", rack)
}

// instance returns what the index knows of a container, nil if nothing.
func instance(s *index.Snapshot, app, service, id string) *index.Instance {
	v := s.ServiceOf(app, service)
	if v == nil {
		return nil
	}
	for _, i := range v.Instances() {
		if i.ID() == shortID(id) {
			return i
		}
	}
	return nil
}

// elsewhere says where the first instance of the app is that isn't one of ours, ""
// if there is none. Only instances of a service count, if one is named.
func elsewhere(s *index.Snapshot, app, service string, ours func(*index.Instance) bool) string {
	a := s.App(app)
	if a == nil {
		return ""
	}
	for v := range s.Services(a) {
		if service != "" && v.Name() != service {
			continue
		}
		for _, i := range v.Instances() {
			if ours(i) {
				continue
			}
			if i.Node() == registry.NodeAPI {
				return "a host that was registered by hand"
			}
			return "node " + i.Node()
		}
	}
	return ""
}

// trusted reports whether an instance can take the place of another one.
func trusted(i *index.Instance, trial time.Duration) bool {
	return i != nil && i.Serving() && (i.Health() != "" || time.Since(i.Started()) >= trial)
}

// exit is the end of a container that was to go on.
type exit struct {
	ended  <-chan container.WaitResponse
	failed <-chan error
}

// errTooLong ends a wait that was too long.
var errTooLong = errors.New("took too long")

// awaitServing waits until a container serves, or has done what it had to do. It
// fails if that takes too long or, where the container's end is watched, if it ends
// otherwise.
func (u *up) awaitServing(ctx context.Context, c *component, made *existing, end exit, trial time.Duration) error {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := time.AfterFunc(u.cfg.Timeout, func() { cancel(errTooLong) })
	defer timeout.Stop()
	go func() {
		select {
		case e := <-end.ended:
			cancel(&exitError{made, e.StatusCode})
		case err := <-end.failed:
			cancel(wrap(err, "wait for "+made.String()))
		case <-waiting.Done():
		}
	}()
	u.serves(waiting, c, made, trial)
	err := context.Cause(waiting)
	var exited *exitError
	switch {
	case errors.Is(err, errTooLong) && c.once:
		u.showLog(ctx, c, made)
		return fmt.Errorf("%s is not done after %s (--timeout)", made, u.cfg.Timeout)
	case errors.Is(err, errTooLong):
		return u.notServing(ctx, c, made)
	case errors.As(err, &exited) && exited.code == 0 && c.ends:
		made.running, made.done = false, true
		return nil
	case errors.As(err, &exited):
		u.showLog(ctx, c, made)
	}
	return err
}

// exitError is the end of a container.
type exitError struct {
	of   *existing
	code int64
}

func (e *exitError) Error() string { return fmt.Sprintf("%s exited with code %d", e.of, e.code) }

// serves returns when a container serves and can be trusted, or when ctx ends. The
// index wakes it; only one without a health check is a matter of time, too.
func (u *up) serves(ctx context.Context, c *component, made *existing, trial time.Duration) {
	for s := u.index.Snapshot(); ; {
		i := instance(s, u.app, c.service, made.id)
		if !c.once && trusted(i, trial) {
			return
		}
		soon, cancel := ctx, context.CancelFunc(func() {})
		if i != nil && i.Serving() && !c.once {
			soon, cancel = context.WithDeadline(ctx, i.Started().Add(trial))
		}
		s, _ = u.index.Await(soon, s.Index(), s.Sources(c.service+"."+u.app)...)
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}

// notServing says why a container doesn't serve.
func (u *up) notServing(ctx context.Context, c *component, made *existing) error {
	i := instance(u.index.Snapshot(), u.app, c.service, made.id)
	if i == nil {
		return fmt.Errorf("%s: no agent has registered it within %s: does that of node %s still run?", made, u.cfg.Timeout, u.node)
	}
	u.showLog(ctx, c, made)
	why := "it is " + i.State()
	if i.Health() != "" && i.State() == i.Health() {
		why = "its health check says " + i.Health()
		if said := u.lastCheck(ctx, made); said != "" {
			why += ": " + said
		}
	}
	return fmt.Errorf("%s does not serve after %s: %s", made, u.cfg.Timeout, why)
}

// lastCheck returns what the last health check printed.
func (u *up) lastCheck(ctx context.Context, made *existing) string {
	is, err := u.ContainerInspect(ctx, made.id)
	if err != nil || is.State == nil || is.State.Health == nil || len(is.State.Health.Log) == 0 {
		return ""
	}
	log := is.State.Health.Log
	lines := lastLines(log[len(log)-1].Output, 1)
	return terminal.Strip(strings.Join(lines, ""))
}

// showLog shows what a container said last, without a resource's password. It
// is on its way out, so whatever is in the way of that is of no interest.
func (u *up) showLog(ctx context.Context, c *component, made *existing) {
	out, err := u.ContainerLogs(ctx, made.id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(logLines)})
	if err != nil {
		return
	}
	defer out.Close()
	var text bytes.Buffer
	_, _ = stdcopy.StdCopy(&text, &text, out)
	hidden := strings.NewReplacer(c.passwords()...)
	for _, l := range lastLines(text.String(), logLines) {
		u.say(c.name, "| %s", hidden.Replace(l))
	}
}

// passwords returns those that a resource was given, each with what is to be
// shown in its place.
func (c *component) passwords() []string {
	var all []string
	for _, kv := range c.spec.Env {
		name, value, _ := strings.Cut(kv, "=")
		if c.resource && strings.HasSuffix(name, "PASSWORD") && value != "" {
			all = append(all, value, "(password)")
		}
	}
	return all
}
