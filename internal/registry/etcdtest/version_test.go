package etcdtest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The documentation names the versions that are tested, and those are what the
// programs say that they are.
func TestVersions(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			m := StartProcesses(t, v, 1).Members[0]
			client, err := clientv3.NewFromURL(m.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			r, err := client.Status(ctx, m.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case v == Debian:
				if !strings.HasPrefix(r.Version, "3.4.") {
					t.Logf("the etcd on the PATH is %s, not Debian 12's", r.Version)
				}
			case r.Version != string(v):
				t.Errorf("etcd %s says that it is %s", v, r.Version)
			case !strings.Contains(string(doc), " "+r.Version+":") && !strings.Contains(string(doc), " "+r.Version+","):
				t.Errorf("docs/etcd.md doesn't name %s", r.Version)
			}
		})
	}
}
