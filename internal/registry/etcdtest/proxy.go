package etcdtest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy is a wire to a member, which can be cut, stretched and clogged.
type Proxy struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
	// url is kept apart: toxiproxy writes its own each time that it listens.
	url string
}

// Proxied returns a wire to each member. The members themselves, and their
// talk to each other, are as they were.
func (c *Cluster) Proxied() []*Proxy {
	c.t.Helper()
	var all []*Proxy
	for _, m := range c.Members {
		all = append(all, NewProxy(c.t, m.Endpoint))
	}
	return all
}

// NewProxy returns a wire to an endpoint, which ends with the test.
func NewProxy(t testing.TB, endpoint string) *Proxy {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	near := FreeAddr(t)
	p := &Proxy{t: t, proxy: toxiproxy.NewProxy(server, u.Host, near, u.Host), url: "http://" + near}
	p.Mend()
	t.Cleanup(p.Cut)
	return p
}

// URL returns the endpoint at the near end.
func (p *Proxy) URL() string { return p.url }

// Cut ends all connections and takes no new ones.
func (p *Proxy) Cut() { p.proxy.Stop() }

// Mend undoes Cut.
func (p *Proxy) Mend() {
	p.t.Helper()
	if err := p.proxy.Start(); err != nil {
		p.t.Fatalf("proxy: %v", err)
	}
}

// Slow delays everything by d in each direction.
func (p *Proxy) Slow(d time.Duration) {
	p.poison("latency", fmt.Sprintf(`"latency":%d`, d.Milliseconds()))
}

// Swallow lets nothing through in either direction, and ends no connection.
func (p *Proxy) Swallow() { p.poison("timeout", `"timeout":0`) }

// Heal undoes Slow and Swallow.
func (p *Proxy) Heal() { p.proxy.Toxics.ResetToxics(context.Background()) }

func (p *Proxy) poison(kind, attributes string) {
	p.t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"name":"%s-%s","type":%q,"stream":%q,"attributes":{%s}}`, kind, direction, kind, direction, attributes)
		if _, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			p.t.Fatalf("proxy: %v", err)
		}
	}
}
