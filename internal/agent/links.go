package agent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rackdns/rackdns/internal/registry"
)

// What a container asks for besides a name of its own. Others make use of it;
// here it is only made sure that they can.
const (
	resourceLabel     = "rackdns.resource"
	resourceNameLabel = "rackdns.resource.name"
	linksLabel        = "rackdns.links"
	connectLabel      = "connect."
)

const (
	maxLinks   = 64
	maxConnect = 64
	// maxTarget is the longest name in DNS, written without its last dot (RFC
	// 1035, section 2.3.4).
	maxTarget = 253
)

// resource reads which resource the container is of. A resource without a name
// of its own has its service's.
func (d *decision) resource(service string) *registry.InstanceResource {
	kind, name := d.facts.labels[resourceLabel], d.facts.labels[resourceNameLabel]
	if kind == "" {
		if name != "" {
			d.note("label %s=%s: there is no label %s to say of which type; not counted", resourceNameLabel, registry.Quote(name), resourceLabel)
		}
		return nil
	}
	r := &registry.InstanceResource{Type: toLabel(kind), Name: service}
	if err := registry.CheckLabel("type", r.Type); err != nil {
		d.note("label %s=%s: can't be a type of resource: %s; not counted", resourceLabel, registry.Quote(kind), err)
		return nil
	}
	source := "label " + resourceLabel
	if name != "" {
		r.Name = toLabel(name)
		source += " and label " + resourceNameLabel
	}
	if err := registry.CheckLabel("name", r.Name); err != nil {
		// Under its service's name it might pass for another resource.
		d.note("label %s=%s: can't name a resource: %s; it is of none", resourceNameLabel, registry.Quote(name), err)
		return nil
	}
	d.choose("resource", r.Name+" of type "+r.Type, source)
	return r
}

// links reads the services that the container wants to be led to.
func (d *decision) links() []string {
	var links []string
	for entry := range strings.SplitSeq(d.facts.labels[linksLabel], ",") {
		entry = strings.TrimSpace(entry)
		link := toLabel(entry)
		err := registry.CheckLabel("service", link)
		switch {
		case entry == "" || slices.Contains(links, link):
		case err != nil:
			d.note("label %s, %s: can't be a service: %s; left out", linksLabel, registry.Quote(entry), err)
		case len(links) == maxLinks:
			d.note("label %s: more than %d links; %s is left out", linksLabel, maxLinks, registry.Quote(entry))
		default:
			links = append(links, link)
		}
	}
	if len(links) > 0 {
		d.choose("links", strings.Join(links, ","), "label "+linksLabel)
	}
	return links
}

// connects reads which ports of the container's own loopback are to lead where.
func (d *decision) connects() map[uint16]string {
	var connects map[uint16]string
	for _, rest := range withPrefix(d.facts.labels, connectLabel) {
		label := connectLabel + rest
		value := d.facts.labels[label]
		port, err := strconv.ParseUint(rest, 10, 16)
		target, ok := toTarget(value)
		switch {
		case err != nil || port == 0 || strconv.FormatUint(port, 10) != rest:
			d.note("label %s: not a port such as %s6000; not counted", printable(label), connectLabel)
		case !ok:
			d.note("label %s=%s: not a name such as redis or web.shop; not counted", label, registry.Quote(value))
		case len(connects) == maxConnect:
			d.note("label %s: more than %d of them; left out", label, maxConnect)
		default:
			if connects == nil {
				connects = map[uint16]string{}
			}
			connects[uint16(port)] = target
			d.choose(fmt.Sprintf("connect %d", port), target, "label "+label)
		}
	}
	return connects
}

// toTarget makes a name of a value that is meant to be one: a label or several
// with dots between them.
func toTarget(s string) (string, bool) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	if len(s) > maxTarget {
		return "", false
	}
	s = toLabel(s)
	for l := range strings.SplitSeq(s, ".") {
		if !registry.IsLabel(l) {
			return "", false
		}
	}
	return s, true
}
