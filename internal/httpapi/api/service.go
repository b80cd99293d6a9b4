package api

import (
	"net/http"
	"net/netip"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Service is a service, or an alias of one.
type Service struct {
	App  string `json:"app"`
	Name string `json:"service"`
	// Domain is its name in DNS.
	Domain string `json:"domain"`
	// AliasOf are the services whose instances have the name as an alias, null for
	// a service.
	AliasOf  []string `json:"alias_of,omitempty"`
	Declared bool     `json:"declared"`
	// Ports are those of the declaration, else of the instances.
	Ports []Port `json:"ports"`
	// Instances is how many there are, Serving how many of them DNS hands out.
	Instances int `json:"instances"`
	Serving   int `json:"serving"`
}

// Port is a port that a service or an instance listens on.
type Port struct {
	Name      string `json:"name"`
	Protocol  string `json:"protocol"`
	Container uint16 `json:"container"`
	// Bindings are where it is published; a service's have none.
	Bindings []Binding `json:"bindings,omitempty"`
}

// Binding is an address of the node where a port is published.
type Binding struct {
	IP   netip.Addr `json:"ip"`
	Port uint16     `json:"port"`
}

// Endpoint is how the client that asks reaches a port of an instance. The port is
// 0 for an instance that has none.
type Endpoint struct {
	Instance string     `json:"instance"`
	Node     string     `json:"node"`
	Address  netip.Addr `json:"address"`
	Port     uint16     `json:"port"`
	Name     string     `json:"port_name"`
	Protocol string     `json:"protocol"`
	Weight   uint16     `json:"weight"`
	Priority uint16     `json:"priority"`
}

// OneService is a service with all that there is to say of it.
type OneService struct {
	Service
	// Endpoints are what the client that asks is told.
	Endpoints []Endpoint `json:"endpoints"`
	All       []Instance `json:"all"`
}

func services(w http.ResponseWriter, r *httpapi.Request) error {
	app := r.PathValue("app")
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(onApp(app))
	if err != nil {
		return err
	}
	apps, err := chosen(r, s, app)
	if err != nil {
		return err
	}
	return httpapi.WriteList(w, func(yield func(Service) bool) {
		for _, a := range apps {
			for v := range s.Services(a) {
				if !yield(serviceOf(v, r.Rack.Zone)) {
					return
				}
			}
		}
	})
}

func service(w http.ResponseWriter, r *httpapi.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(httpapi.Service(r.PathValue("app"), r.PathValue("service")))
	if err != nil {
		return err
	}
	a, err := r.App(s, r.PathValue("app"))
	if err != nil {
		return err
	}
	m := s.Lookup(httpapi.Fold(r.PathValue("service"))+"."+a.Name, r.Client(s))
	if m.Kind != index.AService || m.Service.Declared() == nil && len(m.Service.Instances()) == 0 {
		_, err := r.Service(s, a, r.PathValue("service"))
		if err == nil {
			err = httpapi.Errorf(http.StatusNotFound, "app %s has no such service", a.Name)
		}
		return err
	}
	// A service that is otherwise is another one.
	key := serviceKey{r.Rack, m.Service.App(), m.Service.Name(), r.Client(s).Class()}
	return serviceAnswers.Answer(w, key, m.Service, func() (any, error) {
		one := OneService{Service: serviceOf(m.Service, r.Rack.Zone), Endpoints: []Endpoint{}, All: []Instance{}}
		for n := range m.Endpoints {
			one.Endpoints = append(one.Endpoints, endpoints(&m, &m.Endpoints[n])...)
		}
		for _, i := range m.Service.Instances() {
			one.All = append(one.All, instanceOf(i))
		}
		return one, nil
	})
}

// serviceKey tells those apart that get different answers about a service.
type serviceKey struct {
	rack                *httpapi.Rack
	app, service, class string
}

// serviceAnswers are those that many wait for.
var serviceAnswers httpapi.Cache[serviceKey]

func serviceOf(v *index.Service, zone string) Service {
	is := Service{
		App: v.App(), Name: v.Name(), Domain: v.Name() + "." + v.App() + "." + zone,
		Declared: v.Declared() != nil, Ports: ports(v), Instances: len(v.Instances()),
	}
	if v.IsAlias() {
		is.AliasOf = v.Of()
	}
	for _, i := range v.Instances() {
		if i.Serving() {
			is.Serving++
		}
	}
	return is
}

// ports are those that are declared, else those of the instances, each once.
func ports(v *index.Service) []Port {
	all := []Port{}
	if d := v.Declared(); d != nil && len(d.Ports) > 0 {
		for _, p := range d.Ports {
			protocol := p.Protocol
			if protocol == "" {
				protocol = registry.TCP
			}
			all = append(all, Port{Name: p.Name, Protocol: protocol, Container: p.Container})
		}
		return all
	}
	seen := map[string]bool{}
	for _, i := range v.Instances() {
		for n := range i.Ports() {
			p := &i.Ports()[n]
			is := Port{Name: p.Name(), Protocol: p.Protocol(), Container: p.Container}
			if key := is.Name + "/" + is.Protocol + "/" + string(rune(is.Container)); !seen[key] {
				seen[key] = true
				all = append(all, is)
			}
		}
	}
	return sortedPorts(all)
}

func endpoints(m *index.Match, e *index.Endpoint) []Endpoint {
	var all []Endpoint
	for _, ip := range e.All() {
		one := Endpoint{Instance: e.ID(), Node: e.Node(), Address: ip, Weight: e.Weight(), Priority: e.Priority()}
		wanted := m.Wanted(e)
		for _, p := range wanted {
			one.Port, one.Name, one.Protocol = e.Number(p), p.Name(), p.Protocol()
			all = append(all, one)
		}
		if len(wanted) == 0 {
			all = append(all, one)
		}
	}
	return all
}
