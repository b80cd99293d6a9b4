package deploy

import (
	"cmp"
	"slices"

	"golang.org/x/sync/errgroup"
)

// lane is what is said of one thing while several are worked on.
type lane struct {
	name  string
	lines []string
	done  bool
}

// abreast does work on each of the components, several at a time. What is said of
// them comes in their order, as if one were done after the other: the first that
// isn't done yet is heard at once, the others when it is their turn. One that fails
// cuts no other off; the first error in their order is returned.
func (p *progress) abreast(all []*component, limit int, work func(*component) error) error {
	lanes := make([]*lane, len(all))
	for n, c := range all {
		lanes[n] = &lane{name: c.name}
	}
	p.mu.Lock()
	p.lanes = lanes
	p.mu.Unlock()
	errs := make([]error, len(all))
	var group errgroup.Group
	group.SetLimit(limit)
	for n, c := range all {
		group.Go(func() error {
			errs[n] = work(c)
			p.finish(lanes[n])
			return nil
		})
	}
	_ = group.Wait()
	return cmp.Or(errs...)
}

// finish lets those behind a lane be heard, if it is its turn.
func (p *progress) finish(l *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.done = true
	for len(p.lanes) > 0 && p.lanes[0].done {
		if p.lanes = p.lanes[1:]; len(p.lanes) > 0 {
			p.write(p.lanes[0].lines...)
			p.lanes[0].lines = nil
		}
	}
}

// held reports whether a line waits for its turn, and keeps it then. The caller
// holds the lock.
func (p *progress) held(name, line string) bool {
	n := slices.IndexFunc(p.lanes, func(l *lane) bool { return l.name == name })
	if n <= 0 {
		return false
	}
	p.lanes[n].lines = append(p.lanes[n].lines, line)
	return true
}
