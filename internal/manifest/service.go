package manifest

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/shlex"
	"go.yaml.in/yaml/v4"

	"github.com/rackdns/rackdns/internal/registry"
)

// maxCount is how many instances of one service one host is asked to run.
const maxCount = 1000

// How a check goes on where the file doesn't say: as other racks do it.
const (
	healthInterval = 5 * time.Second
	healthMargin   = time.Second
)

func (r *reader) service(s *Service, n *yaml.Node, path string) error {
	keys, err := r.mapping(n, path)
	if err != nil {
		return err
	}
	var ports []Port
	health := 0
	for _, e := range keys {
		at := below(path, e.key)
		switch e.key {
		case "image":
			s.Image, err = r.filled(e.value, at)
		case "build":
			s.Build, err = r.build(e.value, at)
		case "command":
			s.Command, err = r.command(e.value, at)
		case "port":
			s.Port, err = r.port(e.value, at)
		case "ports":
			ports, err = r.ports(e.value, at)
		case "links":
			err = r.linksOf(s, e.value, at)
		case "resources":
			s.Resources, err = r.refs(e.value, at)
		case "environment":
			s.Environment, err = r.environment(e.value, at)
		case "scale":
			s.Count, err = r.scale(e.value, at)
		case "health":
			health = e.line
			s.Health, err = r.health(e.value, at)
		case "internal":
			s.Internal, err = r.yes(e.value, at)
		case "labels":
			s.Labels, err = r.named(e.value, at)
		default:
			r.other(e, path, serviceWithout)
		}
		if err != nil {
			return err
		}
	}
	if s.Image == "" && s.Build == nil {
		return r.errorf(s.Line, path, "has neither an image nor a build")
	}
	if s.Health != nil && s.Port == nil {
		return r.errorf(health, path+".health", "there is no port to check")
	}
	return r.allPorts(s, ports, path)
}

// filled is text that is not empty.
func (r *reader) filled(n *yaml.Node, path string) (string, error) {
	s, err := r.text(n, path)
	if err == nil && strings.TrimSpace(s) == "" {
		err = r.errorf(n.Line, path, "is empty")
	}
	return s, err
}

