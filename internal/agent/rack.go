package agent

import (
	"strings"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/registry"
)

// judge decides what becomes of a container, and whether it is this agent's.
func (a *Agent) judge(f *facts) *decision {
	d := decide(f, a.home())
	if d.refusal == nil {
		d.admit(a.cfg.Rack, a.cfg.OnlyLabelled)
	}
	// Also of one that doesn't run.
	own := &decision{facts: f, home: a.home()}
	own.admit(a.cfg.Rack, a.cfg.OnlyLabelled)
	d.notOurs = own.refusal != nil
	if d.instance == nil && d.hidden == nil && f.running() {
		d.hidden = asClient(f, a.home())
	}
	if d.hidden != nil && d.isForeign(a.cfg.Rack) {
		// Bare names are of its app, and that is another rack's.
		d.hidden.App, d.hidden.Service, d.hidden.Namespace = "", "", ""
	}
	return d
}

// isForeign reports whether a container is for another rack.
func (d *decision) isForeign(rack string) bool {
	name, _ := d.rack()
	return name != "" && rack != "" && toLabel(name) != rack
}

// admit leaves out what belongs to another rack on the same engine, and, if only
// what is labelled counts, what has no label of ours.
func (d *decision) admit(rack string, onlyLabelled bool) {
	name, source := d.rack()
	switch {
	case d.isForeign(rack):
		d.instance = nil
		d.refuse(ReasonRack, "%s=%s: it belongs to that rack, and this is %s", source, registry.Quote(name), rack)
	case onlyLabelled && !d.facts.isLabelled():
		d.instance = nil
		d.refuse(ReasonUnlabelled, "it has no label %s…, and only those that have one count (--only-labelled)", label.Prefix)
	case name != "":
		d.choose("rack", name, source)
	}
}

// rack returns the rack that a container is for, empty if it doesn't say. What
// `up` has made is for the rack that it was told.
func (d *decision) rack() (name, source string) {
	up, own := d.facts.labels[label.UpRack], d.facts.labels[label.Rack]
	switch {
	case up == "":
		return own, "label " + label.Rack
	case own != "" && toLabel(own) != up:
		d.note("label %s=%s: rackdns up has made it for rack %s; not counted", label.Rack, registry.Quote(own), printable(up))
	}
	return up, "label " + label.UpRack
}

// isLabelled reports whether somebody has given a container a label of ours. An
// image's doesn't tell.
func (f *facts) isLabelled() bool {
	for key := range f.labels {
		if strings.HasPrefix(key, label.Prefix) && !f.fromImage["label "+key] {
			return true
		}
	}
	return false
}
