package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

func TestResource(t *testing.T) {
	long := strings.Repeat("a", 5000)
	tests := []struct {
		name    string
		labels  labels
		want    *registry.InstanceResource
		remarks int
	}{
		{"none", labels{}, nil, 0},
		{"with a name", labels{"rackdns.resource": "mysql", "rackdns.resource.name": "leopard"}, &registry.InstanceResource{Name: "leopard", Type: "mysql"}, 0},
		{"without a name", labels{"rackdns.resource": "redis"}, &registry.InstanceResource{Name: "web", Type: "redis"}, 0},
		{"as people write", labels{"rackdns.resource": "Redis", "rackdns.resource.name": "my_cache"}, &registry.InstanceResource{Name: "my-cache", Type: "redis"}, 0},
		{"name without a type", labels{"rackdns.resource.name": "cache"}, nil, 1},
		{"bad type", labels{"rackdns.resource": "my sql"}, nil, 1},
		{"bad name", labels{"rackdns.resource": "mysql", "rackdns.resource.name": "../x"}, nil, 1},
		{"long type", labels{"rackdns.resource": long}, nil, 1},
		{"long name", labels{"rackdns.resource": "mysql", "rackdns.resource.name": long}, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.labels["rackdns.service"] = "web"
			d := decide(labelled(tt.labels), testHome)
			if d.refusal != nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			if diff := cmp.Diff(tt.want, d.instance.Resource); diff != "" {
				t.Errorf("resource (-want +got):\n%s", diff)
			}
			wantRemarks(t, d, tt.remarks)
		})
	}
}

func TestLinks(t *testing.T) {
	crowd, all := labels{"rackdns.links": ""}, map[uint16]string{}
	for n := range maxConnect + 3 {
		crowd["rackdns.links"] += fmt.Sprintf("s%d,", n)
		port := uint16(6001 + n)
		crowd[fmt.Sprint("connect.", port)] = "redis"
		if n < maxConnect {
			all[port] = "redis"
		}
	}
	tests := []struct {
		name    string
		labels  labels
		links   string
		connect map[uint16]string
		remarks int
	}{
		{"none", labels{}, "", nil, 0},
		{"empty", labels{"rackdns.links": " , "}, "", nil, 0},
		{"links", labels{"rackdns.links": "web, db,web,My_Cache"}, "web db my-cache", nil, 0},
		{"bad links among good", labels{"rackdns.links": "web,a b,../x,\x00,db"}, "web db", nil, 3},
		{"connect", labels{"connect.6000": "redis", "connect.80": "Web.shop."}, "", map[uint16]string{6000: "redis", 80: "web.shop"}, 0},
		{"bad ports", labels{"connect.0": "a", "connect.65536": "a", "connect.x": "a", "connect.": "a", "connect.+80": "a", "connect.080": "a", "connect.81": "a"}, "", map[uint16]string{81: "a"}, 6},
		{"bad names", labels{"connect.1": "", "connect.2": "a b", "connect.3": "a..b", "connect.4": strings.Repeat("a.", 200), "connect.5": "x"}, "", map[uint16]string{5: "x"}, 4},
		{"too many", crowd, strings.TrimSpace(strings.Join(firstLinks(maxLinks), " ")), all, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(labelled(tt.labels), testHome)
			if d.refusal != nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			if got := strings.Join(d.instance.Links, " "); got != tt.links {
				t.Errorf("links = %q, want %q", got, tt.links)
			}
			if diff := cmp.Diff(tt.connect, d.instance.Connect); diff != "" {
				t.Errorf("connect (-want +got):\n%s", diff)
			}
			wantRemarks(t, d, tt.remarks)
		})
	}
}

func firstLinks(n int) []string {
	names := make([]string, 0, n)
	for i := range n {
		names = append(names, fmt.Sprint("s", i))
	}
	return names
}

// wantRemarks checks that each label that doesn't count is explained, in a line
// that fits a log.
func wantRemarks(t *testing.T, d *decision, n int) {
	t.Helper()
	remarks := d.remarks()
	if len(remarks) != n {
		t.Errorf("remarks = %q, want %d", remarks, n)
	}
	for _, r := range remarks {
		if len(r) > 400 || r != clean(r, len(r)) {
			t.Errorf("remark %q is long or garbled", r)
		}
	}
}

// What the agent writes is what others read.
func TestLinksInRegistry(t *testing.T) {
	d := decide(labelled(labels{"rackdns.links": "web,db", "connect.6000": "redis", "rackdns.resource": "mysql"}), testHome)
	value, err := registry.Encode(d.instance)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"links":["web","db"]`, `"connect":{"6000":"redis"}`, `"resource":{"name":`} {
		if !strings.Contains(string(value), want) {
			t.Errorf("%s is not in %s", want, value)
		}
	}
	got, err := registry.DecodeInstance(registry.Key{Kind: registry.KindInstance, Owner: d.instance.Node, Name: d.instance.ID}, value)
	if err != nil {
		t.Fatal(err)
	}
	wants := func(i *registry.Instance) []any { return []any{i.Links, i.Connect, i.Resource} }
	if diff := cmp.Diff(wants(d.instance), wants(got)); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