func (r *reader) build(n *yaml.Node, path string) (*Build, error) {
	b := &Build{Path: ".", Dockerfile: "Dockerfile"}
	if n.Kind == yaml.ScalarNode {
		var err error
		b.Path, err = r.filled(n, path)
		return b, err
	}
	keys, err := r.mapping(n, path)
	if err != nil {
		return nil, err
	}
	file := ""
	for _, e := range keys {
		at := below(path, e.key)
		switch e.key {
		case "path":
			b.Path, err = r.filled(e.value, at)
		case "manifest", "dockerfile":
			if file != "" {
				return nil, r.errorf(e.line, at, "says the same as %s; give one of them", file)
			}
			file = e.key
			b.Dockerfile, err = r.filled(e.value, at)
		case "args":
			b.Args, err = r.named(e.value, at)
		case "target":
			b.Target, err = r.filled(e.value, at)
		default:
			r.other(e, path, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (r *reader) command(n *yaml.Node, path string) ([]string, error) {
	if n.Kind == yaml.SequenceNode {
		words, err := r.texts(n, path)
		if err == nil && len(words) == 0 {
			err = r.errorf(n.Line, path, "is empty")
		}
		return words, err
	}
	if isNull(n) {
		return nil, nil
	}
	s, err := r.text(n, path)
	if err != nil {
		return nil, err
	}
	words, err := shlex.Split(s)
	if err != nil {
		// The library's message says no more, and may repeat a secret.
		return nil, r.errorf(n.Line, path, "can't be split into words: a quote is not closed, or a backslash has nothing behind it")
	}
	if len(words) == 0 {
		return nil, r.errorf(n.Line, path, "is empty")
	}
	return words, nil
}

func (r *reader) linksOf(s *Service, n *yaml.Node, path string) error {
	items, err := r.list(n, path)
	if err != nil {
		return err
	}
	for _, i := range items {
		link, err := r.text(i, path)
		if err != nil {
			return err
		}
		if service, _, ok := strings.Cut(link, ":"); ok {
			return r.errorf(i.Line, path, "%s: a link has no other name than its service's; want %s", registry.Quote(link), registry.Quote(service))
		}
		if err := r.name(i.Line, path, "service", link); err != nil {
			return err
		}
		s.Links = append(s.Links, link)
		r.links = append(r.links, linkAt{s.Name, link, i.Line})
	}
	return nil
}

func (r *reader) refs(n *yaml.Node, path string) ([]ResourceRef, error) {
	items, err := r.list(n, path)
	if err != nil {
		return nil, err
	}
	var all []ResourceRef
	for _, i := range items {
		s, err := r.text(i, path)
		if err != nil {
			return nil, err
		}
		name, env, ok := strings.Cut(s, ":")
		if err := r.name(i.Line, path, "resource", name); err != nil {
			return nil, err
		}
		if ok && !IsVariable(env) {
			return nil, r.errorf(i.Line, path, "%s: %s is not the name of an environment variable", registry.Quote(s), registry.Quote(env))
		}
		all = append(all, ResourceRef{Name: name, Env: env, Line: i.Line})
	}
	return all, nil
}

// scale reads how many instances there should be: 3, {count: 3}, or a range, of
// which the least counts. A null is an empty map, as everywhere.
func (r *reader) scale(n *yaml.Node, path string) (int, error) {
	if n.Kind != yaml.MappingNode && !isNull(n) {
		return r.count(n, path)
	}
	keys, err := r.mapping(n, path)
	if err != nil {
		return 0, err
	}
	count := 1
	for _, e := range keys {
		if e.key != "count" {
			r.other(e, path, scaleWithout)
			continue
		}
		if count, err = r.count(e.value, below(path, e.key)); err != nil {
			return 0, err
		}
	}
	return count, nil
}

func (r *reader) count(n *yaml.Node, path string) (int, error) {
	s, err := r.text(n, path)
	if err != nil {
		return 0, err
	}
	least, most, isRange := strings.Cut(s, "-")
	count, err := strconv.ParseUint(least, 10, 31)
	if isRange && err == nil {
		_, err = strconv.ParseUint(most, 10, 31)
	}
	if err != nil || count > maxCount {
		return 0, r.errorf(n.Line, path, "%s is not a number of instances, 0 to %d", registry.Quote(s), maxCount)
	}
	if isRange {
		r.warnf(n.Line, path, "a range has no meaning here; %d it is", count)
	}
	return int(count), nil
}

func (r *reader) health(n *yaml.Node, path string) (*Health, error) {
	if isNull(n) {
		return nil, nil
	}
	h := &Health{Path: "/", Interval: healthInterval}
	var err error
	if n.Kind == yaml.ScalarNode {
		h.Path, err = r.urlPath(n, path)
		return h.withDefaults(), err
	}
	keys, err := r.mapping(n, path)
	if err != nil {
		return nil, err
	}
	for _, e := range keys {
		at := below(path, e.key)
		switch e.key {
		case "path":
			h.Path, err = r.urlPath(e.value, at)
		case "grace":
			h.Grace, err = r.duration(e.value, at)
		case "interval":
			h.Interval, err = r.duration(e.value, at)
		case "timeout":
			h.Timeout, err = r.duration(e.value, at)
		default:
			r.other(e, path, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return h.withDefaults(), nil
}

// withDefaults fills in what follows from the interval.
func (h *Health) withDefaults() *Health {
	if h.Grace == 0 {
		h.Grace = h.Interval
	}
	if h.Timeout == 0 {
		h.Timeout = max(h.Interval-healthMargin, healthMargin)
	}
	return h
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
