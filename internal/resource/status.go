package resource

import (
	"slices"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// AppOfRack is the app that containers of the rack's own resources are in.
const AppOfRack = "rack-resources"

// What the status of a resource is besides the states of instances.
const (
	StatusRunning = "running"
	// StatusOutside is one that nobody watches.
	StatusOutside = "outside"
	// StatusStopped is one whose container was there and doesn't run, StatusMissing
	// one of which no container was there for an hour.
	StatusStopped = "stopped"
	StatusMissing = "missing"
)

// Status is that of the instances where the resource is one of ours.
func Status(s *index.Snapshot, r *index.Resource) string {
	instances := r.Instances()
	switch {
	case slices.ContainsFunc(instances, (*index.Instance).Serving):
		return StatusRunning
	case len(instances) > 0:
		return instances[0].State()
	case !r.Backed && !runByUp(r):
		return StatusOutside
	case r.App != "" && s.Seen(r.App, r.Type+"-"+r.Name), r.App == "" && s.Seen(AppOfRack, r.Name):
		return StatusStopped
	}
	return StatusMissing
}

// runByUp reports whether a resource is a container of its app's though there is
// none now: one that is elsewhere has no options.
func runByUp(r *index.Resource) bool {
	return r.Manager == registry.ManagerUp && r.Host == "" && len(r.Options) > 0
}

// NotLinkedError says that a resource isn't linked to an app, or a service of it.
type NotLinkedError struct{ Resource, To string }

func (e *NotLinkedError) Error() string {
	return "resource " + e.Resource + ": is not linked to " + e.To
}

// SetLink links a resource of the rack to an app ("shop") or a service of it
// ("shop/web"), or takes it from there.
func SetLink(r *registry.Resource, to string, link bool) error {
	is := slices.Contains(r.Links, to)
	switch {
	case link && !is:
		r.Links = append(r.Links, to)
		slices.Sort(r.Links)
	case !link && !is:
		return &NotLinkedError{r.Name, to}
	case !link:
		r.Links = slices.DeleteFunc(r.Links, func(l string) bool { return l == to })
	}
	return nil
}

// ShownOptions are the options of a resource without what might be a secret, whoever
// wrote it there.
func ShownOptions(r *registry.Resource) map[string]string {
	shown := map[string]string{}
	t := Lookup(r.Type)
	for name, value := range r.Options {
		if t != nil {
			o, known := t.Option(name)
			if known && !o.Secret && o.Name != OptionURL {
				shown[name] = value
			}
		}
	}
	return shown
}
