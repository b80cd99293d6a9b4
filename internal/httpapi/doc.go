// Package httpapi is the base of the HTTP interface: one listener, one mux, and
// what every route has in common. The routes themselves are in packages below it,
// one for each family, which know this package and nothing of each other; package
// routes puts them together.
//
// # Adding a family
//
// A family is a function that returns a [Family]; add it to routes.All. Each
// [Route] has a pattern of [net/http.ServeMux], the [Right] that it needs, and a
// [Handler]:
//
//	func Family() httpapi.Family {
//		return httpapi.Family{Name: "example", Routes: []httpapi.Route{
//			{Pattern: "GET /example/{app}", Right: httpapi.ReadNames, Handler: show},
//			{Pattern: "POST /example/{app}", Right: httpapi.Write, Handler: change},
//		}}
//	}
//
// Before a handler is called the guard has refused other hosts and origins, the
// token has been found to grant the route's right, the rack has been chosen, and
// the path is clean and the body bounded.
//
// Reading: [Request.Read] gives the picture to show, and does blocking reads
// (?index=N&wait=30s), ETag, 304 and 503 along the way. It wants to know on what
// the answer depends, as [index.Index.Await] takes it; nil is everything. A family
// with parameters of its own uses [Request.Wait] and [Rack.Snapshot]. Whoever asks
// is [Request.Client]: give that to the snapshot, so that the answer has the
// endpoints which this client can reach.
//
//	func show(w http.ResponseWriter, r *httpapi.Request) error {
//		s, err := r.Read(httpapi.App(r.PathValue("app")))
//		if err != nil {
//			return err
//		}
//		app, err := r.App(s, r.PathValue("app")) // else 404, in words
//		if err != nil {
//			return err
//		}
//		return httpapi.WriteJSON(w, http.StatusOK, view(s, app, r.Client(s)))
//	}
//
// Writing: [Request.Form] is the body's fields, checked and bounded, and
// [Rack.Registry] the registry's client. Writers write the registry and nothing
// else; the index hears of it from there.
//
// Errors: return [Errorf] with a 4xx status and one sentence, and nothing is
// stored. It becomes {"error": "the sentence"}, unless the family has an Error of
// its own. Any other error is told as 500 without its words, which go to the log: it may
// say what the client is not to know. What can't be read yet is 503 by itself.
// Once something was written an error cuts the connection, so that nobody takes
// half an answer for a whole one.
//
// Streams: a route with Stream set has no deadlines, counts against what one
// address may have open, and its context ends with the server. Each write should have its own deadline, see
// [Request.Flush], so that a slow reader is dropped.
//
// Secrets: a route that shows them needs [ReadSecrets]; one that shows more to
// those who have that asks [Request.May].
package httpapi
