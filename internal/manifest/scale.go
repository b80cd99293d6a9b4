package manifest

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

const (
	// maxCount is how many instances of one service one host is asked to run.
	maxCount = 1000
	// minCPU and maxCPU are the least and the most weight that a kernel knows.
	minCPU, maxCPU = 2, 262144
	// minMemory is the least that an engine gives, in megabytes, and maxMemory
	// more than any host has.
	minMemory, maxMemory = 6, 1 << 30
	megabyte             = 1 << 20
	// nanosPerMilli is how many billionths of a processor are a thousandth.
	nanosPerMilli = 1_000_000
)

// scale reads how many instances there should be and what each may use: 3,
// {count: 3}, or a range, of which the least counts. A null is an empty map, as
// everywhere.
func (f *serviceFields) scale(n *yaml.Node, path string) error {
	f.Count = 1
	if n.Kind != yaml.MappingNode && !isNull(n) {
		return f.count(n, path)
	}
	counted := ""
	count := func(e entry, at string) error {
		if counted != "" {
			return f.errorf(e.line, at, "says the same as %s; give one of them", counted)
		}
		counted = e.key
		return f.counts(e.value, at)
	}
	var limit Limits
	err := f.fields(n, path, "services.*.scale", reading{
		"count": count,
		"min":   count,
		"cpu":   func(e entry, at string) (err error) { f.CPUShares, err = f.number(e.value, at, minCPU, maxCPU); return },
		"memory": func(e entry, at string) (err error) {
			f.Memory, err = f.number(e.value, at, minMemory, maxMemory)
			return
		},
		"limit": func(e entry, at string) error {
			return f.fields(e.value, at, "services.*.scale.limit", reading{
				"cpu": func(e entry, at string) (err error) { limit.NanoCPUs, err = f.number(e.value, at, 10, maxCPU); return },
				"memory": func(e entry, at string) (err error) {
					limit.Memory, err = f.number(e.value, at, minMemory, maxMemory)
					return
				},
			})
		},
	})
	if err != nil {
		return err
	}
	f.NanoCPUs = limit.NanoCPUs * nanosPerMilli
	if limit.Memory != 0 {
		if f.Memory > limit.Memory {
			return f.errorf(n.Line, path, "memory %d is more than its limit, %d", f.Memory, limit.Memory)
		}
		f.Memory, f.MemoryReservation = limit.Memory*megabyte, f.Memory*megabyte
		return nil
	}
	f.Memory *= megabyte
	return nil
}

// counts reads a number of instances, or a map of the least and the most.
func (f *serviceFields) counts(n *yaml.Node, path string) error {
	if n.Kind != yaml.MappingNode {
		return f.count(n, path)
	}
	return f.fields(n, path, "services.*.scale.count", reading{
		"min": func(e entry, at string) error { return f.count(e.value, at) },
	})
}

// count reads a number, a range, or the least number and a plus.
func (f *serviceFields) count(n *yaml.Node, path string) error {
	s, err := f.text(n, path)
	if err != nil {
		return err
	}
	least, most, isRange := strings.Cut(s, "-")
	if open, ok := strings.CutSuffix(s, "+"); ok {
		least, most, isRange = open, strconv.Itoa(maxCount), true
	}
	count, err := strconv.ParseUint(least, 10, 31)
	limit := count
	if isRange && err == nil {
		limit, err = strconv.ParseUint(most, 10, 31)
	}
	if err != nil || count > maxCount || limit < count {
		return f.errorf(n.Line, path, "%s is not a number of instances, 0 to %d", registry.Quote(s), maxCount)
	}
	if limit > count {
		f.ignore(entry{key: "the range of scale", line: n.Line}, path, noScaling)
	}
	f.Count = int(count)
	return nil
}

// number reads a whole number.
func (r *reader) number(n *yaml.Node, path string, least, most int64) (int64, error) {
	s, err := r.text(n, path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < least || v > most {
		return 0, r.errorf(n.Line, path, "%s is not a whole number, %d to %d", registry.Quote(s), least, most)
	}
	return v, nil
}
