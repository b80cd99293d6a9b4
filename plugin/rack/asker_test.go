package rack

import (
	"testing"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func stateOf(from, name string) request.Request {
	return request.Request{W: &test.ResponseWriter{RemoteIP: from}, Req: question(name, dns.TypeA)}
}

func TestAutoPath(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	search := []string{"shop.acme.convox.", "acme.convox.", ""}
	for _, tc := range []struct {
		name, from, qname string
		rack              *Rack
		want              []string
	}{
		{"a container", "172.18.0.9", "web.shop.acme.convox.", r, search},
		{"a container over IPv6", "2001:db8::9", "web.shop.acme.convox.", r, search},
		{"capitals", "172.18.0.9", "Example.com.SHOP.acme.convox.", r, search},
		{"a stranger", outside, "web.shop.acme.convox.", r, nil},
		{"the node", "127.0.0.1", "web.shop.acme.convox.", r, nil},
		{"another zone", "172.18.0.9", "example.com.", r, nil},
		{"a reverse zone", "172.18.0.9", "9.0.18.172.in-addr.arpa.", r, nil},
		{"before the first sync", "172.18.0.9", "web.shop.acme.convox.", unsynced(t), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.rack.AutoPath(stateOf(tc.from, tc.qname))); diff != "" {
				t.Errorf("search list (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	r := newTestRack(t, shop()...)
	all := func(from, name string) map[string]string {
		state := stateOf(from, name)
		ctx := r.Metadata(metadata.ContextWithMetadata(t.Context()), state)
		got := map[string]string{}
		for label, f := range metadata.ValueFuncs(ctx) {
			if !metadata.IsLabel(label) {
				t.Errorf("%q is no label", label)
			}
			if v := f(); v != "" {
				got[label] = v
			}
		}
		return got
	}
	client := map[string]string{"rack/client-app": "shop", "rack/client-service": "cli", "rack/client-instance": "aaaa248b1d18"}
	with := func(more map[string]string) map[string]string {
		for k, v := range client {
			more[k] = v
		}
		return more
	}
	for _, tc := range []struct {
		name, from, qname string
		want              map[string]string
	}{
		{"a service", "172.18.0.9", "web.store.acme.convox.", with(map[string]string{"rack/rack": "acme", "rack/kind": "service", "rack/app": "shop", "rack/service": "web"})},
		{"a resource", "172.18.0.9", "mysql.shop.acme.convox.", with(map[string]string{"rack/rack": "acme", "rack/kind": "resource", "rack/app": "shop", "rack/resource": "tiger"})},
		{"another name", "172.18.0.9", "example.com.", client},
		{"an address", outside, "2.0.18.172.in-addr.arpa.", map[string]string{"rack/rack": "acme"}},
		{"a stranger", outside, "x.acme.convox.", map[string]string{"rack/rack": "acme", "rack/kind": "unknown"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, all(tc.from, tc.qname)); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
	ctx := unsynced(t).Metadata(metadata.ContextWithMetadata(t.Context()), stateOf(outside, "web.shop.acme.convox."))
	if got := metadata.Labels(ctx); len(got) > 0 {
		t.Errorf("before the first sync: %v", got)
	}
}
