// Package consul is what programs read of Consul's HTTP API, version 1: the
// catalog, and health. Nothing can be written by it.
//
// A rack is a datacenter. Consul's names are flat: a service of app default has its
// own, any other is <service>-<app>, and <service>.<app>, as in DNS, is understood,
// too. An instance is told at its lowest TCP port, where the client that asks
// reaches it.
package consul

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
)

// Version is that of Consul whose answers these are like.
const Version = "1.20.0"

// defaultApp is the app whose services have plain names.
const defaultApp = "default"

// Family returns the routes.
func Family() httpapi.Family {
	f := httpapi.Family{Name: "consul", Token: func(r *http.Request) string { return r.Header.Get("X-Consul-Token") }, Error: refuse}
	for path, h := range map[string]handler{
		"agent/self":                self,
		"status/leader":             leader,
		"status/peers":              peers,
		"catalog/datacenters":       datacenters,
		"catalog/nodes":             nodes,
		"catalog/services":          services,
		"catalog/service/{service}": catalogService,
		"health/service/{service}":  healthService,
		"health/state/{state}":      healthState,
	} {
		f.Routes = append(f.Routes, httpapi.Route{Pattern: "GET /v1/" + path, Right: httpapi.ReadNames, Handler: handle(h)})
	}
	return f
}

// refuse writes a refusal as Consul does: in plain words.
func refuse(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(sentence)) // the client may be gone
}

// query is a question with its parameters.
type query struct {
	*httpapi.Request

	values map[string][]string
	// since and wait are those of a blocking query; since is negative for others.
	since int64
	wait  time.Duration
	// filter is what the answer's entries have to be like.
	filter filter
}

// handler returns what is answered.
type handler func(http.ResponseWriter, *query) (any, error)

func handle(h handler) httpapi.Handler {
	return func(w http.ResponseWriter, r *httpapi.Request) error {
		q, err := parse(r)
		if err != nil {
			return err
		}
		v, err := h(w, q)
		if err != nil {
			return err
		}
		return httpapi.WriteJSON(w, http.StatusOK, v)
	}
}

// How long a blocking query waits, as with Consul.
const (
	defaultWait = 5 * time.Minute
	longestWait = 10 * time.Minute
	// jitter is the part of the wait by which it may be longer, so that those that
	// began together don't end together.
	jitter = 16
)

func parse(r *httpapi.Request) (*query, error) {
	values, err := r.Query()
	if err != nil {
		return nil, err
	}
	q := &query{Request: r, values: values, since: -1, wait: defaultWait}
	if text := values.Get("index"); text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return nil, httpapi.Errorf(http.StatusBadRequest, "Invalid index %s", httpapi.Quote(text))
		}
		if n > 0 {
			q.since = int64(n)
		}
	}
	if text := values.Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if n, e := strconv.ParseUint(text, 10, 31); e == nil {
			d, err = time.Duration(n)*time.Second, nil
		}
		if err != nil || d < 0 {
			return nil, httpapi.Errorf(http.StatusBadRequest, "Invalid wait time %s", httpapi.Quote(text))
		}
		q.wait = min(d, longestWait)
	}
	q.wait += time.Duration(rand.Int64N(int64(q.wait/jitter) + 1))
	if values.Has("node-meta") {
		return nil, httpapi.Errorf(http.StatusBadRequest, "node-meta: nodes have no metadata here")
	}
	if dc := values.Get("dc"); dc != "" {
		at := slices.IndexFunc(r.Racks(), func(k *httpapi.Rack) bool { return strings.EqualFold(k.Name, dc) })
		if at < 0 {
			return nil, httpapi.Errorf(http.StatusNotFound, "No path to datacenter: this server has no rack %s", httpapi.Quote(dc))
		}
		r.Rack = r.Racks()[at]
	}
	q.filter, err = parseFilter(values.Get("filter"))
	return q, err
}

// is reports whether a parameter is there that needs no value.
func (q *query) is(name string) bool {
	all, ok := q.values[name]
	return ok && !slices.Contains(all, "false") && !slices.Contains(all, "0")
}

