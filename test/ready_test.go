package test

import (
	"fmt"
	"testing"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// TestReadyIsWhatQueriesGet asks a server that is monitored continuously
// whether it is ready: while every answer is SERVFAIL it isn't, be it that it
// has never read the registry or that what it knows is older than max_stale.
func TestReadyIsWhatQueriesGet(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	ledger := newLedger(t, etcd, unique("r"))
	ledger.put(entrant("shop", "a1", 41001))
	wire := etcd.Proxied()[0]
	wire.Cut()
	server, at, zone := etcdtest.FreeAddr(t), etcdtest.FreeAddr(t), ledger.layout.Rack()+".convox."
	name := "web.shop." + zone
	launch(t, "dns", "-conf", corefile(t, fmt.Sprintf(
		"%s:%s {\n    bind 127.0.0.1\n    errors\n    ready %s {\n        monitor continuously\n    }\n    rack {\n        etcd %s\n        node apart\n        max_stale 6s\n    }\n}\n",
		zone, portOf(t, server), at, wire.URL())))
	refuses := func() error {
		if err := servfail(server, name); err != nil {
			return err
		}
		if ok(at, "/ready") == nil {
			return fmt.Errorf("ready, and answers SERVFAIL")
		}
		return nil
	}
	answers := func() error {
		if err := resolvesTo(server, name, hosted); err != nil {
			return err
		}
		return ok(at, "/ready")
	}
	eventually(t, "neither ready nor an answer before the first list", refuses)
	wire.Mend()
	eventually(t, "ready with the first list", answers)
	wire.Cut()
	eventually(t, "neither after max_stale", refuses)
	wire.Mend()
	eventually(t, "both again", answers)
}
