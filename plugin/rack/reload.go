package rack

import (
	"sync"

	"github.com/coredns/caddy"
)

// started are the racks that were started since the last reload began. If it
// fails afterwards, say because another block's port is taken, Caddy discards
// the new instance without a word to its plugins; only those of the old one are
// told. Without this an index would be left running at each such attempt.
var started struct {
	sync.Mutex
	racks []*Rack
}

// noteStarted is called by a rack that was started.
func noteStarted(r *Rack) {
	started.Lock()
	defer started.Unlock()
	started.racks = append(started.racks, r)
}

// cleanUpFailedReloads makes an instance stop what was started to replace it,
// if that fails.
func cleanUpFailedReloads(c *caddy.Controller) {
	take := func() []*Rack {
		started.Lock()
		defer started.Unlock()
		racks := started.racks
		started.racks = nil
		return racks
	}
	c.OnRestart(func() error {
		take() // they run
		return nil
	})
	c.OnRestartFailed(func() error {
		for _, r := range take() {
			if err := r.stop(); err != nil {
				return err
			}
		}
		return nil
	})
}
