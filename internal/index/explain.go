package index

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// Explanation says what a name stands for, and why a client is told of just
// those instances.
type Explanation struct {
	Match
	// Verdicts are about all instances behind the name, serving or not, by ID.
	Verdicts []Verdict
}

// Verdict says whether a client is told of an instance, and why.
type Verdict struct {
	Instance *Instance
	Told     bool
	// Endpoints are what the client is told. There are none unless Told is set.
	Endpoints []Endpoint
	// Left are the ports that were asked for as well and can't be reached.
	Left []LeftPort
	// Why is the rule that decided, in words that follow the instance as their
	// subject, such as "is unhealthy".
	Why string
}

// LeftPort is a port that a client isn't told of.
type LeftPort struct {
	*Port
	// Why follows the port as its subject.
	Why string
}

// Wanted returns the ports of an endpoint that were asked for.
func (m *Match) Wanted(e *Endpoint) []*Port {
	var all []*Port
	for n := range e.ports {
		if p := &e.ports[n]; e.numbers[n] != 0 && m.Wants(p) {
			all = append(all, p)
		}
	}
	return all
}

// Explain is [Snapshot.Lookup] with the reasons, by the same evaluation. The
// error is an [UnknownError].
func (s *Snapshot) Explain(name string, c *Client) (Explanation, error) {
	x := Explanation{Match: s.Lookup(name, c)}
	var instances []*Instance
	switch x.Kind {
	case None:
		return x, s.unknown(name)
	case Empty:
	case AService, Ports:
		instances = x.Service.Instances()
	case AnInstance:
		id, label := s.instanceLabel(name, x.Service)
		for _, i := range x.Service.Instances() {
			if i.ID() == id {
				instances = append(instances, i)
			}
		}
		if label != "" {
			// A name of one endpoint stands for no other instance.
			instances = slices.DeleteFunc(instances, func(i *Instance) bool { return len(x.Endpoints) > 0 && x.Endpoints[0].Instance != i })
		}
	case Target:
		instances = x.Resource.instances
	}
	for _, i := range instances {
		v := s.verdict(&x.Match, i, c)
		if x.Kind == AnInstance && v.Told && slices.ContainsFunc(x.Verdicts, func(o Verdict) bool { return o.Told }) {
			v = Verdict{Instance: i, Why: "has the ID of one on another node, which comes first"}
		}
		x.Verdicts = append(x.Verdicts, v)
	}
	if x.Kind != AnInstance {
		x.leaveOutOthers()
	}
	return x, nil
}

// leaveOutOthers corrects the verdicts about instances that could be told and
// aren't, since there are others: see [InTurn].
func (x *Explanation) leaveOutOthers() {
	for n := range x.Verdicts {
		v := &x.Verdicts[n]
		if !v.Told || slices.ContainsFunc(x.Endpoints, func(e Endpoint) bool { return e.Instance == v.Instance }) {
			continue
		}
		*v = Verdict{Instance: v.Instance, Why: "has no such port"}
		if v.Instance.isIdle() {
			v.Why = "has weight 0, and others serve"
		}
	}
}

// instanceLabel returns which instance of a service a name is of, and the label
// before its ID if that is there.
func (s *Snapshot) instanceLabel(name string, v *Service) (id, label string) {
	first, rest, _ := strings.Cut(name, ".")
	if second, _, _ := strings.Cut(rest, "."); v.knows(second) && strings.Count(name, ".") == 3 {
		return second, first
	}
	return first, ""
}

// verdict says of an instance what Lookup does with it.
func (s *Snapshot) verdict(m *Match, i *Instance, c *Client) Verdict {
	v := Verdict{Instance: i}
	if !i.Serving() {
		v.Why = "is " + s.StateInWords(i)
		return v
	}
	e := s.rules.evaluate(i, c)
	ports := false
	for _, x := range s.rules.endpointsAs(nil, i, c, m.alias()) {
		if m.Kind == AnInstance && x.label != m.label() {
			continue
		}
		wanted := m.Wanted(&x)
		if m.Kind == Ports && len(wanted) == 0 {
			continue
		}
		if len(wanted) == 0 && len(i.ports) > 0 && !x.tell4 && !x.tell6 {
			continue
		}
		v.Endpoints = append(v.Endpoints, x)
	}
	for n := range e.verdicts {
		w, p := &e.verdicts[n], &i.ports[n]
		if !m.Wants(p) || !m.Service.has(i, p) {
			continue
		}
		ports = true
		if !w.Reached() {
			v.Left = append(v.Left, LeftPort{p, s.rules.words(i, w.Why())})
		}
	}
	switch {
	case len(v.Endpoints) > 0:
		v.Told, v.Why = true, s.rules.toldWords(&v.Endpoints[0])
		if until := i.Preserved(); !until.IsZero() {
			v.Why += "; is preserved until " + until.UTC().Format(time.RFC3339) + ", since the registry has lost it together with others"
		}
	case m.Kind == Ports && !ports:
		v.Why, v.Left = "has no such port", nil
	case len(v.Left) > 0:
		v.Why, v.Left = v.Left[0].Why, nil
	case e.bare != nil:
		v.Why = s.rules.words(i, e.bare.Why())
	default:
		v.Why = s.rules.words(i, reach.NotPublished)
	}
	return v
}

