package agent

import (
	"maps"
	"strings"
	"testing"
)

// Whose a container is where several racks share an engine.
func TestRackOfAContainer(t *testing.T) {
	up := labels{"rackdns.up.id": "X", "rackdns.up.hash": "1", "rackdns.up.rack": "acme", "rackdns.app": "shop", "rackdns.service": "web"}
	database := labels{"rackdns.up.id": "X", "rackdns.rack": "acme", "rackdns.app": "rack-resources", "rackdns.service": "db"}
	with := func(base, more labels) labels {
		l := labels{}
		maps.Copy(l, base)
		maps.Copy(l, more)
		return l
	}
	const registered = Reason("")
	tests := []struct {
		name             string
		image, container labels
		// acme and other are what agents of these racks make of it, labelled what
		// one of acme with --only-labelled does.
		acme, other, labelled Reason
	}{
		{"no label", nil, nil, registered, registered, ReasonUnlabelled},
		{"somebody else's label", nil, labels{"com.docker.compose.project": "shop"}, registered, registered, ReasonUnlabelled},
		{"an app", nil, labels{"rackdns.app": "shop"}, registered, registered, registered},
		{"another rack's", nil, labels{"rackdns.rack": "other"}, ReasonRack, registered, ReasonRack},
		{"of a rack in capitals", nil, labels{"rackdns.rack": "ACME"}, registered, ReasonRack, registered},
		{"no rack's", nil, labels{"rackdns.rack": ""}, registered, registered, registered},
		{"made by up", nil, up, registered, ReasonRack, registered},
		{"made by up, of an image of a container of up", with(up, labels{"rackdns.up.id": "Y", "rackdns.up.hash": "2"}), up, registered, ReasonRack, registered},
		{"made by up, with another rack's label", nil, with(up, labels{"rackdns.rack": "other"}), registered, ReasonRack, registered},
		{"a resource", nil, database, registered, ReasonRack, registered},
		{"a resource, of an image of another", with(database, labels{"rackdns.up.id": "Y"}), database, registered, ReasonRack, registered},
		{"a copy", up, nil, registered, registered, ReasonUnlabelled},
		{"a copy of a resource", database, nil, registered, registered, ReasonUnlabelled},
		{"a copy with a label", up, labels{"rackdns.rack": "other"}, ReasonRack, registered, ReasonRack},
		{"an image's rack", labels{"rackdns.rack": "other"}, nil, registered, registered, ReasonUnlabelled},
		{"an image's port", labels{"rackdns.port.80": "http"}, nil, registered, registered, ReasonUnlabelled},
		{"left out", nil, labels{"rackdns.ignore": "1", "rackdns.rack": "other"}, ReasonIgnored, ReasonIgnored, ReasonIgnored},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, as := range []struct {
				cfg  Config
				want Reason
			}{
				{Config{Rack: "acme"}, tt.acme},
				{Config{Rack: "other"}, tt.other},
				{Config{Rack: "acme", OnlyLabelled: true}, tt.labelled},
			} {
				f := labelled(with(tt.image, tt.container))
				f.disown(&imageConfig{labels: tt.image}, false)
				a := &Agent{cfg: as.cfg}
				a.place.Store(&place{home: testHome})
				d := a.judge(f)
				got := registered
				if d.refusal != nil {
					got = d.refusal.Reason
				}
				if got != as.want || (d.instance == nil) != (got != registered) {
					t.Errorf("%+v: refusal %+v, instance %v; want reason %q", as.cfg, d.refusal, d.instance, as.want)
				}
			}
		})
	}
}

// What a container of ours is called is said to it, and never by an image that
// was made of one, whatever else of images counts.
func TestCopyOfAContainer(t *testing.T) {
	made := labels{"rackdns.up.id": "X", "rackdns.up.hash": "1", "rackdns.up.rack": "acme", "rackdns.app": "shop", "rackdns.service": "web", "rackdns.links": "db", "rackdns.port.80": "http"}
	for _, all := range []bool{false, true} {
		for name, of := range map[string]*facts{
			"bare":           labelled(made),
			"with its words": labelled(labels{"rackdns.up.id": "X", "rackdns.up.rack": "acme", "rackdns.app": "shop", "rackdns.service": "web"}),
		} {
			if !of.inherits(all) {
				t.Fatal("nobody asks for the image")
			}
			of.disown(&imageConfig{labels: made}, all)
			d := decide(of, testHome)
			if d.instance == nil || d.instance.App != defaultApp || d.instance.Service != "web-1" || len(d.instance.Links) > 0 {
				t.Errorf("%s, all labels: %t: %+v, %+v", name, all, d.instance, d.refusal)
			}
			if notes := strings.Join(d.remarks(), "\n"); !strings.Contains(notes, "label rackdns.app: comes from the image, which was made of a container of rackdns's") {
				t.Errorf("%s, all labels: %t: remarks\n%s", name, all, notes)
			}
		}
	}
}
