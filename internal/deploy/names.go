package deploy

import (
	"context"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/rackdns/rackdns/internal/dockerclient"
)

// names are those of the engine's containers: each is there once.
type names struct {
	mu sync.Mutex
	// ours are those of the app's containers.
	ours map[string]bool
	// others say in words whose the others are. They are never touched.
	others map[string]string
}

func (n *names) foreign(name, whose string) {
	if n.others == nil {
		n.others = map[string]string{}
	}
	n.others[name] = whose
}

func (n *names) take(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ours == nil {
		n.ours = map[string]bool{}
	}
	n.ours[name] = true
	delete(n.others, name)
}

// isTaken reports whether one of the app's containers has the name.
func (n *names) isTaken(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ours[name]
}

// whose says whose a name is if it is that of another container, "" if it isn't.
func (n *names) whose(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.others[name]
}

func (n *names) leave(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ours, name)
}

// add notes a container of a component that stays, or was made.
func (u *up) add(c *component, e *existing) {
	u.naming.Lock()
	defer u.naming.Unlock()
	if u.live == nil {
		u.live = map[*component][]*existing{}
	}
	u.live[c] = append(u.live[c], e)
}

// settleNames gives the containers of a component their own names, as far as
// those that had them before are gone. That of a rolling update is so at once, and
// one that was interrupted by the next one. A name decides nothing: what is in the
// way of that is no reason to stop.
func (u *up) settleNames(ctx context.Context, c *component) {
	u.naming.Lock()
	defer u.naming.Unlock()
	for _, e := range u.live[c] {
		own := e.given(u.app)
		if e.name == own || u.names.whose(own) != "" || u.names.isTaken(own) {
			continue
		}
		whole, cancel := dockerclient.Whole(ctx)
		err := u.ContainerRename(whole, e.id, own)
		cancel()
		switch {
		case err == nil:
			u.names.leave(e.name)
			u.names.take(own)
			e.name = own
		case !errdefs.IsNotFound(err):
			u.say(c.name, "%s keeps the name %s: %v", e, e.name, err)
		}
	}
}

// isForeign tells of which numbers of a component somebody else's container has
// the name, and says so once of each.
func (u *up) isForeign(c *component) func(number int) bool {
	told := map[int]bool{}
	return func(number int) bool {
		name := containerName(u.app, c.service, number)
		whose := u.names.whose(name)
		if whose != "" && !told[number] {
			told[number] = true
			u.say(c.name, "left out instance %d: its name, %s, is that of %s", number, name, whose)
		}
		return whose != ""
	}
}
