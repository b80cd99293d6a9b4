// Package change says in words what is different between two pictures of a rack:
// which instance came, went or serves no more, and why.
package change

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// What an event is about.
const (
	Instance = "instance"
	Service  = "service"
	Resource = "resource"
	Node     = "node"
	// Everything may be another thing now: too much has changed to be told one by
	// one.
	Everything = "everything"
)

// What happened to it.
const (
	Added   = "added"
	Removed = "removed"
	// Serves and Leaves are of an instance that DNS hands out from now on, or no
	// longer, and which is there still.
	Serves  = "serves"
	Leaves  = "leaves"
	Changed = "changed"
)

// Event is one difference.
type Event struct {
	// Index is that of the first picture that has it.
	Index  int64  `json:"index"`
	What   string `json:"what"`
	Change string `json:"change"`
	App    string `json:"app,omitempty"`
	// Name is the service's, of its instances too, or that of a resource.
	Name     string `json:"name,omitempty"`
	Instance string `json:"instance,omitempty"`
	Node     string `json:"node,omitempty"`
	// Why follows what it is about as its subject.
	Why string `json:"why"`
	// Observed is when the node's engine told of it, if it did, and Seconds how
	// long after that it was here, by the clocks of both.
	Observed time.Time `json:"observed,omitzero"`
	Seconds  float64   `json:"seconds,omitempty"`
}

// Between returns what is different in a picture from an earlier one, in the order
// of the names; now is when the later one was had.
func Between(old, is *index.Snapshot, now time.Time) []Event {
	d := differ{old: old, is: is, now: now}
	names, ok := is.Changed(old.Index())
	if !ok {
		d.add(Event{What: Everything, Change: Changed, Why: "has changed, or may have: read it again"})
		return d.events
	}
	for _, name := range names {
		rest, last := cutLast(name)
		service, above := cutLast(rest)
		switch {
		case last == index.LabelNode:
			d.node(rest)
		case rest == "*":
			// Which app a name leads to shows in the services.
		case last == "resource":
			d.resource("", rest)
		case above == "resource" && service != "":
			d.resource(last, service)
		default:
			d.service(last, rest)
		}
	}
	return d.events
}

func cutLast(name string) (rest, last string) {
	dot := strings.LastIndexByte(name, '.')
	return name[:max(dot, 0)], name[dot+1:]
}

type differ struct {
	old, is *index.Snapshot
	now     time.Time
	events  []Event
}

func (d *differ) add(e Event) {
	e.Index = d.is.Index()
	if !e.Observed.IsZero() {
		e.Observed = e.Observed.UTC()
		e.Seconds = max(d.now.Sub(e.Observed), 0).Round(time.Microsecond).Seconds()
	}
	d.events = append(d.events, e)
}

// instances are those of a service, by what tells one from another.
func instances(s *index.Snapshot, app, service string) (v *index.Service, all map[string]*index.Instance) {
	all = map[string]*index.Instance{}
	if v = s.ServiceOf(app, service); v == nil || v.IsAlias() || v.App() != app {
		return nil, all
	}
	for _, i := range v.Instances() {
		all[i.ID()+" "+i.Node()] = i
	}
	return v, all
}

