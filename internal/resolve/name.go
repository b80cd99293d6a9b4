package resolve

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/registry"
)

// relative returns the name relative to the rack's zone: of a full one, of a
// short one such as web.shop, or of a bare one, which is about the asker's own
// app.
func (r Rack) relative(name string, a Asker) (string, error) {
	lower := strings.ToLower(strings.TrimSuffix(name, "."))
	if _, ok := dns.IsDomainName(name); !ok || lower == "" {
		return "", fmt.Errorf("name %s: is not a domain name", registry.Quote(name))
	}
	if lower == r.Zone {
		return "", nil
	}
	if relative, ok := strings.CutSuffix(lower, "."+r.Zone); ok {
		return relative, nil
	}
	_, suffix, _ := strings.Cut(r.Zone, ".")
	if other, ok := strings.CutSuffix(lower, "."+suffix); ok {
		other = other[strings.LastIndexByte(other, '.')+1:]
		return "", fmt.Errorf("name %s: is of rack %s; choose that with --rack, this is %s", registry.Quote(name), registry.Quote(other), r.Name)
	}
	if strings.IndexByte(lower, '.') >= 0 {
		return lower, nil
	}
	i := a.asker.Instance()
	if i == nil || i.App() == "" {
		return "", fmt.Errorf("name %s: a bare name is of the asker's own app, and this asker has none; give a container with --from, or the app as in %s.APP", registry.Quote(name), lower)
	}
	return lower + "." + i.App(), nil
}