// alias is the alias that a name is of, empty if it is a service's.
func (m *Match) alias() string {
	if m.Service == nil {
		return ""
	}
	return m.Service.views.alias
}

// label is that of the endpoint that a match of an instance's name is about.
func (m *Match) label() string {
	if m.Kind == AnInstance && len(m.Endpoints) > 0 {
		return m.Endpoints[0].label
	}
	return ""
}

// toldWords says by which rule an endpoint is told.
func (r *rules) toldWords(e *Endpoint) string {
	limit := ""
	if kind := r.limit(e.Instance); kind != registry.AddressAuto {
		limit = fmt.Sprintf(", and limited to such addresses (%s)", r.limitedBy(e.Instance))
	}
	switch e.rule {
	case reach.SharedNetwork:
		return "shares network " + e.network + " with the client" + limit
	case reach.Routable:
		if limit != "" {
			return fmt.Sprintf("is limited to its own address (%s)", r.limitedBy(e.Instance))
		}
		return "is on network " + e.network + ", which is routable"
	case reach.InSubnet:
		return "is on network " + e.network + ", whose subnet the client is in" + limit
	case reach.OwnBridge:
		return "is on network " + e.network + " of the client, the node itself" + limit
	}
	return "is published where the client reaches it" + limit
}

// words says why an instance, or a port of it, can't be reached.
func (r *rules) words(i *Instance, why reach.Rule) string {
	switch why {
	case reach.LimitedToHost:
		return fmt.Sprintf("is limited to what it publishes (%s), which is nothing", r.limitedBy(i))
	case reach.LimitedToContainer:
		return fmt.Sprintf("is limited to its own address (%s) and has none", r.limitedBy(i))
	case reach.OtherFamily:
		return "is published at addresses of an IP family that the client's networks don't have"
	case reach.Confined:
		return "can't be reached by the client, whose networks are internal and other ones"
	case reach.Filtered:
		return "is on another network of the client's node, whose engine lets nothing through between its networks (userland-proxy: false)"
	case reach.NoIPv6NAT:
		return "is published by IPv6, where its engine leads nobody without docker-proxy (userland-proxy: false)"
	case reach.Parted:
		return "is published by the client's own node, which a macvlan or ipvlan doesn't reach"
	case reach.OneWay:
		return "is published by UDP on another network of the client's node, from where replies come from another address"
	case reach.ElsewhereOnly:
		return "is published at addresses that mean nothing to the client"
	}
	names := make([]string, 0, len(i.networks))
	for n := range i.networks {
		names = append(names, i.networks[n].of.Value().name)
	}
	switch len(names) {
	case 0:
		return "publishes no such port and is on no network"
	case 1:
		return "isn't published beyond its host, and the client is not on its network " + names[0]
	}
	return "isn't published beyond its host, and the client is on none of its networks " + strings.Join(names, ", ")
}

// limit is the kind of address that an instance is limited to.
func (r *rules) limit(i *Instance) string { return cmp.Or(i.addressMode(), r.options.Limit) }

// limitedBy says what limits the instance to one kind of address: its label, or
// the property in the Corefile.
func (r *rules) limitedBy(i *Instance) string {
	if a := i.addressMode(); a != registry.AddressAuto {
		return "rackdns.address=" + a
	}
	return "address " + r.options.Limit
}

// State is one word for how the instance is: "running" if DNS may hand it out,
// else Docker's status, "drained" (its node is), "draining", or what the health
// check says. It is the one notion of that, for all commands.
func (i *Instance) State() string {
	switch {
	case i.Serving():
		return registry.StatusRunning
	case i.Status() != registry.StatusRunning:
		return cmp.Or(i.Status(), "in no known state")
	case i.drained:
		return "drained"
	case i.Draining():
		return "draining"
	}
	return i.Health()
}

// StateInWords says how an instance is, in words that follow "is".
func (s *Snapshot) StateInWords(i *Instance) string {
	switch state := i.State(); state {
	case "drained":
		return fmt.Sprintf("on a node that is %s (rackdns node drain %s --undo)", s.Drained(i.Node()), i.Node())
	case "draining":
		return state + ": it was told to stop, or its process has ended"
	case registry.HealthStarting:
		return state + ": its health check has not succeeded yet"
	default:
		return state
	}
}
