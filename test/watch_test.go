package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// What changes is told as it happens, by the command and over HTTP, which `rackdns
// api` serves for two racks from one process.
func TestWatchAndAPI(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	endpoint := etcd.Endpoints()[0]
	one, two := unique("a"), unique("b")
	ledger := newLedger(t, etcd, one)
	ledger.put(entrant("shop", "a1", 41001))
	watch := launch(t, "watch", "shop", "--rack", one, "--etcd", endpoint)
	at := etcdtest.FreeAddr(t)
	launch(t, "api", "--racks", one+","+two, "--etcd", endpoint, "--http", at, "--data", t.TempDir())
	eventually(t, "ready", func() error { return ok(at, "/readyz") })
	port := uint16(41001)
	eventually(t, "a line for a change", func() error {
		// Those before it watches are none of its business.
		port++
		ledger.put(entrant("shop", "a1", port))
		if out := watch.out.String(); !strings.Contains(out, "changed  web.shop a1 on ") || !strings.Contains(out, "its ports") {
			return fmt.Errorf("rackdns watch prints %q", out)
		}
		return nil
	})
	eventually(t, "the change over HTTP", func() error {
		body, err := get("http://" + at + "/api/v1/services/shop/web")
		if err == nil && !strings.Contains(string(body), fmt.Sprintf(`"port":%d`, port)) {
			err = fmt.Errorf("%s has no port %d", body, port)
		}
		return err
	})
	if body, err := get("http://" + at + "/api/v1/racks/" + two + "/services"); string(body) != "[]\n" {
		t.Errorf("the other rack: %s, %v", body, err)
	}
}
