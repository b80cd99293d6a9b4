package httpapi

import (
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// Request is a request that may be answered.
type Request struct {
	*http.Request
	// Rack is the one that was asked about, nil if the server has none.
	Rack *Rack

	server *Server
	rights Right
	w      http.ResponseWriter
}

// May reports whether the client has a right besides that which the route needs.
func (r *Request) May(right Right) bool { return r.rights.has(right) }

// Racks returns all racks of the server, the default one first.
func (r *Request) Racks() []*Rack { return r.server.racks }

// From returns the client's address.
func (r *Request) From() netip.Addr { return remoteAddr(r.Request) }

func remoteAddr(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// Client returns who asks, as the DNS server would know it.
func (r *Request) Client(s *index.Snapshot) *index.Client {
	ip := r.From()
	c := s.Asker(ip)
	if c.Kind() == reach.Hidden && r.server.hosts.Own(ip) {
		// A process of this host's has a gateway's address for its own.
		return s.Self()
	}
	return c
}

// Fold is a name as it is registered, however it was written.
func Fold(name string) string { return registry.FoldName(strings.ToLower(name)) }

// App returns an app by its name or its namespace. The error is a 404 that says
// what there is.
func (r *Request) App(s *index.Snapshot, name string) (*index.App, error) {
	if a := s.App(Fold(name)); a != nil {
		return a, nil
	}
	return nil, Errorf(http.StatusNotFound, "rack %s has no app %s", r.Rack.Name, Quote(name))
}

// Service returns a service of an app. The error is a 404.
func (r *Request) Service(s *index.Snapshot, a *index.App, name string) (*index.Service, error) {
	folded := Fold(name)
	for v := range s.Services(a) {
		if v.Name() == folded {
			return v, nil
		}
	}
	return nil, Errorf(http.StatusNotFound, "app %s has no service %s", a.Name, Quote(name))
}

// Bounds of what a request may bring.
const (
	maxBody   = 64 << 10
	maxFields = 1000
)

// Form returns the fields of the body, which is urlencoded or multipart; what is
// in the query isn't among them. The error is a 4xx.
func (r *Request) Form() (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.ContentLength == 0:
		return url.Values{}, nil
	case err != nil:
		return nil, Errorf(http.StatusUnsupportedMediaType, "the body has no content type that is known: want a form")
	case kind == "application/x-www-form-urlencoded":
		err = r.ParseForm()
	case kind == "multipart/form-data":
		// Files too are bounded by the body, and so stay in memory.
		err = r.ParseMultipartForm(maxBody)
	default:
		return nil, Errorf(http.StatusUnsupportedMediaType, "the body is %s: want a form", Quote(kind))
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errTooLarge
	case err != nil:
		return nil, Errorf(http.StatusBadRequest, "the body is no form")
	}
	fields := r.PostForm
	if r.MultipartForm != nil {
		if len(r.MultipartForm.File) > 0 {
			return nil, Errorf(http.StatusBadRequest, "the form has a file: want fields only")
		}
		fields = r.MultipartForm.Value
	}
	n := 0
	for name, values := range fields {
		if n += len(values); n > maxFields {
			return nil, Errorf(http.StatusBadRequest, "the form has more than %d fields", maxFields)
		}
		for _, v := range append([]string{name}, values...) {
			if strings.ContainsRune(v, 0) {
				return nil, Errorf(http.StatusBadRequest, "the form has a NUL in field %s", Quote(name))
			}
		}
	}
	return fields, nil
}

// Query returns the parameters of the query. The error is a 400.
func (r *Request) Query() (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Errorf(http.StatusBadRequest, "the query can't be read")
	}
	return q, nil
}
