package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// runLease is how long it is known who has a run of a timer: longer than the
// clocks of two nodes differ, and than one of them may be late.
const runLease = 10 * time.Minute

// timers is where runs of timers are claimed. They are locks, and nobody's names.
func (l Layout) timers() string { return l.Locks() + "timer/" }

// ClaimRun claims the run of a timer at a time of its schedule for a node, and
// reports whether the call has it: of all calls one gets it, for good. Without the
// registry none does.
func (c *Client) ClaimRun(ctx context.Context, app, timer, node string, at time.Time) (bool, error) {
	what := "claim a run of timer " + timer + " of app " + app
	etcd, err := c.connect(ctx)
	if err != nil {
		return false, c.inWords(ctx, what, err)
	}
	key := c.layout.timers() + app + "/" + timer + "/" + strconv.FormatInt(at.Unix(), 10)
	// An answer that was lost on its way leaves a claim that is this call's own.
	claim := node + " " + rand.Text()
	ours := false
	err = c.do(ctx, what, func(ctx context.Context, kv clientv3.KV) error {
		lease, err := etcd.Grant(ctx, int64(runLease/time.Second))
		if err != nil {
			return err
		}
		reply, err := kv.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, claim, clientv3.WithLease(lease.ID))).
			Else(clientv3.OpGet(key)).
			Commit()
		if err != nil {
			return err
		}
		if ours = reply.Succeeded; ours {
			return nil
		}
		found := reply.Responses[0].GetResponseRange().Kvs
		ours = len(found) == 1 && string(found[0].Value) == claim
		if ours {
			return nil
		}
		if _, err := etcd.Revoke(ctx, lease.ID); err != nil {
			return fmt.Errorf("give a lease back that is not needed: %w", err)
		}
		return nil
	})
	return ours, err
}
