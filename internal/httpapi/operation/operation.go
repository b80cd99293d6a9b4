// Package operation is what monitors ask: /metrics, /healthz and /readyz, and
// /healthcheck for clients of Lyft's discovery. None of it needs a token: it has
// no name and no secret.
package operation

import (
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rackdns/rackdns/internal/httpapi"
)

// Family returns the routes. waits says what the process waits for before it does
// what it is for, empty if that is nothing.
func Family(waits func() string) httpapi.Family {
	return httpapi.Family{Name: "operation", Routes: []httpapi.Route{
		{Pattern: "GET /metrics", Handler: httpapi.HandlerOf(promhttp.Handler())},
		{Pattern: "GET /healthz", Handler: says("ok\n")},
		{Pattern: "GET /healthcheck", Handler: says("OK")},
		{Pattern: "GET /readyz", Handler: func(w http.ResponseWriter, r *httpapi.Request) error {
			if what := waits(); what != "" {
				http.Error(w, "waiting for "+what, http.StatusServiceUnavailable)
				return nil
			}
			return says("ok\n")(w, r)
		}},
	}}
}

func says(words string) httpapi.Handler {
	return func(w http.ResponseWriter, _ *httpapi.Request) error {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, err := io.WriteString(w, words)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		return nil
	}
}