func (d *differ) service(app, service string) {
	was, before := instances(d.old, app, service)
	v, after := instances(d.is, app, service)
	if was == nil && v == nil {
		return // an alias, or another name of a resource
	}
	e := Event{What: Service, App: app, Name: service}
	switch {
	case was == nil:
		e.Change, e.Why = Added, "is new"
		if v.Declared() != nil {
			e.Why = "is declared"
		}
		d.add(e)
	case v != nil && !reflect.DeepEqual(was.Declared(), v.Declared()):
		e.Change, e.Why = Changed, "is declared otherwise"
		d.add(e)
	}
	keys := slices.Collect(maps.Keys(after))
	for k := range before {
		if after[k] == nil {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		d.instance(before[k], after[k])
	}
	if v == nil {
		e.Change, e.Why = Removed, "has neither an instance nor a declaration any more"
		d.add(e)
	}
}

func (d *differ) instance(was, is *index.Instance) {
	i := is
	if is == nil {
		i = was
	}
	e := Event{What: Instance, App: i.App(), Name: i.Service(), Instance: i.ID(), Node: i.Node()}
	switch {
	case was == is:
		return
	case is == nil:
		e.Change, e.Why = Removed, d.gone(was)
	case was == nil:
		e.Change, e.Why, e.Observed = Added, "is "+d.is.StateInWords(is), observed(is)
	case was.Serving() != is.Serving():
		e.Change, e.Why, e.Observed = Leaves, "is "+d.is.StateInWords(is), observed(is)
		if is.Serving() {
			e.Change = Serves
		}
	default:
		if e.Why = differences(was, is); e.Why == "" {
			return // its node's facts are others, or only when it was seen
		}
		e.Change, e.Observed = Changed, observed(is)
	}
	d.add(e)
}

func observed(i *index.Instance) time.Time { return i.Registered().Observed }

// gone says why an instance isn't there any more.
func (d *differ) gone(i *index.Instance) string {
	switch {
	case i.Node() == registry.NodeAPI:
		return "was deregistered, or its time is over"
	case d.is.Drained(i.Node()) != nil:
		return "is gone: its node is " + d.is.Drained(i.Node()).String()
	case d.is.Nodes()[i.Node()] == nil:
		return "is gone: its node's agent is, or has let its lease run out"
	}
	return "is gone: its container is"
}

// differences says what is otherwise of an instance, empty if nothing is that
// matters.
func differences(was, is *index.Instance) string {
	a, b := was.Registered(), is.Registered()
	var all []string
	say := func(what string, old, is any) {
		if !reflect.DeepEqual(old, is) {
			all = append(all, fmt.Sprintf("%s %v, before %v", what, is, old))
		}
	}
	if was.State() != is.State() {
		say("state", was.State(), is.State())
	}
	say("weight", a.Weight, b.Weight)
	say("priority", a.Priority, b.Priority)
	say("health", cmp.Or(a.Health, "none"), cmp.Or(b.Health, "none"))
	say("release", cmp.Or(a.Release, "none"), cmp.Or(b.Release, "none"))
	changed := func(what string, old, is any) {
		if !reflect.DeepEqual(old, is) {
			all = append(all, what)
		}
	}
	changed("its ports", a.Ports, b.Ports)
	changed("its networks", a.Networks, b.Networks)
	changed("its address", a.Host, b.Host)
	changed("its tags", a.Tags, b.Tags)
	changed("its aliases", a.Aliases, b.Aliases)
	switch until := is.Preserved(); {
	case until.IsZero() && !was.Preserved().IsZero():
		all = append(all, "it is registered again")
	case !until.IsZero() && was.Preserved().IsZero():
		all = append(all, "it is preserved until "+until.UTC().Format(time.RFC3339)+", since the registry has lost it together with others")
	}
	if len(all) == 0 {
		return ""
	}
	return "has changed: " + strings.Join(all, "; ")
}

func (d *differ) resource(app, name string) {
	was, is := resourceOf(d.old, app, name), resourceOf(d.is, app, name)
	e := Event{What: Resource, App: app, Name: name}
	switch {
	case was == nil && is == nil, was == is:
		return
	case was == nil:
		e.Change, e.Why = Added, "is a "+is.Type
	case is == nil:
		e.Change, e.Why = Removed, "is gone"
	default:
		e.Change, e.Why = Changed, "is at another place, or its instances are in another state"
		if !reflect.DeepEqual(was.Resource, is.Resource) {
			e.Why = "is declared otherwise"
		}
	}
	d.add(e)
}

func resourceOf(s *index.Snapshot, app, name string) *index.Resource {
	all := s.Resources()
	if app != "" {
		a := s.App(app)
		if a == nil || a.Name != app {
			return nil
		}
		all = a.Resources()
	}
	for r := range all {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func (d *differ) node(name string) {
	was, is := d.old.Nodes()[name], d.is.Nodes()[name]
	drainedBefore, drained := d.old.Drained(name), d.is.Drained(name)
	e := Event{What: Node, Node: name}
	switch {
	case drained != nil && drainedBefore == nil:
		e.Change, e.Why = Changed, "is "+drained.String()
	case drained == nil && drainedBefore != nil:
		e.Change, e.Why = Changed, "is not drained any more"
	case was == nil && is != nil:
		e.Change, e.Why = Added, "has an agent"
	case was != nil && is == nil:
		e.Change, e.Why = Removed, "has no agent any more, or it has let its lease run out"
	case was != nil && !slices.Equal(was.Addresses, is.Addresses):
		e.Change, e.Why = Changed, fmt.Sprintf("has the addresses %v, before %v", is.Addresses, was.Addresses)
	case was != nil && !reflect.DeepEqual(was.Networks, is.Networks):
		e.Change, e.Why = Changed, "has other networks"
	default:
		return
	}
	d.add(e)
}

// Of returns the events that concern an app, by its name or its namespace, all if
// that is empty.
func Of(app string, s *index.Snapshot, events []Event) []Event {
	if app == "" {
		return events
	}
	asked := registry.FoldName(strings.ToLower(app))
	own := asked
	if a := s.App(own); a != nil {
		own = a.Name
	}
	return slices.DeleteFunc(slices.Clone(events), func(e Event) bool {
		return e.App != own && e.App != asked && e.What != Everything
	})
}

// Subject is what the event is about, in words that Why follows.
func (e *Event) Subject() string {
	switch e.What {
	case Instance:
		return e.Name + "." + e.App + " " + e.Instance + " on " + e.Node
	case Service:
		return "service " + e.Name + "." + e.App
	case Resource:
		if e.App == "" {
			return "resource " + e.Name + " of the rack"
		}
		return "resource " + e.Name + " of app " + e.App
	case Node:
		return "node " + e.Node
	}
	return e.What
}
