package api

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/resolve"
)

// longestName is longer than any name in DNS as text.
const longestName = 255

// resolveName says what whom is told of a name, and why: whoever ?from= names, an
// address or an instance, else the client itself.
func resolveName(w http.ResponseWriter, r *httpapi.Request) error {
	q, err := query(r, "name", "from")
	if err != nil {
		return err
	}
	name := strings.ToLower(strings.TrimSuffix(q("name"), "."))
	switch {
	case name == "":
		return httpapi.Errorf(http.StatusBadRequest, "want ?name=, such as web.shop")
	case len(name) > longestName:
		return httpapi.Errorf(http.StatusBadRequest, "name: is longer than a name can be")
	}
	on := func(s *index.Snapshot) []string {
		return s.Sources(strings.TrimSuffix(name, "."+r.Rack.Zone))
	}
	if !strings.Contains(name, ".") {
		on = nil // it is of whichever app the asker is
	}
	s, err := r.Read(on)
	if err != nil {
		return err
	}
	rack := resolve.Rack{Snapshot: s, Node: r.Rack.Node, Name: r.Rack.Name, Zone: r.Rack.Zone}
	asker, err := askerOf(r, rack, q("from"))
	if err != nil {
		return err
	}
	res, err := rack.Resolve(name, asker)
	if err != nil {
		return httpapi.Errorf(http.StatusNotFound, "%v", err)
	}
	return httpapi.WriteJSON(w, http.StatusOK, res)
}

func askerOf(r *httpapi.Request, rack resolve.Rack, from string) (resolve.Asker, error) {
	if from == "" {
		return rack.At(r.From()), nil
	}
	if ip, err := netip.ParseAddr(from); err == nil {
		return rack.At(ip), nil
	}
	i, err := rack.Instance(from)
	switch {
	case err != nil:
		return resolve.Asker{}, httpapi.Errorf(http.StatusBadRequest, "from: %v", err)
	case i == nil:
		return resolve.Asker{}, httpapi.Errorf(http.StatusBadRequest, "from %s: is neither an address nor an instance", httpapi.Quote(from))
	}
	return rack.Of(i), nil
}
