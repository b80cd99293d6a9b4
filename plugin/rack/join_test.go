package rack

import (
	"net"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/reuseport"
)

// TestAnswered tells servers that can be joined from ports that are free, and
// from those that are taken by somebody who shares them with nobody.
func TestAnswered(t *testing.T) {
	t.Parallel()
	share := func(address string) (net.Listener, error) { return reuseport.Listen("tcp", address) }
	alone := func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	for _, tc := range []struct {
		name   string
		listen func(string) (net.Listener, error)
		at     string
		asks   string
		joins  bool
	}{
		{"shared", share, "127.0.0.1", "127.0.0.1", true},
		{"shared by all addresses", share, "", "", true},
		{"one of all addresses", share, "0.0.0.0", "127.0.0.1", true},
		{"all, of which one is shared", share, "127.0.0.1", "", true},
		{"shared over IPv6", share, "::1", "::1", true},
		{"not shared", alone, "127.0.0.1", "127.0.0.1", false},
		{"all, not shared", alone, "0.0.0.0", "127.0.0.1", false},
		{"another address", share, "127.0.0.2", "127.0.0.1", false},
		{"the other family", share, "::1", "127.0.0.1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l, err := tc.listen(net.JoinHostPort(tc.at, "0"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			address, want := net.JoinHostPort(tc.asks, port), ""
			if tc.joins {
				want = address
			}
			// The first one is none of this host.
			if got := answered([]string{"198.51.100.1:" + port, address}); got != want {
				t.Errorf("%q answers, want %q", got, want)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if got := answered([]string{address}); got != "" {
				t.Errorf("%q answers, and has ended", got)
			}
		})
	}
}
