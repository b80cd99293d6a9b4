package compose

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/registry"
)

// Report says what becomes of one service.
type Report struct {
	// Service is its name in the file, Name that in DNS, "" if it has none.
	Service, Name string
	// Reached are those who reach it, KeptOut what would keep it out of DNS, or
	// from those who ask.
	Reached, KeptOut []string
}

// Check says of each service what its name is below a zone, who will reach it,
// and what would keep it out.
func (p *Project) Check(zone string) []Report {
	all := p.sorted()
	reports := make([]Report, 0, len(all))
	for _, s := range all {
		r := Report{Service: s.Name}
		r.name(p, &s, zone)
		r.clash(all, &s)
		r.reach(p, all, &s)
		r.conditions(&s)
		reports = append(reports, r)
	}
	return reports
}

func (r *Report) keepOut(format string, args ...any) {
	r.KeptOut = append(r.KeptOut, fmt.Sprintf(format, args...))
}

// identity returns the app and the service that a container is of, by its labels
// or else by Compose's own.
func (p *Project) identity(s *types.ServiceConfig) (app, service string) {
	app, service = Fold(p.Name), Fold(s.Name)
	for _, l := range []struct {
		to   *string
		keys []string
	}{
		{&app, []string{"convox.app", label.App}},
		{&service, []string{"convox.name", "convox.service", label.Service}},
	} {
		for _, key := range l.keys {
			if v := s.Labels[key]; v != "" {
				*l.to = Fold(v)
			}
		}
	}
	return app, service
}

func (r *Report) name(p *Project, s *types.ServiceConfig, zone string) {
	app, service := p.identity(s)
	if _, ok := s.Labels[label.Ignore]; ok {
		r.keepOut("its label %s leaves it out", label.Ignore)
		return
	}
	if v := s.Environment["SERVICE_IGNORE"]; v != nil && *v != "" || s.Labels["SERVICE_IGNORE"] != "" {
		r.keepOut("SERVICE_IGNORE leaves it out")
		return
	}
	if err := registry.CheckApp("project", app); err != nil {
		r.keepOut("%v: give it another one, by name: at the top of the file or the label %s", err, label.App)
		return
	}
	if err := registry.CheckLabel("service", service); err != nil {
		r.keepOut("%v: give it another one, by the label %s", err, label.Service)
		return
	}
	r.Name = service + "." + app + "." + zone
}

// clash tells of another service that has the same name in DNS.
func (r *Report) clash(all []types.ServiceConfig, s *types.ServiceConfig) {
	for _, o := range all {
		if o.Name != s.Name && Fold(o.Name) == Fold(s.Name) {
			r.keepOut("%s has the same name in DNS: askers get either", o.Name)
		}
	}
}

// ports returns what it listens on, as "80/tcp", and what is published, as
// "80/tcp at 8080".
func ports(s *types.ServiceConfig) (all, published, local []string) {
	for _, p := range s.Ports {
		name := strconv.Itoa(int(p.Target)) + "/" + p.Protocol
		all = append(all, name)
		at := name + " at " + p.Published
		if p.Published == "" || p.Published == "0" {
			at = name + " at a port that the engine chooses"
		}
		if ip, err := netip.ParseAddr(p.HostIP); err == nil && ip.IsLoopback() {
			local = append(local, at)
			continue
		}
		published = append(published, at)
	}
	for _, e := range s.Expose {
		if !strings.Contains(e, "/") {
			e += "/" + registry.TCP
		}
		if !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	return all, published, local
}

// reach tells who reaches a service: those who share a network with it, at the
// container's own ports, and everybody else at those that are published.
func (r *Report) reach(p *Project, all []types.ServiceConfig, s *types.ServiceConfig) {
	listens, published, local := ports(s)
	switch mode, of, _ := strings.Cut(s.NetworkMode, ":"); mode {
	case "none":
		r.keepOut("network_mode: none: nobody reaches it")
		return
	case "host":
		r.Reached = append(r.Reached, "everybody who reaches this host, at its address")
		if len(listens) == 0 {
			r.keepOut("network_mode: host: SRV has no port unless the image or a label %sport.N says one", label.Prefix)
		}
		return
	case "service", "container":
		r.Reached = append(r.Reached, "those who reach "+of+", whose network it shares")
		return
	}
	mine := p.networks(s)
	shares := map[string][]string{}
	var apart, onHost []string
	for _, o := range all {
		switch {
		case o.Name == s.Name || o.NetworkMode == "none":
			continue
		case o.NetworkMode == "host":
			onHost = append(onHost, o.Name)
			continue
		}
		theirs := p.networks(&o)
		if n := slices.IndexFunc(theirs, func(n string) bool { return slices.Contains(mine, n) }); n >= 0 {
			shares[theirs[n]] = append(shares[theirs[n]], o.Name)
		} else {
			apart = append(apart, o.Name)
		}
	}
	at := ""
	if len(listens) > 0 {
		at = ", at " + strings.Join(listens, ", ")
	}
	for _, n := range slices.Sorted(maps.Keys(shares)) {
		r.Reached = append(r.Reached, strings.Join(shares[n], ", ")+" on network "+n+at)
	}
	if len(onHost) > 0 {
		r.Reached = append(r.Reached, strings.Join(onHost, ", ")+" on the host's network"+at)
	}
	if len(published) > 0 {
		r.Reached = append(r.Reached, "everybody who reaches this host: "+strings.Join(published, ", "))
	}
	if len(local) > 0 {
		r.Reached = append(r.Reached, "this host itself: "+strings.Join(local, ", "))
	}
	if len(published) > 0 {
		return
	}
	if len(apart) > 0 {
		r.keepOut("%s: no network in common and no published port", strings.Join(apart, ", "))
	}
	if internal := p.onlyInternal(mine); internal {
		r.keepOut("its networks are internal: nobody outside of them reaches it")
	} else {
		r.keepOut("other projects and hosts: no published port (ports:)")
	}
}

// networks returns those that a service is on, or that whose network it shares.
func (p *Project) networks(s *types.ServiceConfig) []string {
	if name, ok := strings.CutPrefix(s.NetworkMode, "service:"); ok && name != s.Name {
		if of, ok := p.Services[name]; ok && !strings.HasPrefix(of.NetworkMode, "service:") {
			return p.networks(&of)
		}
	}
	all := slices.Sorted(maps.Keys(s.Networks))
	if len(all) == 0 && s.NetworkMode == "" {
		return []string{"default"}
	}
	return all
}

func (p *Project) onlyInternal(names []string) bool {
	for _, n := range names {
		if !p.Networks[n].Internal {
			return false
		}
	}
	return len(names) > 0
}

// conditions tells on what else it depends whether it is told.
func (r *Report) conditions(s *types.ServiceConfig) {
	if len(s.Profiles) > 0 {
		r.keepOut("runs only with the profile %s", strings.Join(s.Profiles, " or "))
	}
	if s.GetScale() == 0 {
		r.keepOut("has no instance: its scale is 0")
	}
	switch h := s.HealthCheck; {
	case s.Labels[label.Prefix+"health"] == "ignore":
	case h != nil && !h.Disable && len(h.Test) > 0 && h.Test[0] != "NONE":
		r.keepOut("until its healthcheck succeeds, and while it fails")
	case s.Labels[label.Prefix+"health"] == "require" && (h == nil || h.Disable):
		r.keepOut("its label %shealth=require wants a healthcheck, and the file has none", label.Prefix)
	}
	if rack := s.Labels[label.Rack]; rack != "" {
		r.keepOut("it is of rack %s only, by its label %s", rack, label.Rack)
	}
}
