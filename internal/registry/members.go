package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// memberTimeout bounds the question to one member of etcd's.
const memberTimeout = 2 * time.Second

// Member is one of etcd's members, as it says itself.
type Member struct {
	Name string
	// Endpoint is where it was asked; empty if it says nowhere that clients can
	// reach it.
	Endpoint string
	Version  string
	Learner  bool
	// Size is that of its database, InUse what of that is not free, and Quota the
	// most that it may be, in bytes; 0 if the member doesn't say.
	Size, InUse, Quota int64
	// Err says why it didn't answer.
	Err error

	id uint64
}

// Alarm is a member's alarm: NOSPACE or CORRUPT.
type Alarm struct{ Member, Kind string }

// Members returns etcd's members by name, each asked by itself.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	etcd, err := c.connect(ctx)
	if err != nil {
		return nil, c.inWords(ctx, "list etcd's members", err)
	}
	var list *clientv3.MemberListResponse
	err = c.do(ctx, "list etcd's members", func(ctx context.Context, _ clientv3.KV) (err error) {
		list, err = etcd.MemberList(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	// Those that were configured first: by others a member may be reached from
	// its fellows only.
	said := c.statuses(ctx, etcd, c.cfg.Endpoints)
	known := map[uint64]Member{}
	for _, m := range said {
		if m.Err == nil {
			known[m.id] = m
		}
	}
	all := make([]Member, len(list.Members))
	var asking sync.WaitGroup
	for n, m := range list.Members {
		if is, ok := known[m.ID]; ok {
			all[n] = is
		} else {
			asking.Go(func() { all[n] = c.elsewhere(ctx, etcd, m) })
		}
	}
	asking.Wait()
	for n, m := range list.Members {
		all[n].Name, all[n].Learner = m.Name, m.IsLearner
	}
	slices.SortFunc(all, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
	return all, nil
}

// elsewhere asks a member at the URLs that it gives itself.
func (c *Client) elsewhere(ctx context.Context, etcd *clientv3.Client, m *etcdserverpb.Member) Member {
	is := Member{Err: errors.New("it has no URL for clients: it has not started yet")}
	for _, is = range c.statuses(ctx, etcd, m.ClientURLs) {
		if is.Err == nil && is.id == m.ID {
			return is
		}
		if is.Err == nil {
			// Such as a loopback address, which is each member's.
			is.Err = errors.New("another member answers there")
		}
	}
	return is
}

// statuses asks at each endpoint who is there.
func (c *Client) statuses(ctx context.Context, etcd *clientv3.Client, endpoints []string) []Member {
	all := make([]Member, len(endpoints))
	var asking sync.WaitGroup
	for n, endpoint := range endpoints {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, memberTimeout)
			defer cancel()
			all[n].Endpoint = endpoint
			s, err := etcd.Status(ctx, endpoint)
			if err != nil {
				all[n].Err = err
				if errors.Is(err, context.DeadlineExceeded) {
					all[n].Err = fmt.Errorf("no answer within %s", memberTimeout)
				}
				return
			}
			all[n].id, all[n].Version = s.Header.MemberId, s.Version
			all[n].Size, all[n].InUse, all[n].Quota = s.DbSize, s.DbSizeInUse, s.DbSizeQuota
		})
	}
	asking.Wait()
	return all
}

// Alarms returns the alarms that are on.
func (c *Client) Alarms(ctx context.Context) ([]Alarm, error) {
	etcd, err := c.connect(ctx)
	if err != nil {
		return nil, c.inWords(ctx, "list etcd's alarms", err)
	}
	var on *clientv3.AlarmResponse
	var members *clientv3.MemberListResponse
	err = c.do(ctx, "list etcd's alarms", func(ctx context.Context, _ clientv3.KV) (err error) {
		if members, err = etcd.MemberList(ctx); err == nil {
			on, err = etcd.AlarmList(ctx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []Alarm
	for _, a := range on.Alarms {
		name := fmt.Sprintf("%x", a.MemberID)
		for _, m := range members.Members {
			if m.ID == a.MemberID && m.Name != "" {
				name = m.Name
			}
		}
		all = append(all, Alarm{name, a.Alarm.String()})
	}
	return all, nil
}
