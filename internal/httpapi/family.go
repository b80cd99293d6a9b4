package httpapi

import "net/http"

// Handler answers a request. It returns an [Error] to refuse it, see the package's
// documentation.
type Handler func(w http.ResponseWriter, r *Request) error

// Route is a pattern and who may ask it what.
type Route struct {
	// Pattern is as for [http.ServeMux], with its method: "GET /v1/x/{name}".
	Pattern string
	// Right is what the client must have.
	Right   Right
	Handler Handler
	// Stream says that the answer goes on for as long as the client likes: it has
	// no deadline, and takes one of its address's streams.
	Stream bool
}

// Family is a group of routes.
type Family struct {
	// Name is what metrics call it.
	Name   string
	Routes []Route
	// Error writes a refusal as the family's clients expect it; as JSON if nil.
	Error func(w http.ResponseWriter, status int, sentence string)
	// Token finds the token where the family's clients put it, besides in
	// Authorization, where all do; nil if they don't.
	Token func(*http.Request) string
}

// HandlerOf makes a Handler of one of the standard library's kind.
func HandlerOf(h http.Handler) Handler {
	return func(w http.ResponseWriter, r *Request) error {
		h.ServeHTTP(w, r.Request)
		return nil
	}
}
