package rack

import (
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/rackdns/rackdns/internal/lasting"
	"github.com/rackdns/rackdns/internal/registry"
)

// Names are joined of parts that are valid, and the whole may still be none: it
// can be too long, or a label of it can, such as that of a port with the
// underscore before it. Such a record would make a reply, or the transfer of all
// of a zone, one that can't be packed. So it is left out, alone.

// isName reports whether a name can be told.
func isName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok && len(name) <= longest
}

// omissionLog keeps the log from being filled by what is left out, by rack.
var omissionLog struct {
	sync.Mutex
	said map[string]time.Time
}

// omit notes that a record was left out: one of an owner that can't be, or whose
// target can't be.
func (r *Rack) omit(owner, target string) {
	rack := r.RackName()
	omissions.WithLabelValues(rack).Inc()
	omissionLog.Lock()
	defer omissionLog.Unlock()
	if now := time.Now(); now.Sub(omissionLog.said[rack]) >= lasting.Interval {
		if omissionLog.said == nil {
			omissionLog.said = map[string]time.Time{}
		}
		omissionLog.said[rack] = now
		name := owner
		if isName(owner) {
			name = target
		}
		log.Warningf("rack %s: a record is left out, since %s would be a name of more than 255 octets, or with a label of more than 63 (RFC 1035): "+
			"give the app, the service or its port a shorter name; coredns_rack_omitted_records_total counts them", rack, registry.Quote(name))
	}
}
