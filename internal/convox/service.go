package convox

import (
	"fmt"
	"slices"

	"github.com/rackdns/rackdns/internal/index"
)

// Service is a service of an app, as `convox services` lists it.
type Service struct {
	App  string `json:"app"`
	Name string `json:"name"`
	// Domain is the service's name in DNS. It is empty where there is no port:
	// there is then nothing to connect to.
	Domain string `json:"domain"`
	// Ports are never null.
	Ports []ServicePort `json:"ports"`
}

// ServicePort is a port of a service. Convox has a load balancer at Domain,
// whose port Balancer is, in front of the containers, which listen on
// Container. Here Domain leads to the instances themselves, so both are the
// container's port: it is the one in the URL that a link gives, and the one that
// whoever is on the instance's network dials. Who comes from outside is told
// the published port of each instance by SRV; there is no one number for it.
type ServicePort struct {
	Balancer  int `json:"balancer"`
	Container int `json:"container"`
}

// String returns the port as it stands in the table: balancer:container.
func (p ServicePort) String() string { return fmt.Sprintf("%d:%d", p.Balancer, p.Container) }

// Services returns the services of an app of the snapshot, by name, and never
// nil. Names in DNS end in zone, such as "acme.convox". The containers of a
// resource are no service, unless one is declared.
func Services(s *index.Snapshot, app *index.App, zone string) []Service {
	all := []Service{}
	for v := range s.Services(app) {
		if v.Declared() == nil && allOfResources(v.Instances()) {
			continue
		}
		one := Service{App: v.App(), Name: v.Name(), Ports: servicePorts(v)}
		if len(one.Ports) > 0 {
			one.Domain = v.Name() + "." + v.App() + "." + zone
		}
		all = append(all, one)
	}
	return all
}

func allOfResources(instances []*index.Instance) bool {
	return !slices.ContainsFunc(instances, func(i *index.Instance) bool { return !i.OfResource() })
}

// servicePorts returns the ports that are declared, in that order, else all
// those of the instances. The format tells TCP and UDP not apart.
func servicePorts(v *index.Service) []ServicePort {
	all := []ServicePort{}
	add := func(number uint16) {
		p := ServicePort{int(number), int(number)}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	if d := v.Declared(); d != nil && len(d.Ports) > 0 {
		for _, p := range d.Ports {
			add(p.Container)
		}
		return all
	}
	for _, i := range v.Instances() {
		for _, p := range i.Ports() {
			add(p.Container)
		}
	}
	slices.SortFunc(all, func(x, y ServicePort) int { return x.Container - y.Container })
	return all
}
