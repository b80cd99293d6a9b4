// Package httpguard stands before every HTTP interface of ours: a browser is no
// way in, and slow or idle clients take neither time nor descriptors of others.
package httpguard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Handler passes on to next what a program asks, and what a page that next
// itself served asks. It refuses (403)
//
//   - requests for a host that isn't one of ours: a page of somebody's whose
//     name was made to lead here (DNS rebinding) is such a one;
//   - requests that a browser makes on behalf of another site's page.
//
// No answer of its own allows another origin anything (CORS).
func Handler(hosts *Hosts, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if why := refusal(hosts, r); why != "" {
			refuse(w, why)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// protect sets what tells a browser to do nothing with an answer but show it. A
// page has a Content-Security-Policy of its own.
func protect(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}

// refusal says in a sentence why a request is refused; it is empty if it isn't.
func refusal(hosts *Hosts, r *http.Request) string {
	if r.Host == "" {
		// Health checks by HTTP/1.0 name none. A browser always does.
		if r.ProtoAtLeast(1, 1) {
			return "the request names no host"
		}
	} else if !hosts.Ours(r.Context(), r.Host) {
		return fmt.Sprintf("%s is not a name of this server: ask it by its address, or allow the name with --%s", quoted(r.Host), hosts.flag)
	}
	switch origins := r.Header.Values("Origin"); {
	case len(origins) > 1 || len(origins) == 1 && !sameOrigin(origins[0], r.Host):
		return fmt.Sprintf("a page of another origin, %s, may not ask this server", quoted(origins[0]))
	case !sameSite(r):
		return "a page of another site may not ask this server"
	}
	return ""
}

// sameOrigin reports whether an origin is that of the pages at a host. Its scheme
// is left out of account: TLS may end at a proxy before us.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.EqualFold(u.Host, host)
}

// sameSite reports whether a request comes from a page of ours or from no page,
// or follows a link to one of ours, as far as the client says so (Fetch Metadata).
func sameSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return true
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

func refuse(w http.ResponseWriter, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	// It can't fail but for a client that is gone.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": why})
}

// quoted makes what a client said fit for a sentence.
func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%+q", s)
}