// read returns the picture to answer with, as soon as something that the answer
// depends on has changed, or the wait is over.
func (q *query) read(w http.ResponseWriter, on httpapi.Depends) (*index.Snapshot, error) {
	s, err := q.Wait(q.since, q.wait, on)
	if err != nil {
		return nil, err
	}
	var names []string
	if on != nil {
		names = on(s)
	}
	h := w.Header()
	h.Set("X-Consul-Index", strconv.FormatInt(max(s.ChangedAt(names...), 1), 10))
	h.Set("X-Consul-Knownleader", "true")
	age := time.Duration(0)
	if x, err := q.Rack.Index(); err == nil {
		age = x.Age()
	}
	h.Set("X-Consul-Lastcontact", strconv.FormatInt(age.Milliseconds(), 10))
	h.Set("X-Consul-Effective-Consistency", "stale")
	h.Set("Vary", "Rack")
	return s, nil
}

// nameOf is the name under which Consul's clients find a service.
func nameOf(s *index.Snapshot, v *index.Service) string {
	name := v.Name()
	if v.App() != defaultApp {
		name += "-" + v.App()
	}
	if found := find(s, name); found == nil || found.App() != v.App() || found.Name() != v.Name() {
		return v.Name() + "." + v.App() // another has that name
	}
	return name
}

// find returns the service of a name, nil if there is none.
func find(s *index.Snapshot, name string) *index.Service {
	name = httpapi.Fold(name)
	look := func(service, app string) *index.Service {
		m := s.Lookup(service+"."+app, index.Stranger())
		if m.Kind != index.AService || strings.Contains(service, ".") {
			return nil
		}
		return m.Service
	}
	if service, app, ok := strings.Cut(name, "."); ok {
		return look(service, app)
	}
	if v := look(name, defaultApp); v != nil {
		return v
	}
	for n := range len(name) {
		if name[n] != '-' {
			continue
		}
		if v := look(name[:n], name[n+1:]); v != nil {
			return v
		}
	}
	return nil
}

// dependsOn is what an answer about a service depends on: each service that could
// have its name.
func dependsOn(name string) httpapi.Depends {
	return func(s *index.Snapshot) []string {
		name := httpapi.Fold(name)
		if strings.Contains(name, ".") {
			return s.Sources(name)
		}
		all := s.Sources(name + "." + defaultApp)
		for n := range len(name) {
			if name[n] == '-' && n > 0 && n < len(name)-1 {
				all = append(all, s.Sources(name[:n]+"."+name[n+1:])...)
			}
		}
		return all
	}
}

func self(_ http.ResponseWriter, q *query) (any, error) {
	s, err := q.Rack.Snapshot()
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"Config": map[string]any{
			"Datacenter": q.Rack.Name, "PrimaryDatacenter": q.Rack.Name, "NodeName": q.Rack.Node, "NodeID": nodeID(q.Rack.Node),
			"Server": true, "Version": Version, "Revision": "rackdns",
		},
		"Member": map[string]any{"Name": q.Rack.Node, "Addr": address(s, q.Rack.Node), "Status": 1, "Tags": map[string]string{"dc": q.Rack.Name}},
		"Meta":   map[string]string{},
	}, nil
}

// leader is where Consul's leader would be: clients ask whether there is one.
func leader(_ http.ResponseWriter, q *query) (any, error) {
	s, err := q.Rack.Snapshot()
	if err != nil {
		return nil, err
	}
	return leaderAddress(s, q.Rack.Node), nil
}

func peers(_ http.ResponseWriter, q *query) (any, error) {
	s, err := q.Rack.Snapshot()
	if err != nil {
		return nil, err
	}
	return []string{leaderAddress(s, q.Rack.Node)}, nil
}

func datacenters(_ http.ResponseWriter, q *query) (any, error) {
	var all []string
	for _, k := range q.Racks() {
		all = append(all, k.Name)
	}
	slices.Sort(all)
	return all, nil
}
