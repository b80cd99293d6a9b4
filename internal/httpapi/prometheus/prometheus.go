// Package prometheus tells Prometheus what to scrape, by its http_sd_configs: a
// target for each TCP port of each instance that runs, at the address and the
// port by which the Prometheus that asks reaches it.
package prometheus

import (
	"net"
	"net/http"
	"strconv"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Family returns the routes.
func Family() httpapi.Family {
	return httpapi.Family{Name: "prometheus", Routes: []httpapi.Route{
		{Pattern: "GET /sd/prometheus", Right: httpapi.ReadNames, Handler: targets},
		{Pattern: "GET /sd/prometheus/{rack}", Right: httpapi.ReadNames, Handler: targets},
	}}
}

// Group is a target with its labels, as http_sd_configs reads them.
type Group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

const prefix = "__meta_rackdns_"

// filter is what the query wants; what is empty lets all pass.
type filter struct{ app, service, port string }

func parse(r *httpapi.Request) (f filter, err error) {
	q, err := r.Query()
	if err != nil {
		return f, err
	}
	for name, values := range q {
		if len(values) > 1 {
			return f, httpapi.Errorf(http.StatusBadRequest, "parameter %s is there twice", httpapi.Quote(name))
		}
		switch name {
		case "app":
			f.app = httpapi.Fold(values[0])
		case "service":
			f.service = httpapi.Fold(values[0])
		case "port":
			f.port = values[0]
		case "index", "wait":
		default:
			return f, httpapi.Errorf(http.StatusBadRequest, "there is no parameter %s here: there are app, service and port", httpapi.Quote(name))
		}
	}
	return f, nil
}

func (f filter) wants(p *index.Port) bool {
	return !p.UDP && (f.port == "" || f.port == p.Name() || f.port == strconv.Itoa(int(p.Container)))
}

func targets(w http.ResponseWriter, r *httpapi.Request) error {
	f, err := parse(r)
	if err != nil {
		return err
	}
	on := httpapi.App(f.app)
	if f.app == "" {
		on = nil
	}
	s, err := r.Read(on)
	if err != nil {
		return err
	}
	client := r.Client(s)
	return httpapi.WriteList(w, func(yield func(Group) bool) {
		for a := range s.Apps() {
			// One that isn't there yet is no mistake: Prometheus asks again.
			if f.app != "" && s.App(f.app) != a {
				continue
			}
			for v := range s.Services(a) {
				if f.service != "" && v.Name() != f.service {
					continue
				}
				for _, i := range v.Instances() {
					if !each(s, i, client, f, yield) {
						return
					}
				}
			}
		}
	})
}

// each yields an instance's targets. One that runs and isn't healthy is there, too:
// its numbers are what is wanted then.
func each(s *index.Snapshot, i *index.Instance, c *index.Client, f filter, yield func(Group) bool) bool {
	if i.Status() != registry.StatusRunning || i.Draining() || s.Drained(i.Node()) != nil {
		return true
	}
	all := s.EndpointsOf(i, c)
	ports := i.Ports()
	for n := range ports {
		if !f.wants(&ports[n]) {
			continue
		}
		for m := range all {
			number := all[m].Number(&ports[n])
			ips := all[m].All()
			if number == 0 || len(ips) == 0 {
				continue
			}
			if !yield(Group{[]string{net.JoinHostPort(ips[0].String(), strconv.Itoa(int(number)))}, labels(i, &ports[n])}) {
				return false
			}
			break // one address of an instance is enough
		}
	}
	return true
}

func labels(i *index.Instance, p *index.Port) map[string]string {
	d := i.Details()
	all := map[string]string{
		prefix + "app": i.App(), prefix + "service": i.Service(), prefix + "instance": i.ID(), prefix + "node": i.Node(),
		prefix + "release": d.Release, prefix + "port_name": p.Name(), prefix + "health": i.Health(),
	}
	for k, v := range d.Tags {
		all[prefix+"tag_"+labelName(k)] = v
	}
	return all
}

// labelName is a tag's name with "_" in place of what no label's name can have, as
// Prometheus itself makes them.
func labelName(tag string) string {
	b := []byte(tag)
	for n, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			b[n] = '_'
		}
	}
	return string(b)
}
