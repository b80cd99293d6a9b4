package index

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// Explanation says what a name stands for, and why an asker is told of just
// those instances.
type Explanation struct {
	Match
	// Verdicts are about all instances behind the name, serving or not, by ID.
	Verdicts []Verdict
}

// Verdict says whether an asker is told of an instance, and why.
type Verdict struct {
	Instance *Instance
	Told     bool
	// Endpoint is where the asker is told to find it. It is set if Told is.
	Endpoint Endpoint
	// Ports are those that the endpoint has an SRV record for, Unpublished
	// those that were asked for as well and can't be reached there.
	Ports, Unpublished []*Port
	// Why is the rule that decided, in words that follow the instance as their
	// subject, such as "is unhealthy".
	Why string
}

// Explain is [Snapshot.Lookup] with the reasons, by the same rules. It works
// them out anew, so it is for people, not for every query. The error is an
// [UnknownError].
func (s *Snapshot) Explain(name string, a Asker) (Explanation, error) {
	x := Explanation{Match: s.Lookup(name, a)}
	var instances []*Instance
	switch x.Kind {
	case None:
		return x, s.unknown(name)
	case Empty:
	case AService, Ports:
		instances = x.Service.Instances()
	case AnInstance:
		id, _, _ := strings.Cut(name, ".")
		instances = slices.DeleteFunc(slices.Clone(x.Service.Instances()), func(i *Instance) bool { return i.ID() != id })
	case Target:
		instances = x.Resource.instances
	}
	for _, i := range instances {
		v := s.verdict(&x.Match, i, a)
		if x.Kind == AnInstance && v.Told && slices.ContainsFunc(x.Verdicts, func(o Verdict) bool { return o.Told }) {
			v = Verdict{Instance: i, Why: "has the ID of one on another node, which comes first"}
		}
		x.Verdicts = append(x.Verdicts, v)
	}
	return x, nil
}

func (s *Snapshot) verdict(m *Match, i *Instance, a Asker) Verdict {
	e, why := s.rules.endpoint(i, a)
	v := Verdict{Instance: i, Told: why.told(), Why: s.rules.words(i, a, e, why)}
	if !v.Told {
		return v
	}
	v.Endpoint = e
	ports := i.Ports()
	for n := range ports {
		switch p := &ports[n]; {
		case !m.Wants(p):
		case e.Number(p) == 0:
			v.Unpublished = append(v.Unpublished, p)
		default:
			v.Ports = append(v.Ports, p)
		}
	}
	if m.Kind == Ports && len(v.Ports) == 0 {
		v.Told, v.Endpoint, v.Why = false, Endpoint{}, "has no such port"
		if len(v.Unpublished) > 0 {
			v.Why = "doesn't publish that port beyond loopback"
		}
	}
	return v
}

// words says what a rule means for an instance.
func (r *rules) words(i *Instance, a Asker, e Endpoint, why rule) string {
	switch why {
	case notServing:
		return "is " + i.stateInWords()
	case onlyHost:
		return fmt.Sprintf("is limited to what it publishes (%s), which is nothing beyond loopback", r.forcedBy(i))
	case onlyContainer:
		return fmt.Sprintf("is limited to its own address (%s) and has none", r.forcedBy(i))
	case sharedNetwork:
		return "shares network " + e.Network().Name() + " with the asker"
	case published:
		return "is published beyond loopback"
	case routableNetwork:
		return "is on network " + e.Network().Name() + ", which is routable"
	case sameNode:
		return "is on network " + e.Network().Name() + " of the asker, the node itself"
	case forcedHost:
		return fmt.Sprintf("is limited to what it publishes (%s)", r.forcedBy(i))
	case forcedContainer:
		return fmt.Sprintf("is limited to its own address (%s)", r.forcedBy(i))
	}
	const unpublished = "publishes no port beyond loopback"
	networks := i.Networks()
	switch {
	case len(networks) == 0:
		return unpublished + " and is on no network"
	case a.onNode:
		return unpublished + " and is on no network of this node"
	case len(a.networks) > 0:
		return unpublished + " and shares no network with the asker"
	case len(networks) == 1:
		return unpublished + ", and its network " + networks[0].Name() + " is not routable"
	}
	names := make([]string, len(networks))
	for n := range networks {
		names[n] = networks[n].Name()
	}
	return unpublished + ", and none of its networks is routable: " + strings.Join(names, ", ")
}

// forcedBy says what limits the instance to one kind of endpoint: its label, or
// the property in the Corefile.
func (r *rules) forcedBy(i *Instance) string {
	if a := i.forced(); a != registry.AddressAuto {
		return "rackdns.address=" + a
	}
	return "address " + r.address
}

// State is one word for how the instance is: "running" if DNS may hand it out,
// else Docker's status, "draining", or what the health check says.
func (i *Instance) State() string {
	switch {
	case i.serving:
		return registry.StatusRunning
	case i.Status() != registry.StatusRunning:
		return cmp.Or(i.Status(), "in no known state")
	case i.draining:
		return "draining"
	}
	return i.Health()
}

func (i *Instance) stateInWords() string {
	switch state := i.State(); state {
	case "draining":
		return state + ": it was told to stop, or its process has ended"
	case registry.HealthStarting:
		return state + ": its health check has not succeeded yet"
	default:
		return state
	}
}
