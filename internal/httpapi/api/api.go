// Package api is the rack as programs read it: services, instances, nodes,
// resources and clashes, what whom is told of a name, and a stream of changes.
// Every read blocks with ?index=N&wait=30s, see [httpapi.Request.Read].
package api

import (
	_ "embed"
	"net/http"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
)

//go:embed openapi.json
var openAPI []byte

// base is where the routes are, and each of them for a rack by its name.
const base = "/api/v1/"

// Family returns the routes.
func Family() httpapi.Family {
	f := httpapi.Family{Name: "api", Routes: []httpapi.Route{
		{Pattern: "GET " + base + "openapi.json", Right: httpapi.ReadNames, Handler: describe},
		{Pattern: "GET " + base + "racks", Right: httpapi.ReadNames, Handler: racks},
	}}
	w := newWatches()
	for path, h := range map[string]httpapi.Handler{
		"services":                 services,
		"services/{app}":           services,
		"services/{app}/{service}": service,
		"instances":                instances,
		"instances/{id}":           instance,
		"nodes":                    nodes,
		"nodes/{node}":             node,
		"resources":                resources,
		"resources/{app}":          resources,
		"resources/{app}/{name}":   resource,
		"clashes":                  clashes,
		"resolve":                  resolveName,
		"watch":                    w.watch,
	} {
		for _, at := range []string{base, base + "racks/{rack}/"} {
			f.Routes = append(f.Routes, httpapi.Route{Pattern: "GET " + at + path, Right: httpapi.ReadNames, Handler: h, Stream: path == "watch"})
		}
	}
	return f
}

func describe(w http.ResponseWriter, _ *httpapi.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(openAPI)
	return err
}

// Rack is one of the racks that the server can be asked about.
type Rack struct {
	Name string `json:"name"`
	Zone string `json:"zone"`
	// Index is that of its picture, 0 if there is none yet.
	Index int64 `json:"index"`
}

func racks(w http.ResponseWriter, r *httpapi.Request) error {
	all := []Rack{}
	for _, k := range r.Racks() {
		one := Rack{Name: k.Name, Zone: k.Zone}
		if s, err := k.Snapshot(); err == nil {
			one.Index = s.Index()
		}
		all = append(all, one)
	}
	return httpapi.WriteJSON(w, http.StatusOK, all)
}

// query returns the parameters of a read, and refuses those that there aren't: a
// filter that is mistyped would let everything pass.
func query(r *httpapi.Request, known ...string) (func(string) string, error) {
	q, err := r.Query()
	if err != nil {
		return nil, err
	}
	known = append(known, "index", "wait")
	for name, values := range q {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		switch {
		case !found:
			return nil, httpapi.Errorf(http.StatusBadRequest, "there is no parameter %s here", httpapi.Quote(name))
		case len(values) > 1:
			return nil, httpapi.Errorf(http.StatusBadRequest, "parameter %s is there twice", httpapi.Quote(name))
		}
	}
	return q.Get, nil
}

// chosen returns the apps that a read is about: the one in the path or the query,
// else all.
func chosen(r *httpapi.Request, s *index.Snapshot, name string) ([]*index.App, error) {
	if name == "" {
		var all []*index.App
		for a := range s.Apps() {
			all = append(all, a)
		}
		return all, nil
	}
	a, err := r.App(s, name)
	if err != nil {
		return nil, err
	}
	return []*index.App{a}, nil
}

// onApp is what an answer about an app, or all of them, depends on.
func onApp(name string) httpapi.Depends {
	if name == "" {
		return nil
	}
	return httpapi.App(name)
}
