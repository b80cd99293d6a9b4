// Package env works out the environment of a process: the rack's own
// variables, one or more per link and per resource, and those of the user,
// which win. They depend on nothing but an [Input], which [FromManifest] makes of
// a convox.yml and [FromRegistry] of the index; credentials and the user's
// variables are added by whoever may read them. The formats in which variables
// are written and read are here too.
package env

import "net/netip"

// Input is all that an environment depends on.
type Input struct {
	// Rack and Suffix make the zone, <rack>.<suffix>.
	Rack, Suffix string
	// App, Service and Release are of the process; Service is one of Services.
	App, Service, Release string
	// Services are those of the app, Resources too, and with them those of the
	// rack that are linked to the service.
	Services  []Service
	Resources []Resource
	// Given is the app's environment: what the user has set from outside. A
	// service gets only what it lists, and what stands in for one of its links
	// or resources, unless it inherits all.
	Given map[string]string
	Style Style
	Via   Via
	// Endpoint returns one endpoint of a service that serves now, for ViaHost.
	Endpoint func(service string) (netip.AddrPort, error)
	// Connect returns the port of the process's own loopback that leads to a
	// service, for ViaConnect; ok is false if none does.
	Connect func(service string) (port uint16, ok bool)
}

// Service is what is to be known of a service.
type Service struct {
	Name string
	// Port is 0 if it has none. Scheme is that of its URL.
	Port   uint16
	Scheme string
	Links  []string
	// Resources are those it lists.
	Resources []ResourceRef
	// Environment is the user's, for this service: what is common to all of
	// the app's services first. Inherit says that it has all of Input.Given too.
	Environment []Variable
	Inherit     bool
}

// ResourceRef is a service's use of a resource: Env is the one variable it
// wants, empty for all default ones.
type ResourceRef struct{ Name, Env string }

// Resource is a resource with its URL, credentials included.
type Resource struct {
	Name, Type string
	// OfRack says that it is not the app's.
	OfRack bool
	// URL is empty for a type that gives no variable.
	URL string
}

// Variable is one variable. Those of a service's Environment that aren't Set
// are asked of Input.Given; the Optional ones may have no value.
type Variable struct {
	Name, Value string
	Set         bool
	Optional    bool
}

// Style is how many variables a link gives.
type Style uint8

// The styles: <NAME>_URL alone, or that and six more, as a convox of old gave
// them.
const (
	StyleURL Style = iota
	StyleFull
)

// Via is the way by which a link leads to its service.
type Via uint8

// WayError says that right now there is no such way to a service: the input is
// sound, and it may be there in a moment.
type WayError struct{ error }

// Unwrap returns what is in the way.
func (e *WayError) Unwrap() error { return e.error }

// The ways: by its name in DNS, by one host endpoint as it is now, or by the
// connect proxy of the process's own container.
const (
	ViaDNS Via = iota
	ViaHost
	ViaConnect
)
