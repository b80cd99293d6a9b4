package rack

import (
	"net"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/rackdns/rackdns/internal/index"
)

// How long a start waits for the first picture of the rack.
const (
	// firstWait is for a server that is the first at its address: until it
	// listens, nothing answers at all, other zones included, and that a port is
	// taken isn't known.
	firstWait = 500 * time.Millisecond
	// reloadWait is for one that replaces another, which answers meanwhile:
	// better a late change of settings than a gap.
	reloadWait = 10 * time.Second
	// joinCheck is how often one that joins another looks whether that still
	// answers.
	joinCheck = 100 * time.Millisecond
)

// wait is what all racks of a server have in common: all of them are started
// before the last one waits, so that they wait together. CoreDNS sets plugins
// up and starts them one after the other, so it needs no lock.
type wait struct {
	patience time.Duration
	// first says that the process doesn't answer yet.
	first bool
	// coming counts the racks that are set up and not started.
	coming int
	racks  map[*index.Index]*Rack
	addrs  []string
}

type waitKey struct{}

// waitOf returns the wait of the server that is being set up.
func waitOf(c *caddy.Controller) *wait {
	if w, ok := c.Get(waitKey{}).(*wait); ok {
		return w
	}
	w := &wait{patience: reloadWait, racks: map[*index.Index]*Rack{}}
	c.Set(waitKey{}, w)
	c.OnFirstStartup(func() error {
		w.patience, w.first = firstWait, true
		return nil
	})
	// Not at a reload, which hands the sockets on.
	c.OnFinalShutdown(func() error {
		leave(shared(w.addrs))
		return nil
	})
	return w
}

// listenAddrs returns the addresses of a server block.
func listenAddrs(c *dnsserver.Config) []string {
	var addrs []string
	for _, host := range c.ListenHosts {
		addrs = append(addrs, net.JoinHostPort(host, c.Port))
	}
	return addrs
}

// started says that a rack was started. The last one waits until there is
// something to answer from: not for ever, unless another process answers at the
// address. Who joins it answers a part of its queries from then on.
func (w *wait) started(r *Rack, addrs []string) {
	w.racks[r.index] = r
	w.addrs = append(w.addrs, addrs...)
	if w.coming--; w.coming > 0 {
		return
	}
	end := time.Now().Add(w.patience)
	other := ""
	for told := false; !w.known(end, other != ""); {
		if w.first {
			other = answered(w.addrs)
		}
		switch {
		case time.Now().Before(end):
		case other == "":
			w.complain()
			return
		case !told:
			told = true
			log.Infof("waiting for the registry before joining the server that answers at %s", other)
		}
	}
}

// known waits until all racks have something to answer from, for a part of the
// time that is left, or for a moment where another server answers.
func (w *wait) known(end time.Time, joining bool) bool {
	left := min(time.Until(end), joinCheck)
	if joining {
		left = joinCheck
	}
	timeout := time.NewTimer(max(left, 0))
	defer timeout.Stop()
	for x, r := range w.racks {
		select {
		case <-x.Synced():
			for r.isStale() {
				// What lay on disk is too old. A newer one is on its way, or not.
				select {
				case <-timeout.C:
					return false
				case <-time.After(joinCheck / 10):
				}
			}
		case <-timeout.C:
			return false
		}
	}
	return true
}

func (w *wait) complain() {
	for x, r := range w.racks {
		switch {
		case x.Snapshot() == nil:
			log.Warningf("rack %s: registry not read yet; answering SERVFAIL until it is", x.Rack())
		case r.isStale():
			log.Warningf("rack %s: registry not read yet, and the last picture is older than max_stale; answering SERVFAIL until it is", x.Rack())
		}
	}
}
