package reach

import (
	"net/netip"
	"testing"
)

// What is on a network of its own is no instance on the node's, also where it isn't
// to be reached by that network, and so has no address there.
func TestAttachedWithoutAddress(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddr("10.0.0.1")
	node := &Node{Name: "n", Addresses: []netip.Addr{at}, Unproxied: true, Networks: []Network{
		{ID: "a", Name: "a", Driver: "bridge", Local: true}, {ID: "b", Name: "b", Driver: "bridge", Local: true},
	}}
	client := &Client{Kind: Container, Node: node, Networks: []string{"a"}}
	for name, tt := range map[string]struct {
		attachments []Attachment
		want        Rule
	}{
		"on the node's network":         {nil, Published},
		"on another without an address": {[]Attachment{{Network: "b", Local: true}}, Filtered},
	} {
		i := &Instance{Node: node, Attachments: tt.attachments, Ports: []Port{{Number: 80, Protocol: TCP, Published: []netip.AddrPort{netip.AddrPortFrom(at, 8080)}}}}
		if got := Evaluate(client, i, &Options{})[0].V4.Rule; got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// Docker has packets leave by an internal bridge rather than by docker_gwbridge, so
// an overlay beside it is no way out.
func TestLedInside(t *testing.T) {
	t.Parallel()
	node := &Node{Name: "n", Networks: []Network{
		{ID: "i", Name: "i", Driver: "bridge", Local: true, Internal: true}, {ID: "o", Name: "o", Driver: "overlay"},
		{ID: "g", Name: "docker_gwbridge", Driver: "bridge", Local: true}, {ID: "b", Name: "b", Driver: "bridge", Local: true},
	}}
	for name, tt := range map[string]struct {
		on   []string
		want bool
	}{
		"internal":                          {[]string{"i"}, true},
		"internal and overlay":              {[]string{"i", "o"}, true},
		"and on docker_gwbridge":            {[]string{"i", "o", "g"}, true},
		"overlay":                           {[]string{"o", "g"}, false},
		"internal, overlay and a bridge":    {[]string{"i", "o", "g", "b"}, false},
		"a network that nobody has told of": {[]string{"i", "x"}, false},
	} {
		if got := (&Client{Kind: Container, Node: node, Networks: tt.on}).confined(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
