package env

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/manifest"
)

// ErrNoURL is returned for a resource that nobody has given a URL yet.
var ErrNoURL = errors.New("has no URL")

// MissingError names the variables that a service lists and that nobody gives a
// value.
type MissingError struct {
	Service string
	Names   []string
}

const noValue = "what neither the manifest nor the app's environment gives a value: "

func (e *MissingError) Error() string {
	return "service " + e.Service + " lists " + noValue + strings.Join(e.Names, ", ")
}

// AllMissing makes one error of what several services lack.
func AllMissing(all []*MissingError) error {
	if len(all) == 1 {
		return all[0]
	}
	by := map[string][]string{}
	for _, e := range all {
		for _, name := range e.Names {
			by[name] = append(by[name], e.Service)
		}
	}
	list := make([]string, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		list = append(list, name+" ("+strings.Join(by[name], ", ")+")")
	}
	return errors.New("services list " + noValue + strings.Join(list, ", "))
}

// work is the making of one environment.
type work struct {
	*Input
	service *Service
	user    map[string]string
	made    map[string]string
	// by says what gave a variable, for what would give it again.
	by map[string]string
}

// Variables returns the environment of the service, sorted by name. Of several
// values for one variable the first of these counts: Given, the service's own
// Environment (its last entry of that name), and what the rack, a link or a
// resource gives. All of them are Set.
func (in *Input) Variables() ([]Variable, error) {
	s, err := in.find(in.Service)
	if err != nil {
		return nil, err
	}
	w := &work{Input: in, service: s, user: in.userOf(s), made: map[string]string{}, by: map[string]string{}}
	w.own()
	for _, l := range s.Links {
		if err := w.link(l); err != nil {
			return nil, err
		}
	}
	for _, ref := range s.Resources {
		if err := w.resource(ref); err != nil {
			return nil, err
		}
	}
	if err := w.listed(); err != nil {
		return nil, err
	}
	all := make([]Variable, 0, len(w.made))
	for _, name := range slices.Sorted(maps.Keys(w.made)) {
		all = append(all, Variable{Name: name, Value: w.made[name], Set: true})
	}
	return all, nil
}

// find returns a service of the app.
func (in *Input) find(name string) (*Service, error) {
	if s := in.lookup(name); s != nil {
		return s, nil
	}
	e := &index.UnknownError{What: "service", Name: name, Of: "app " + in.App}
	for _, s := range in.Services {
		e.Known = append(e.Known, s.Name)
	}
	slices.Sort(e.Known)
	return nil, e
}

func (in *Input) lookup(name string) *Service {
	for n := range in.Services {
		if in.Services[n].Name == name {
			return &in.Services[n]
		}
	}
	return nil
}

// userOf returns what the user has set for a service, and for the app.
func (in *Input) userOf(s *Service) map[string]string {
	user := map[string]string{}
	for _, v := range s.Environment {
		if v.Set {
			user[v.Name] = v.Value
		}
	}
	maps.Copy(user, in.Given)
	return user
}

// listedBy returns what a service itself has of that: what it lists.
func (in *Input) listedBy(s *Service) map[string]string {
	user, own := in.userOf(s), map[string]string{}
	for _, v := range s.Environment {
		if value, ok := user[v.Name]; ok {
			own[v.Name] = value
		}
	}
	if s.Inherit {
		maps.Copy(own, in.Given)
	}
	return own
}

// own gives what every process gets. Only what the service lists stands in for
// it: the app's environment may well have a PORT for something else.
func (w *work) own() {
	values := map[string]string{"RACK": w.Rack, "APP": w.App, "SERVICE": w.Service, "RELEASE": w.Release}
	if w.service.Port != 0 {
		values["PORT"] = strconv.Itoa(int(w.service.Port))
	}
	for _, name := range manifest.Own {
		w.by[name] = "the rack"
		if values[name] != "" {
			w.made[name] = values[name]
		}
	}
}

// give gives a variable, with the user's value if there is one.
func (w *work) give(name, value, by string) error {
	if w.by[name] != "" {
		return fmt.Errorf("service %s: %s and %s both give %s", w.Service, w.by[name], by, name)
	}
	w.by[name] = by
	if user, ok := w.user[name]; ok {
		value = user
	}
	w.made[name] = value
	return nil
}

// listed gives what the service lists.
func (w *work) listed() error {
	var missing []string
	if w.service.Inherit {
		for name, value := range w.Given {
			if !slices.Contains(manifest.Own, name) {
				w.made[name] = value
			}
		}
	}
	for _, v := range w.service.Environment {
		value, ok := w.user[v.Name]
		if ok {
			w.made[v.Name] = value
		} else if _, made := w.made[v.Name]; !made && !v.Optional && !slices.Contains(missing, v.Name) {
			missing = append(missing, v.Name)
		}
	}
	if missing != nil {
		return &MissingError{Service: w.Service, Names: missing}
	}
	return nil
}

// Ask looks up the variables that the service lists, and that nobody has given
// a value yet.
func (in *Input) Ask(lookup func(name string) (string, bool)) {
	s := in.lookup(in.Service)
	if s == nil {
		return
	}
	user := in.userOf(s)
	for _, v := range s.Environment {
		if _, known := user[v.Name]; known || v.Optional {
			continue
		}
		if value, ok := lookup(v.Name); ok {
			if in.Given == nil {
				in.Given = map[string]string{}
			}
			in.Given[v.Name] = value
		}
	}
}
