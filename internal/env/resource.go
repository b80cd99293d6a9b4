package env

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rackdns/rackdns/internal/manifest"
)

// portOfType is where a resource listens whose URL doesn't say.
var portOfType = map[string]uint16{"mariadb": 3306, "memcached": 11211, "mysql": 3306, "postgres": 5432, "redis": 6379}

// resource gives the variables of a resource.
func (w *work) resource(ref ResourceRef) error {
	r := w.lookupResource(ref.Name)
	if r == nil {
		return fmt.Errorf("service %s references a resource that does not exist: %s", w.Service, ref.Name)
	}
	if r.Type == manifest.TypeEFS {
		return nil
	}
	at, outside := standIn(w.user, ref)
	if !outside {
		at = r.URL
	}
	names := manifest.ResourceRef{Name: ref.Name, Env: ref.Env}.Variables()
	if at == "" && !outside && !w.set(names) {
		return fmt.Errorf("service %s: resource %s %w", w.Service, ref.Name, ErrNoURL)
	}
	parts := partsOf(at, r.Type)
	for _, name := range names {
		value, ok := parts[manifest.PartOf(name)]
		if _, user := w.user[name]; !ok && !user {
			continue // no value is better than one that is made up
		}
		if err := w.give(name, value, "resource "+ref.Name); err != nil {
			return err
		}
	}
	return nil
}

// set reports whether the user has set all of the variables.
func (w *work) set(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, ok := w.user[name]
		return !ok
	})
}

// standIn returns the URL that the user has put in the place of a resource's:
// in the variable that the service asked for, if that is one for a URL, or in
// the resource's default one.
func standIn(user map[string]string, ref ResourceRef) (string, bool) {
	if ref.Env != "" && manifest.PartOf(ref.Env) == suffixURL {
		if at, ok := user[ref.Env]; ok {
			return at, true
		}
	}
	at, ok := user[manifest.VariableOf(ref.Name)+suffixURL]
	return at, ok
}

// Outside reports whether the user has put something else in the place of a
// resource wherever a service uses it: then nothing needs to run for it.
func (in *Input) Outside(resource string) bool {
	if r := in.lookupResource(resource); r != nil && r.Type == manifest.TypeEFS {
		return false
	}
	used := false
	for n := range in.Services {
		s := &in.Services[n]
		user := in.userOf(s)
		for _, ref := range s.Resources {
			if ref.Name != resource {
				continue
			}
			used = true
			if !isOutside(user, ref) {
				return false
			}
		}
	}
	_, ok := in.Given[manifest.VariableOf(resource)+suffixURL]
	return used || ok
}

func isOutside(user map[string]string, ref ResourceRef) bool {
	if _, ok := standIn(user, ref); ok {
		return true
	}
	_, ok := user[ref.Env]
	return ok && ref.Env != ""
}

// Needs returns the resources of the service whose URL is needed, since the
// user has put nothing in their place.
func (in *Input) Needs() []*Resource {
	s := in.lookup(in.Service)
	if s == nil {
		return nil
	}
	user := in.userOf(s)
	var needed []*Resource
	for _, ref := range s.Resources {
		r := in.lookupResource(ref.Name)
		if r != nil && r.Type != manifest.TypeEFS && !isOutside(user, ref) && !slices.Contains(needed, r) {
			needed = append(needed, r)
		}
	}
	return needed
}

func (in *Input) lookupResource(name string) *Resource {
	for n := range in.Resources {
		if in.Resources[n].Name == name {
			return &in.Resources[n]
		}
	}
	return nil
}

// partsOf takes a resource's URL apart, by the suffix of the variable that each
// part is for. A URL that can't be taken apart still is one.
func partsOf(at, kind string) map[string]string {
	parts := map[string]string{suffixURL: at}
	u, err := url.Parse(at)
	if err != nil || u.Hostname() == "" {
		return parts
	}
	password, _ := u.User.Password()
	parts["_USER"], parts["_PASS"] = u.User.Username(), password
	parts["_HOST"], parts["_PORT"] = u.Hostname(), u.Port()
	parts["_NAME"] = strings.TrimPrefix(u.Path, "/")
	if port := portOfType[kind]; parts["_PORT"] == "" && port != 0 {
		parts["_PORT"] = strconv.Itoa(int(port))
	}
	return parts
}

// Dependency is what a process needs to be there when it starts.
type Dependency struct {
	// Name is that of a service of the app, or of a resource.
	Name     string
	Resource *Resource
	// Host is its name in DNS.
	Host string
}

// Dependencies returns the services and resources that the variables of the
// service lead to by their names in DNS. Those that the user has put something
// else in the place of are none, and neither are resources of the rack, which
// are others' business.
func (in *Input) Dependencies() []Dependency {
	s := in.lookup(in.Service)
	if s == nil {
		return nil
	}
	user := in.userOf(s)
	var all []Dependency
	for _, l := range s.Links {
		at, ok := user[manifest.VariableOf(l)+suffixURL]
		if host := in.HostOf(l); !ok || strings.Contains(at, host) {
			all = append(all, Dependency{Name: l, Host: host})
		}
	}
	for _, ref := range s.Resources {
		r := in.lookupResource(ref.Name)
		if r == nil || r.OfRack || r.Type == manifest.TypeEFS {
			continue
		}
		at, ok := standIn(user, ref)
		if !ok {
			at = r.URL
		}
		d := Dependency{Name: r.Name, Resource: r, Host: in.HostOfResource(r)}
		if strings.Contains(at, d.Host) && !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}
