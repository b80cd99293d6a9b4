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

// upkeep does for a member what an administrator does for a cluster: when the
// quota is reached, etcd takes no more writes until its history is compacted,
// its file defragmented, and the alarm disarmed.
type upkeep struct {
	etcd *etcdserver.EtcdServer
}

func (u upkeep) run(ctx context.Context) {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	failed := false
	for {
		err := u.look(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			fmt.Fprintln(os.Stderr, logLine("error", "the registry has reached its quota, and can't be made smaller", err))
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (u upkeep) look(ctx context.Context) error {
	var raised []*etcdserverpb.AlarmMember
	for _, a := range u.etcd.Alarms() {
		if a.GetAlarm() == etcdserverpb.AlarmType_NOSPACE {
			raised = append(raised, a)
		}
	}
	if len(raised) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	be := u.etcd.Backend()
	if be.Size() > quota/10*9 {
		rev := u.etcd.KV().Rev()
		_, err := u.etcd.Compact(ctx, &etcdserverpb.CompactionRequest{Revision: rev, Physical: true})
		if err != nil && rev > u.etcd.KV().FirstRev() {
			return fmt.Errorf("compact at revision %d: %w", rev, err)
		}
		if err := be.Defrag(); err != nil {
			return fmt.Errorf("defragment: %w", err)
		}
	}
	if size := be.Size(); size > quota/10*9 {
		return fmt.Errorf("%d of %d bytes are in use", size, quota)
	}
	for _, a := range raised {
		_, err := u.etcd.Alarm(ctx, &etcdserverpb.AlarmRequest{
			Action: etcdserverpb.AlarmRequest_DEACTIVATE, MemberID: a.GetMemberID(), Alarm: a.GetAlarm(),
		})
		if err != nil {
			return fmt.Errorf("disarm the alarm: %w", err)
		}
	}
	return nil
}
