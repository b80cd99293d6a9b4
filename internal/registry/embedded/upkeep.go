package embedded

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
)

// upkeepInterval is how often the member is looked after, upkeepTimeout how
// long one look may take.
const (
	upkeepInterval = 10 * time.Second
	upkeepTimeout  = time.Minute
)

// upkeep does for a member what an administrator does for a cluster: it gives
// up history before the quota is reached. If it is reached all the same, etcd
// takes no more writes until its file is defragmented and the alarm disarmed.
type upkeep struct {
	etcd *etcdserver.EtcdServer
	// quota is the most that the database may hold, in bytes.
	quota int64
	// compacted is how much was in use after the last compaction.
	compacted int64
}

func (u *upkeep) run(ctx context.Context) {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	failed := false
	for {
		err := u.look(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			fmt.Fprintln(os.Stderr, logLine("error", "the registry is full, and can't be made smaller", err))
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (u *upkeep) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	if used := u.etcd.Backend().SizeInUse(); used > u.quota/4*3 && used > u.compacted+u.quota/16 {
		if err := u.compact(ctx); err != nil {
			return err
		}
	}
	for _, a := range u.etcd.Alarms() {
		if a.GetAlarm() != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		if err := u.shrink(ctx); err != nil {
			return err
		}
		_, err := u.etcd.Alarm(ctx, &etcdserverpb.AlarmRequest{
			Action: etcdserverpb.AlarmRequest_DEACTIVATE, MemberID: a.GetMemberID(), Alarm: a.GetAlarm(),
		})
		if err != nil {
			return fmt.Errorf("disarm the alarm: %w", err)
		}
	}
	return nil
}

// compact gives up all history. Whoever reads along and is behind lists anew.
func (u *upkeep) compact(ctx context.Context) error {
	kv := u.etcd.KV()
	if rev := kv.Rev(); rev > kv.FirstRev() {
		if _, err := u.etcd.Compact(ctx, &etcdserverpb.CompactionRequest{Revision: rev, Physical: true}); err != nil {
			return fmt.Errorf("compact at revision %d: %w", rev, err)
		}
		// What is in use is counted at a commit.
		u.etcd.Backend().ForceCommit()
	}
	u.compacted = u.etcd.Backend().SizeInUse()
	return nil
}

// shrink makes room below the quota, of which the file's size counts.
func (u *upkeep) shrink(ctx context.Context) error {
	be := u.etcd.Backend()
	if be.Size() <= u.quota/10*9 {
		return nil
	}
	if err := u.compact(ctx); err != nil {
		return err
	}
	if err := be.Defrag(); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	if size := be.Size(); size > u.quota/10*9 {
		return fmt.Errorf("%d of %d bytes are in use", size, u.quota)
	}
	return nil
}
