package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/timer"
)

// timerService is what the containers of a timer are registered as while they
// run.
func timerService(name string) string { return "timer-" + name }

// timers works out the components of the app's timers. Each is what its service
// is, but for what it runs; it serves nobody.
func (u *up) timers(services []*component) (all []*component, err error) {
	m := u.cfg.Manifest
	for n := range m.Timers {
		t := &m.Timers[n]
		service := timerService(t.Name)
		if slices.ContainsFunc(u.components, func(c *component) bool { return c.service == service }) {
			return nil, fmt.Errorf("%s:%d: timer %s: a service is called %s, as what it runs is", m.File, t.Line, t.Name, service)
		}
		at := slices.IndexFunc(services, func(c *component) bool { return !c.resource && c.name == t.Service })
		if at < 0 {
			return nil, fmt.Errorf("%s:%d: timer %s: there is no service %s", m.File, t.Line, t.Name, t.Service)
		}
		if err := u.checkLabels(t.Labels); err != nil {
			return nil, fmt.Errorf("%s:%d: timer %s: %w", m.File, t.Line, t.Name, err)
		}
		of := services[at]
		c := &component{
			name: t.Name, service: service, timer: t, of: of, count: t.Parallel,
			environment: func(release string) ([]string, error) { return u.environmentOf(of.service, release) },
		}
		c.spec = spec{Command: of.spec.Command, Labels: map[string]string{}, settings: of.spec.settings}
		if t.Command != nil {
			c.spec.Command = t.Command
		}
		maps.Copy(c.spec.Labels, t.Labels)
		maps.Copy(c.spec.Labels, u.labels(service))
		c.spec.Labels[label.UpTimer], c.spec.Labels[label.UpConcurrency] = t.Schedule, string(t.Concurrency)
		if links := of.spec.Labels[label.Links]; links != "" {
			c.spec.Labels[label.Links] = links
		}
		all = append(all, c)
	}
	return all, nil
}

// takeImages gives timers the images of their services, once those are known.
func (u *up) takeImages() {
	for _, c := range u.components {
		if c.timer != nil {
			c.image, c.spec.Image = c.of.image, c.of.spec.Image
		}
	}
}

// planTimer is plan of what is started at its times and else doesn't run.
func planTimer(hash string, count int, have []*existing, release string) []step {
	var keeps, stops, makes []step
	kept := map[int]bool{}
	for _, c := range inOrder(have) {
		if c.hash != hash || kept[c.number] || c.number < 1 || c.number > count {
			stops = append(stops, step{action: stop, container: c})
			continue
		}
		kept[c.number] = true
		keeps = append(keeps, step{action: keep, container: c})
	}
	for number := 1; number <= count; number++ {
		if !kept[number] {
			makes = append(makes, step{action: ready, number: number, release: release})
		}
	}
	return slices.Concat(keeps, stops, makes)
}

// ready makes a container that is started at its times.
func (u *up) ready(ctx context.Context, c *component, s step) error {
	made, err := u.create(ctx, c, s)
	if err != nil {
		return err
	}
	made.running = false
	u.add(c, made)
	if s.number == c.count {
		u.say(c.name, "%s", c.times(time.Now()))
	}
	return nil
}

// times says when a timer runs.
func (c *component) times(now time.Time) string {
	said := "runs at " + c.timer.Schedule
	schedule, err := timer.Parse(c.timer.Schedule)
	if err != nil {
		return said
	}
	next := schedule.Next(now)
	if next.IsZero() {
		return said + ", which is never"
	}
	return said + ", next at " + next.Format("2006-01-02 15:04 UTC")
}
