package deploy

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/rackdns/rackdns/internal/manifest"
)

// existing is a container of the app as it is.
type existing struct {
	id, name string
	// image is the ID of its image.
	image string
	// directory is the one that it was brought up from; older ones have none.
	directory string
	// service is what the label says, for a resource too.
	service string
	// resource is the resource's name, empty for a service.
	resource      string
	links         []string
	hash, release string
	number        int
	// mark is the container's own, see [label.UpID].
	mark string
	// running containers are those that may serve, or be about to. One that is
	// done has ended by itself, with exit code 0.
	running, done bool
}

// component is the name of what the container is one of.
func (e *existing) component() string { return cmp.Or(e.resource, e.service) }

// String is what people are told of: not its name, which may not be its own yet.
func (e *existing) String() string {
	if e.number == 0 {
		return "container " + e.name // it is no service's
	}
	return "instance " + strconv.Itoa(e.number)
}

// released is String with the release, where there may be two of a number.
func (e *existing) released() string { return e.String() + " of release " + e.release }

// action is what a step does.
type action uint8

const (
	// discard removes a container that doesn't run.
	discard action = iota + 1
	// keep leaves a container as it is, and sees to it that it serves.
	keep
	// start makes a container and waits until it serves.
	start
	// stop stops a container and removes it.
	stop
	// replace stops a container, starts another one in its place and removes
	// the first, or starts it again if the other one doesn't serve.
	replace
	// ready makes a container that a timer starts.
	ready
)

// room is how many more containers than wanted may run while others are replaced,
// and how many fewer. One of them isn't 0.
type room struct{ over, under int }

// roomOf returns what percentages leave: of what may run besides, any part of a
// container is one; of what may be missing, none is.
func roomOf(d manifest.Deployment, count int) room {
	const all = 100
	r := room{over: max(count*(d.Maximum-all)+all-1, 0) / all, under: count * (all - d.Minimum) / all}
	if r.over == 0 {
		r.under = max(r.under, 1)
	}
	return r
}

// alone is the room of what can have no second one at a time.
var alone = room{under: 1}

// step is one change.
type step struct {
	action action
	// batch tells steps of one action in a row apart that have to wait for each
	// other.
	batch int
	// container is the one that is there, for all but start.
	container *existing
	// fresh says that none stops for the one to be made.
	fresh bool
	// number and release are those of the one to be made.
	number  int
	release string
}

// plan returns the steps from what there is of a service or a resource to what
// is wanted, the number of containers with a hash. They are to be taken in
// their order, but for those of one action and batch in a row, which don't depend
// on each other; release is for what has to be made, and foreign tells of numbers
// that can't be given, since somebody else's container has such a name. One that
// has done all that it had to do stays as it is.
func plan(hash string, count int, space room, have []*existing, release string, foreign func(number int) bool) []step {
	var (
		steps      []step
		fresh, old []*existing
	)
	for _, c := range inOrder(have) {
		switch {
		case !c.running && (!c.done || c.hash != hash):
			steps = append(steps, step{action: discard, container: c})
		case c.hash == hash:
			fresh = append(fresh, c)
		default:
			old = append(old, c)
		}
	}
	kept := fresh[:min(len(fresh), count)]
	if len(fresh) > 0 {
		// What is alike is of one release.
		release = fresh[0].release
	}
	for _, c := range kept {
		steps = append(steps, step{action: keep, container: c})
	}
	numbers := freeNumbers(fresh, count-len(kept), foreign)
	paired := min(len(numbers), len(old))
	steps = append(steps, exchange(numbers[:paired], old[:paired], space, release)...)
	old = old[paired:]
	for _, number := range numbers[paired:] {
		steps = append(steps, step{action: start, number: number, release: release, fresh: true})
	}
	for _, c := range slices.Concat(old, fresh[len(kept):]) {
		steps = append(steps, step{action: stop, container: c})
	}
	return steps
}

// exchange returns the steps that put as many containers into the place of others,
// some at a time: new ones start before old ones stop, if there is room for that. The
// first one goes by itself, since it shows whether the others would come up.
func exchange(numbers []int, old []*existing, space room, release string) (steps []step) {
	for batch := 0; len(numbers) > 0; batch++ {
		n := min(space.under, len(numbers))
		if space.over > 0 {
			n = min(space.over, len(numbers))
		}
		if batch == 0 {
			n = 1
		}
		var stops []step
		for k := range n {
			s := step{action: start, batch: batch, number: numbers[k], release: release}
			if space.over == 0 {
				s.action, s.container = replace, old[k]
			} else {
				stops = append(stops, step{action: stop, batch: batch, container: old[k]})
			}
			steps = append(steps, s)
		}
		steps = append(steps, stops...)
		numbers, old = numbers[n:], old[n:]
	}
	return steps
}

// inOrder orders containers by number, then by name.
func inOrder(have []*existing) []*existing {
	have = slices.Clone(have)
	slices.SortFunc(have, func(a, b *existing) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.name, b.name))
	})
	return have
}

// freeNumbers returns the n lowest numbers that none of the containers has, nor
// anybody else.
func freeNumbers(taken []*existing, n int, foreign func(number int) bool) []int {
	var free []int
	for number := 1; len(free) < n; number++ {
		if !foreign(number) && !slices.ContainsFunc(taken, func(c *existing) bool { return c.number == number }) {
			free = append(free, number)
		}
	}
	return free
}

// changes reports whether there is anything to be made.
func changes(steps []step) bool {
	return slices.ContainsFunc(steps, func(s step) bool { return s.action != keep })
}

// inStopOrder orders containers such that none is stopped before those that use
// it: services before those they link to, resources last.
func inStopOrder(have []*existing) []*existing {
	byService := map[string][]*existing{}
	var services []string
	for _, c := range inOrder(have) {
		if byService[c.service] == nil {
			services = append(services, c.service)
		}
		byService[c.service] = append(byService[c.service], c)
	}
	slices.Sort(services)
	var (
		// after has each service behind all that it links to.
		after   []string
		visited = map[string]bool{}
		visit   func(service string)
	)
	visit = func(service string) {
		if visited[service] {
			return // also the end of a cycle
		}
		visited[service] = true
		for _, c := range byService[service] {
			for _, link := range c.links {
				visit(link)
			}
		}
		after = append(after, service)
	}
	for _, s := range services {
		visit(s)
	}
	slices.Reverse(after)
	var ordered, resources []*existing
	for _, s := range after {
		for _, c := range byService[s] {
			if c.resource != "" {
				resources = append(resources, c)
			} else {
				ordered = append(ordered, c)
			}
		}
	}
	return append(ordered, resources...)
}
