package httpapi

import (
	"net/http"
	"sync/atomic"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Rack is one of the racks of a server.
type Rack struct {
	// Name is the rack's own, Zone where its names are, such as "acme" and
	// "acme.convox".
	Name, Zone string
	// Node is whose local networks the server sits on.
	Node string

	followed atomic.Pointer[followed]
}

type followed struct {
	index    *index.Index
	registry *registry.Client
}

// Follow has the rack read from an index, and written by a client, which may be
// nil. Until then everything about it is 503.
func (r *Rack) Follow(x *index.Index, c *registry.Client) { r.followed.Store(&followed{x, c}) }

// Index returns the rack's index, which may have no picture yet. The error is a 503.
func (r *Rack) Index() (*index.Index, error) {
	f := r.followed.Load()
	if f == nil {
		return nil, r.notYet()
	}
	return f.index, nil
}

// Snapshot returns the rack as it is now. The error is a 503.
func (r *Rack) Snapshot() (*index.Snapshot, error) {
	x, err := r.Index()
	if err != nil {
		return nil, err
	}
	if s := x.Snapshot(); s != nil {
		return s, nil
	}
	return nil, r.notYet()
}

// Registry returns what writes the rack's registry. The error is a 503.
func (r *Rack) Registry() (*registry.Client, error) {
	f := r.followed.Load()
	if f == nil || f.registry == nil {
		return nil, &Error{Status: http.StatusServiceUnavailable, Sentence: "the registry of rack " + r.Name + " can't be written from here", Header: retrySoon}
	}
	return f.registry, nil
}

func (r *Rack) notYet() error {
	return &Error{Status: http.StatusServiceUnavailable, Sentence: "rack " + r.Name + " has not been read from its registry yet", Header: retrySoon}
}

var retrySoon = http.Header{"Retry-After": {"1"}}
