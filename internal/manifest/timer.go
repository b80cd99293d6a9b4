package manifest

import (
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

// maxParallel is how many containers one timer starts at a time.
const maxParallel = 100

func (r *reader) timers(n *yaml.Node) ([]Timer, error) {
	return each(r, n, "timers", func(e entry, path string) (Timer, error) {
		t := Timer{Name: e.key, Line: e.line, Concurrency: Allow, Parallel: 1}
		err := r.name(e.line, path, "timer", e.key)
		if err == nil {
			err = r.timer(&t, e.value, path)
		}
		return t, err
	})
}

func (r *reader) timer(t *Timer, n *yaml.Node, path string) error {
	err := r.fields(n, path, "timers.*", reading{
		"service":     func(e entry, at string) (err error) { t.Service, err = r.filled(e.value, at); return },
		"schedule":    func(e entry, at string) (err error) { t.Schedule, err = r.schedule(e.value, at); return },
		"command":     func(e entry, at string) (err error) { t.Command, err = r.command(e.value, at); return },
		"annotations": func(e entry, at string) (err error) { t.Labels, err = r.named(e.value, at); return },
		"concurrency": func(e entry, at string) (err error) { t.Concurrency, err = r.concurrency(e.value, at); return },
		"parallelCount": func(e entry, at string) error {
			count, err := r.number(e.value, at, 1, maxParallel)
			t.Parallel = int(count)
			return err
		},
	})
	switch {
	case err != nil:
		return err
	case t.Service == "":
		return r.errorf(t.Line, path, "has no service")
	case t.Schedule == "":
		return r.errorf(t.Line, path, "has no schedule")
	}
	return nil
}

func (r *reader) concurrency(n *yaml.Node, path string) (Concurrency, error) {
	s, err := r.text(n, path)
	if err != nil {
		return "", err
	}
	known := []string{string(Allow), string(Forbid), string(Replace)}
	for _, k := range known {
		if strings.EqualFold(s, k) {
			return Concurrency(k), nil
		}
	}
	return "", r.errorf(n.Line, path, "%s is not one; want %s", registry.Quote(s), oneOf(known))
}

const (
	cronFields = 5
	// weekday is the field that schedulers number differently.
	weekday = 4
)

// schedule reads five fields of cron. Racks of version 2 have a sixth, the year,
// and a question mark for what doesn't matter.
func (r *reader) schedule(n *yaml.Node, path string) (string, error) {
	s, err := r.text(n, path)
	if err != nil {
		return "", err
	}
	fields := strings.Fields(strings.ReplaceAll(s, "?", "*"))
	switch len(fields) {
	case cronFields:
	case cronFields + 1:
		if fields[cronFields] != "*" {
			return "", r.errorf(n.Line, path, "%s: the sixth field, the year, can only be *", registry.Quote(s))
		}
		if strings.ContainsAny(fields[weekday], "1234567890") {
			return "", r.errorf(n.Line, path, "%s: with six fields 1 is Sunday, with five it is Monday: write the day's name, such as MON", registry.Quote(s))
		}
		fields = fields[:cronFields]
	default:
		return "", r.errorf(n.Line, path, "%s has %s fields; want five: minute, hour, day, month, weekday", registry.Quote(s), strconv.Itoa(len(fields)))
	}
	plain := strings.Join(fields, " ")
	if strings.Contains(plain, "=") {
		return "", r.errorf(n.Line, path, "%s: times are UTC", registry.Quote(s))
	}
	if _, err := cron.ParseStandard(plain); err != nil {
		return "", r.errorf(n.Line, path, "%s is not a schedule of cron: %s", registry.Quote(s), strings.Join(strings.Fields(err.Error()), " "))
	}
	return plain, nil
}
