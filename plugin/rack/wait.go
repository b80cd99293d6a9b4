package rack

import (
	"time"

	"github.com/coredns/caddy"

	"github.com/rackdns/rackdns/internal/index"
)

// How long a start waits for the first picture of the rack.
const (
	// firstWait is for a server that is new: until it listens, nothing answers
	// at all, other zones included, and that a port is taken isn't known.
	firstWait = 500 * time.Millisecond
	// reloadWait is for one that replaces another, which answers meanwhile:
	// better a late change of settings than a gap.
	reloadWait = 10 * time.Second
)

// wait is what all racks of a server have in common: all of them are started
// before the last one waits, so that they wait together. CoreDNS sets plugins
// up and starts them one after the other, so it needs no lock.
type wait struct {
	patience time.Duration
	// coming counts the racks that are set up and not started.
	coming  int
	indexes map[*index.Index]bool
}

type waitKey struct{}

// waitOf returns the wait of the server that is being set up.
func waitOf(c *caddy.Controller) *wait {
	if w, ok := c.Get(waitKey{}).(*wait); ok {
		return w
	}
	w := &wait{patience: reloadWait, indexes: map[*index.Index]bool{}}
	c.Set(waitKey{}, w)
	c.OnFirstStartup(func() error {
		w.patience = firstWait
		return nil
	})
	return w
}

// started says that a rack was started. The last one waits until there is
// something to answer from, but not for ever.
func (w *wait) started(r *Rack) {
	w.indexes[r.index] = true
	if w.coming--; w.coming > 0 {
		return
	}
	timeout := time.NewTimer(w.patience)
	defer timeout.Stop()
	for x := range w.indexes {
		select {
		case <-x.Synced():
		case <-timeout.C:
			w.complain()
			return
		}
	}
}

func (w *wait) complain() {
	for x := range w.indexes {
		if x.Snapshot() == nil {
			log.Warningf("rack %s: registry not read yet; answering SERVFAIL until it is", x.Rack())
		}
	}
}
