// Package resolve says what an asker is told of a name, and why: the answer of
// the DNS server on one node, with the reasons. It only reads a snapshot of the
// index.
package resolve

import (
	"fmt"
	"net/netip"

	"github.com/rackdns/rackdns/internal/index"
)

// Rack is the rack as the DNS server on one of its nodes sees it.
type Rack struct {
	// Snapshot is one of an index with Node among its options.
	Snapshot *index.Snapshot
	Node     string
	// Name is the rack's own, Zone where its names are, such as "acme" and
	// "acme.convox".
	Name, Zone string
}

// Kinds of names.
const (
	KindService  = "service"
	KindInstance = "instance"
	KindPort     = "port"
	KindResource = "resource"
	// KindEmpty is a name that has no records of its own, but names below it.
	KindEmpty = "empty"
)

// Result is what an asker is told of a name.
type Result struct {
	// Name is the full one, without a dot at its end.
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Asker Asker  `json:"asker"`
	// AliasOf are the services whose instances have the name as an alias, if it is
	// one.
	AliasOf []string `json:"alias_of,omitempty"`
	// Instances are all those behind the name, told or not. They are never
	// null.
	Instances []Instance `json:"instances"`
	// Host is where a resource was declared to be, if no instance is it.
	Host *Host `json:"host,omitempty"`
	// Answers is how many of the addresses one reply has at most, by a label of the
	// service; 0 is all. Which ones is another choice for each client.
	Answers int `json:"answers,omitempty"`
	// Remark says in words what there is instead of instances.
	Remark string `json:"remark,omitempty"`
}

// Instance is an instance and whether the asker is told of it.
type Instance struct {
	ID   string `json:"id"`
	Node string `json:"node"`
	Told bool   `json:"told"`
	// Why says so in words that follow the instance as their subject.
	Why string `json:"why"`
	// Endpoints are what the asker is told. They are never null.
	Endpoints []Endpoint `json:"endpoints"`
	// Unreachable are ports that the asker can't reach.
	Unreachable []Unreachable `json:"unreachable,omitempty"`
}

// Unreachable is a port, such as "9000/tcp", and why it can't be reached.
type Unreachable struct {
	Port string `json:"port"`
	Why  string `json:"why"`
}

// Endpoint is an address and a port, which is 0 for an instance without any: it
// has A and AAAA records only.
type Endpoint struct {
	Address  netip.Addr `json:"address"`
	Port     uint16     `json:"port,omitempty"`
	Name     string     `json:"port_name,omitempty"`
	Protocol string     `json:"protocol,omitempty"`
}

// Host is the declared host of a resource: an address, or an outside name to
// which a CNAME leads.
type Host struct {
	Address netip.Addr `json:"address,omitzero"`
	CNAME   string     `json:"cname,omitempty"`
	Port    uint16     `json:"port,omitempty"`
}

// Resolve says what the asker is told. The error names the part of the name
// that doesn't exist.
func (r Rack) Resolve(name string, a Asker) (Result, error) {
	relative, err := r.relative(name, a)
	if err != nil {
		return Result{}, err
	}
	res := Result{Name: r.Zone, Kind: KindEmpty, Asker: a, Instances: []Instance{}}
	if relative != "" {
		res.Name = relative + "." + r.Zone
	}
	switch relative {
	case "", "dns":
		res.Remark = "only names below it have addresses"
		return res, nil
	case "ns.dns":
		res.Remark = "is the DNS server itself"
		return res, nil
	}
	x, err := r.Snapshot.Explain(relative, a.asker)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", res.Name, err)
	}
	for _, v := range x.Verdicts {
		res.Instances = append(res.Instances, r.instance(&x.Match, v))
	}
	if x.Answers < res.addresses() {
		res.Answers = x.Answers
	}
	res.describe(&x)
	return res, nil
}

// describe says what the name is.
func (r *Result) describe(x *index.Explanation) {
	if x.Service != nil && x.Service.IsAlias() {
		r.AliasOf = x.Service.Of()
	}
	switch x.Kind {
	case index.AService:
		r.Kind = KindService
	case index.AnInstance:
		r.Kind = KindInstance
	case index.Ports:
		r.Kind = KindPort
	case index.Target:
		r.Kind = KindResource
		r.setHost(x.Resource)
	default:
		r.Remark = "only names below it have addresses"
		return
	}
	if len(r.Instances) == 0 && r.Host == nil && r.Remark == "" {
		r.Remark = "no instance is registered"
		if v := x.Service; v != nil && v.Declared() == nil {
			r.Remark += "; there was one within the last hour, so the name is still the rack's (NODATA)"
		}
	}
}

func (r *Result) setHost(res *index.Resource) {
	outside := res.OutsideHost()
	switch {
	case res.Backed:
	case res.Addr.IsValid():
		r.Host = &Host{Address: res.Addr, Port: res.Port}
	case outside != "":
		r.Host = &Host{CNAME: outside, Port: res.Port}
	}
}

// addresses is how many there are, each once.
func (r *Result) addresses() int {
	all := map[netip.Addr]bool{}
	for _, i := range r.Instances {
		for _, e := range i.Endpoints {
			all[e.Address] = true
		}
	}
	return len(all)
}

// longestName is the longest name as text, with its last dot (RFC 1035, section
// 2.3.4).
const longestName = 254

func (r Rack) instance(m *index.Match, v index.Verdict) Instance {
	i := Instance{ID: v.Instance.ID(), Node: v.Instance.Node(), Told: v.Told, Why: v.Why, Endpoints: []Endpoint{}}
	for _, p := range v.Left {
		i.Unreachable = append(i.Unreachable, Unreachable{fmt.Sprintf("%d/%s", p.Container, p.Protocol()), p.Why})
	}
	for n := range v.Endpoints {
		e := &v.Endpoints[n]
		ports := m.Wanted(e)
		if n := r.targetLength(e); n > longestName {
			// Its address is told, and no port: the name that would lead there is none.
			for _, p := range ports {
				i.Unreachable = append(i.Unreachable, Unreachable{
					fmt.Sprintf("%d/%s", p.Container, p.Protocol()),
					fmt.Sprintf("has no SRV record, since its target would be a name of %d octets, and %d are the most", n+1, longestName+1),
				})
			}
			ports = nil
		}
		for _, ip := range e.All() {
			for _, p := range ports {
				i.Endpoints = append(i.Endpoints, Endpoint{ip, e.Number(p), p.Name(), p.Protocol()})
			}
			if len(ports) == 0 {
				i.Endpoints = append(i.Endpoints, Endpoint{Address: ip})
			}
		}
	}
	return i
}

// targetLength is how long the name is to which an endpoint's SRV records lead, as
// text with its last dot.
func (r Rack) targetLength(e *index.Endpoint) int {
	n := len(e.ID()) + len(e.Service()) + len(e.App()) + len(r.Zone) + len("....")
	if e.Label() != "" {
		n += len(e.Label()) + 1
	}
	return n
}
