package resource

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// Locate returns where a URL of an outside resource leads, as far as that can
// be told: a host that DNS can give a name to, "" if there is none, and its
// port, 0 if the URL doesn't say one and its scheme has none. It takes what
// clients take, not just what is a URL.
func Locate(rawURL string) (host string, port uint16) {
	scheme, rest, ok := strings.Cut(strings.TrimPrefix(rawURL, "jdbc:"), "://")
	if !ok || scheme == "s3" {
		// A bucket's name looks like a host's.
		return "", 0
	}
	if end := strings.IndexAny(rest, "/?#;"); end >= 0 {
		rest = rest[:end]
	}
	// A password may have a @ in it that nobody has quoted.
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	number := ""
	switch {
	case strings.HasPrefix(rest, "["):
		inner, after, closed := strings.Cut(rest[1:], "]")
		if !closed {
			return "", 0
		}
		rest, number = inner, strings.TrimPrefix(after, ":")
	default:
		rest, number, _ = strings.Cut(rest, ":")
	}
	if number == "" {
		number = defaultPort(scheme)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil && number != "" || registry.CheckHost("host", rest) != nil {
		return "", 0
	}
	return strings.ToLower(rest), uint16(n)
}

func defaultPort(scheme string) string {
	for _, t := range types {
		if t.server != nil && (t.Name == scheme || scheme == "postgresql" && t.Name == "postgres" || scheme == "rediss" && t.Name == "redis") {
			return strconv.Itoa(int(t.server.port))
		}
	}
	return map[string]string{"http": "80", "https": "443"}[scheme]
}

// HasCredentials reports whether a URL has, or might have, something in it
// that mustn't be seen.
func HasCredentials(rawURL string) bool {
	u, err := url.Parse(rawURL)
	return err != nil || u.User != nil || u.RawQuery != "" || u.Opaque != ""
}
