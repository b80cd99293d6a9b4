package api

import (
	"net/http"
	"slices"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Resource is a resource of an app, or of the rack if the app is empty, without
// its credentials.
type Resource struct {
	App  string `json:"app"`
	Name string `json:"name"`
	Type string `json:"type"`
	// Domain is its name in DNS.
	Domain string `json:"domain"`
	// Host is what was declared: an address, or an outside name; empty for one that
	// is an instance.
	Host      string   `json:"host"`
	Port      uint16   `json:"port"`
	Default   bool     `json:"default"`
	Links     []string `json:"links"`
	Instances []string `json:"instances"`
}

func resourceOf(r *index.Resource, zone string) Resource {
	is := Resource{
		App: r.App, Name: r.Name, Type: r.Type, Domain: r.Name + ".resource.", Host: r.Host, Port: r.Port, Default: r.Default,
		Links: append([]string{}, r.Links...), Instances: []string{},
	}
	if r.App != "" {
		is.Domain += r.App + "."
	}
	is.Domain += zone
	if r.Backed {
		is.Host = ""
	}
	slices.Sort(is.Links)
	for _, i := range r.Instances() {
		is.Instances = append(is.Instances, i.ID())
	}
	return is
}

// ofRack is how the path says that a resource is the rack's.
const ofRack = registry.AppRack

// onResources is what an answer about resources depends on.
func onResources(app string) httpapi.Depends {
	if app == ofRack {
		return func(*index.Snapshot) []string { return []string{index.Below("resource")} }
	}
	return onApp(app)
}

// allResources are those of an app, of the rack, or of all for an empty name.
func allResources(r *httpapi.Request, s *index.Snapshot, app string) ([]*index.Resource, error) {
	var all []*index.Resource
	if app == "" || app == ofRack {
		all = slices.Collect(s.Resources())
	}
	if app == ofRack {
		return all, nil
	}
	apps, err := chosen(r, s, app)
	for _, a := range apps {
		all = slices.AppendSeq(all, a.Resources())
	}
	return all, err
}

func resources(w http.ResponseWriter, r *httpapi.Request) error {
	app := r.PathValue("app")
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(onResources(app))
	if err != nil {
		return err
	}
	all, err := allResources(r, s, app)
	if err != nil {
		return err
	}
	return httpapi.WriteList(w, func(yield func(Resource) bool) {
		for _, one := range all {
			if !yield(resourceOf(one, r.Rack.Zone)) {
				return
			}
		}
	})
}

func resource(w http.ResponseWriter, r *httpapi.Request) error {
	app, name := r.PathValue("app"), r.PathValue("name")
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(onResources(app))
	if err != nil {
		return err
	}
	all, err := allResources(r, s, app)
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.Name == httpapi.Fold(name) {
			return httpapi.WriteJSON(w, http.StatusOK, resourceOf(one, r.Rack.Zone))
		}
	}
	return httpapi.Errorf(http.StatusNotFound, "there is no resource %s of %s", httpapi.Quote(name), httpapi.Quote(app))
}

// Clash is a name that is claimed in vain.
type Clash struct {
	// Kind is "namespace" or "alias".
	Kind string `json:"kind"`
	Name string `json:"name"`
	// App is where an alias is, empty for a namespace.
	App string `json:"app"`
	// Winner holds the name: an app, or what in an app has it.
	Winner string `json:"winner"`
	// InVain are the apps, or the instances, that claim it.
	InVain []string `json:"in_vain"`
}

func clashes(w http.ResponseWriter, r *httpapi.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	s, err := r.Read(nil)
	if err != nil {
		return err
	}
	return httpapi.WriteList(w, func(yield func(Clash) bool) {
		for _, c := range s.Clashes() {
			if !yield(Clash{"namespace", c.Namespace, "", c.Winner, c.Apps}) {
				return
			}
		}
		for _, c := range s.AliasClashes() {
			if !yield(Clash{"alias", c.Name, c.App, c.Owner, c.Instances}) {
				return
			}
		}
	})
}
