package manifest

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

// How a check goes on where the file doesn't say: as other racks do it.
const (
	healthPath     = "/"
	healthInterval = 5 * time.Second
	healthMargin   = time.Second

	livenessGrace    = 10 * time.Second
	livenessTimeout  = 5 * time.Second
	livenessFailures = 3
	// maxFailures is how many of its last checks an engine remembers.
	maxFailures = 5
)

// health reads a path, true or false, or a map.
func (f *serviceFields) health(n *yaml.Node, path string) error {
	if isNull(n) {
		f.healthLine = 0
		return nil
	}
	h := &Health{Path: healthPath, Interval: healthInterval}
	f.Health = h
	if n.Kind == yaml.ScalarNode {
		if n.ShortTag() == "!!bool" {
			on, err := f.yes(n, path)
			f.NoHealth = !on
			return err
		}
		var err error
		h.Path, err = f.urlPath(n, path)
		return err
	}
	return f.fields(n, path, "services.*.health", reading{
		"path":     func(e entry, at string) (err error) { h.Path, err = f.urlPath(e.value, at); return },
		"grace":    func(e entry, at string) (err error) { h.Grace, err = f.duration(e.value, at); return },
		"interval": func(e entry, at string) (err error) { h.Interval, err = f.duration(e.value, at); return },
		"timeout":  func(e entry, at string) (err error) { h.Timeout, err = f.duration(e.value, at); return },
		"disable":  func(e entry, at string) (err error) { f.NoHealth, err = f.yes(e.value, at); return },
	})
}

// liveness reads the check that a container is restarted by.
func (f *serviceFields) liveness(n *yaml.Node, path string) error {
	if isNull(n) {
		f.livenessLine = 0
		return nil
	}
	l := &Health{Grace: livenessGrace, Interval: healthInterval, Timeout: livenessTimeout, Failures: livenessFailures}
	f.Liveness = l
	err := f.fields(n, path, "services.*.liveness", reading{
		"path":     func(e entry, at string) (err error) { l.Path, err = f.urlPath(e.value, at); return },
		"grace":    func(e entry, at string) (err error) { l.Grace, err = f.duration(e.value, at); return },
		"interval": func(e entry, at string) (err error) { l.Interval, err = f.duration(e.value, at); return },
		"timeout":  func(e entry, at string) (err error) { l.Timeout, err = f.duration(e.value, at); return },
		"failureThreshold": func(e entry, at string) error {
			failures, err := f.number(e.value, at, 1, maxFailures)
			l.Failures = int(failures)
			return err
		},
	})
	if err == nil && l.Path == "" {
		err = f.errorf(n.Line, path, "has no path")
	}
	return err
}

// finishHealth fills in what the checks have from each other and from the port.
func (f *serviceFields) finishHealth() error {
	if f.grpcHealth && f.Health == nil {
		f.Health = &Health{Interval: healthInterval}
	}
	if f.NoHealth {
		f.Health = nil
	}
	if f.Health != nil {
		f.Health.GRPC = f.grpcHealth
		f.Health.withDefaults()
	}
	if f.Port != nil && f.Port.Protocol == registry.TCP {
		return nil
	}
	switch {
	case f.Health != nil:
		return f.errorf(f.healthLine, f.path+".health", "there is no port to check")
	case f.Liveness != nil:
		return f.errorf(f.livenessLine, f.path+".liveness", "there is no port to check")
	}
	return nil
}

// withDefaults fills in what follows from the interval.
func (h *Health) withDefaults() {
	if h.Grace == 0 {
		h.Grace = h.Interval
	}
	if h.Timeout == 0 {
		h.Timeout = max(h.Interval-healthMargin, healthMargin)
	}
}

func (r *reader) urlPath(n *yaml.Node, path string) (string, error) {
	s, err := r.text(n, path)
	if err == nil && (!strings.HasPrefix(s, "/") || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })) {
		err = r.errorf(n.Line, path, "%s is not the path of a URL, such as /check", registry.Quote(s))
	}
	return s, err
}

// duration reads seconds, such as 5, or what time.ParseDuration knows.
func (r *reader) duration(n *yaml.Node, path string) (time.Duration, error) {
	s, err := r.text(n, path)
	if err != nil {
		return 0, err
	}
	const most = 24 * time.Hour
	d, err := time.ParseDuration(s)
	if err != nil {
		d, err = time.ParseDuration(s + "s")
	}
	if err != nil || d <= 0 || d > most {
		return 0, r.errorf(n.Line, path, "%s is not a time, such as 5 (seconds) or 500ms", registry.Quote(s))
	}
	return d, nil
}
