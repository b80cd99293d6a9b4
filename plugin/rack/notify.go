package rack

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin/transfer"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/lasting"
)

// notifyInterval is the time from the end of a NOTIFY to the next one of the zone. Whatever
// changes in between is in what the secondary then gets.
const notifyInterval = time.Second

// notifier tells secondaries that a zone has changed (RFC 1996), by the transfer
// plugin of the same server block, which knows who they are.
type notifier struct {
	cancel context.CancelFunc
	zones  sync.WaitGroup
}

// startNotifying begins to watch for changes. The first picture counts as one: it
// isn't known what secondaries have.
func (r *Rack) startNotifying(notify func(zone string) error) {
	ctx, cancel := context.WithCancel(context.Background())
	r.notifier = &notifier{cancel: cancel}
	for n := range r.zones {
		r.notifier.zones.Go(func() { r.notifyOf(ctx, &r.zones[n], notify) })
	}
}

// stop ends the watch. It waits for no secondary: a NOTIFY that is under way ends
// by itself, within seconds.
func (n *notifier) stop() {
	if n != nil {
		n.cancel()
		n.zones.Wait()
	}
}

func (r *Rack) notifyOf(ctx context.Context, z *zone, notify func(zone string) error) {
	trouble := lasting.New(slog.New(logHandler{}).With("zone", z.name))
	known, last := int64(-1), uint32(0)
	for first := true; ; {
		s, err := r.index.Await(ctx, known)
		if err != nil {
			return
		}
		known = s.Index()
		serial := serialOf(s)
		if !first && serial == last {
			continue
		}
		first, last = false, serial
		result := make(chan error, 1)
		go func() { result <- notify(z.name) }()
		select {
		case <-ctx.Done():
			return
		case err = <-result:
		}
		if err != nil {
			notifyFailures.WithLabelValues(r.RackName()).Inc()
			trouble.Note("a secondary doesn't take a NOTIFY; it has the zone's changes when it asks by itself, which is every SOA refresh", err)
		} else {
			trouble.Over("secondaries take NOTIFYs again")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(notifyInterval):
		}
	}
}

// serialOf is the serial of the zones in a picture.
func serialOf(s *index.Snapshot) uint32 {
	// Serials wrap by definition (RFC 1982); an empty rack has etcd's first.
	return uint32(max(s.Serial(), 1))
}

// notifiesBy returns how to reach the secondaries of a server block, nil if it has
// no transfer plugin.
func notifiesBy(handler any) func(zone string) error {
	t, ok := handler.(*transfer.Transfer)
	if !ok {
		return nil
	}
	return t.Notify
}
