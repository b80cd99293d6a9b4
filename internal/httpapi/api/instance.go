package api

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
)

// Instance is an instance of a service. What it was started with isn't here: a
// command may have a password in it.
type Instance struct {
	ID      string    `json:"id"`
	Node    string    `json:"node"`
	App     string    `json:"app"`
	Service string    `json:"service"`
	Aliases []string  `json:"aliases"`
	Release string    `json:"release"`
	Image   string    `json:"image"`
	Started time.Time `json:"started,omitzero"`
	// State is "running" for an instance that serves, else why it doesn't, in a
	// word; Health is what its health check says, empty without one.
	State   string `json:"state"`
	Health  string `json:"health"`
	Serving bool   `json:"serving"`
	// Preserved is until when it is told though the registry has lost it.
	Preserved time.Time         `json:"preserved,omitzero"`
	Host      netip.Addr        `json:"host,omitzero"`
	Ports     []Port            `json:"ports"`
	Networks  []Network         `json:"networks"`
	Weight    uint16            `json:"weight"`
	Priority  uint16            `json:"priority"`
	Tags      map[string]string `json:"tags"`
	// Observed is when the node's engine told of its present state.
	Observed time.Time `json:"observed,omitzero"`
}

// Network is an instance's place on a Docker network.
type Network struct {
	ID   string     `json:"id"`
	Name string     `json:"name"`
	IPv4 netip.Addr `json:"ipv4,omitzero"`
	IPv6 netip.Addr `json:"ipv6,omitzero"`
}

func instanceOf(i *index.Instance) Instance {
	d := i.Registered()
	is := Instance{
		ID: i.ID(), Node: i.Node(), App: i.App(), Service: i.Service(), Aliases: []string{}, Release: d.Release, Image: d.Image,
		Started: i.Started(), State: i.State(), Health: i.Health(), Serving: i.Serving(), Preserved: i.Preserved(), Host: i.Host(),
		Ports: []Port{}, Networks: []Network{}, Weight: i.Weight(), Priority: i.Priority(), Tags: d.Tags, Observed: d.Observed,
	}
	if is.Tags == nil {
		is.Tags = map[string]string{}
	}
	for _, a := range i.Aliases() {
		if !slices.Contains(is.Aliases, a.Name) {
			is.Aliases = append(is.Aliases, a.Name)
		}
	}
	slices.Sort(is.Aliases)
	for _, p := range d.Ports {
		port := Port{Name: p.Name, Protocol: p.Protocol, Container: p.Container}
		for _, b := range p.Bindings {
			port.Bindings = append(port.Bindings, Binding{b.IP, b.Port})
		}
		is.Ports = append(is.Ports, port)
	}
	for _, n := range d.Networks {
		is.Networks = append(is.Networks, Network{n.ID, n.Name, n.IPv4, n.IPv6})
	}
	return is
}

func sortedPorts(all []Port) []Port {
	slices.SortFunc(all, func(x, y Port) int {
		return cmp.Or(cmp.Compare(x.Container, y.Container), cmp.Compare(x.Protocol, y.Protocol), cmp.Compare(x.Name, y.Name))
	})
	return all
}

func instances(w http.ResponseWriter, r *httpapi.Request) error {
	q, err := query(r, "app", "service", "node")
	if err != nil {
		return err
	}
	s, err := r.Read(onApp(q("app")))
	if err != nil {
		return err
	}
	apps, err := chosen(r, s, q("app"))
	if err != nil {
		return err
	}
	return httpapi.WriteList(w, func(yield func(Instance) bool) {
		for _, a := range apps {
			for v := range s.Services(a) {
				if q("service") != "" && v.Name() != httpapi.Fold(q("service")) {
					continue
				}
				for _, i := range v.Instances() {
					if (q("node") == "" || i.Node() == q("node")) && !yield(instanceOf(i)) {
						return
					}
				}
			}
		}
	})
}

// shortestID is how much of an ID is enough.
const shortestID = 4

func instance(w http.ResponseWriter, r *httpapi.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(nil)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	var found []*index.Instance
	for a := range s.Apps() {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				if i.ID() == id || len(id) >= shortestID && strings.HasPrefix(i.ID(), id) {
					found = append(found, i)
				}
			}
		}
	}
	exact := slices.IndexFunc(found, func(i *index.Instance) bool { return i.ID() == id })
	switch {
	case exact >= 0:
		return httpapi.WriteJSON(w, http.StatusOK, instanceOf(found[exact]))
	case len(found) == 0:
		return httpapi.Errorf(http.StatusNotFound, "rack %s has no instance %s", r.Rack.Name, httpapi.Quote(id))
	case len(found) > 1:
		return httpapi.Errorf(http.StatusNotFound, "several instances begin with %s, such as %s and %s", httpapi.Quote(id), found[0].ID(), found[1].ID())
	}
	return httpapi.WriteJSON(w, http.StatusOK, instanceOf(found[0]))
}
