package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rackdns": main})
}

// TestScript runs the scripts in testdata/script, which show what the commands
// do. Each has a rack named acme of its own, in a real etcd, and besides
// testscript's commands:
//
//	etcd put KEY FILE   write the contents of a file
//	etcd get KEY        print a value to stdout, fail if there is none
//	etcd keys [KEY]     print all keys that begin so, one per line
//	etcd wait KEY       wait until there is such a key
//
// A KEY is relative to the registry's prefix, /rackdns by default, such as
// v1/acme/services/shop/web or secrets/acme/shop/db.
func TestScript(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("RACKDNS_ETCD", etcd.Endpoints()[0])
			env.Setenv("RACKDNS_ETCD_PREFIX", "/"+filepath.Base(env.WorkDir))
			env.Setenv("RACKDNS_RACK", "acme")
			// The race detector makes a process linger for a second at its end.
			env.Setenv("GORACE", "atexit_sleep_ms=50")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"etcd": func(ts *testscript.TestScript, neg bool, args []string) { scriptEtcd(ts, etcd.Client(), neg, args) },
		},
	})
}

// scriptEtcd is the command etcd of the scripts.
func scriptEtcd(ts *testscript.TestScript, client *clientv3.Client, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	prefix := ts.Getenv("RACKDNS_ETCD_PREFIX") + "/"
	if neg && (len(args) != 2 || args[0] != "get") {
		ts.Fatalf("only etcd get can be expected to fail")
	}
	switch {
	case len(args) == 3 && args[0] == "put":
		_, err := client.Put(ctx, prefix+args[1], strings.TrimSuffix(ts.ReadFile(args[2]), "\n"))
		ts.Check(err)
	case len(args) == 2 && args[0] == "get":
		r, err := client.Get(ctx, prefix+args[1])
		ts.Check(err)
		if neg != (len(r.Kvs) == 0) {
			ts.Fatalf("key %s: is there: %t", args[1], len(r.Kvs) > 0)
		}
		for _, kv := range r.Kvs {
			_, err := ts.Stdout().Write(append(kv.Value, '\n'))
			ts.Check(err)
		}
	case len(args) <= 2 && args[0] == "keys":
		r, err := client.Get(ctx, prefix+strings.Join(args[1:], ""), clientv3.WithPrefix(), clientv3.WithKeysOnly())
		ts.Check(err)
		// With no key too: what was printed before is not what is there.
		w := ts.Stdout()
		for _, kv := range r.Kvs {
			_, err := w.Write([]byte(strings.TrimPrefix(string(kv.Key), prefix) + "\n"))
			ts.Check(err)
		}
	case len(args) == 2 && args[0] == "wait":
		await(ctx, ts, client, prefix+args[1])
	default:
		ts.Fatalf("usage: etcd put KEY FILE | get KEY | keys [KEY] | wait KEY")
	}
}

// await returns when the key is there.
func await(ctx context.Context, ts *testscript.TestScript, client *clientv3.Client, key string) {
	r, err := client.Get(ctx, key)
	ts.Check(err)
	if len(r.Kvs) > 0 {
		return
	}
	for w := range client.Watch(ctx, key, clientv3.WithRev(r.Header.Revision+1)) {
		for _, e := range w.Events {
			if e.Type == clientv3.EventTypePut {
				return
			}
		}
	}
	ts.Fatalf("no key %s in time", key)
}
