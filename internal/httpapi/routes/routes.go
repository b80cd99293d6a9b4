// Package routes puts the families of routes together: it is the only one that
// knows them all, and what holds for each of them is tested here.
package routes

import (
	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/api"
	"github.com/rackdns/rackdns/internal/httpapi/consul"
	"github.com/rackdns/rackdns/internal/httpapi/convox"
	"github.com/rackdns/rackdns/internal/httpapi/discovery"
	"github.com/rackdns/rackdns/internal/httpapi/operation"
	"github.com/rackdns/rackdns/internal/httpapi/prometheus"
)

// Options are what some families need beyond a rack.
type Options struct {
	// Waits says what the process waits for before it does what it is for, empty
	// if that is nothing.
	Waits func() string
	// Discovery are the settings of Lyft's discovery.
	Discovery discovery.Options
	// Convox is for its client.
	Convox convox.Options
}

// All returns all families of a server of racks.
func All(o Options) []httpapi.Family {
	return []httpapi.Family{
		operation.Family(o.Waits),
		api.Family(),
		prometheus.Family(),
		discovery.Family(o.Discovery),
		consul.Family(),
		convox.Family(o.Convox),
	}
}

// Monitoring returns the families of a process that has no rack to tell of.
func Monitoring(o Options) []httpapi.Family {
	return []httpapi.Family{operation.Family(o.Waits)}
}
