package registry

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// siegeInterval is how often the lease of whoever holds our name is looked at.
const siegeInterval = time.Second

// TakenError says that another agent holds this node's name: that of another
// Docker Engine, of the same engine's copy on another host, or one that was told
// another address.
type TakenError struct {
	Node          string
	Engine, Other string
	// Those of this agent, and of the one that holds the name. Empty or not
	// valid means unknown.
	Boot, OtherBoot       string
	Address, OtherAddress netip.Addr
	// Since is when the other agent started.
	Since time.Time
}

func taken(us, other *Node) *TakenError {
	return &TakenError{
		Node: us.Node, Engine: us.Engine, Other: other.Engine,
		Boot: us.Boot, OtherBoot: other.Boot, Address: us.first(), OtherAddress: other.first(), Since: other.Started,
	}
}

// Error returns one line that says what to do.
func (e *TakenError) Error() string {
	since := ""
	if !e.Since.IsZero() {
		since = " since " + e.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("node name %q is taken: the agent of %s has it%s, this one is that of %s; give this node another name with --node, or stop the other agent and wait for its lease to end",
		e.Node, identity(e.Other, e.OtherBoot, e.OtherAddress), since, identity(e.Engine, e.Boot, e.Address))
}

// identity says who an agent is, in what may come from others.
func identity(engine, boot string, address netip.Addr) string {
	at := "no address"
	if address.IsValid() {
		at = "address " + address.String()
	}
	return fmt.Sprintf("Docker Engine %s, boot %s, %s", Quote(cmp.Or(engine, "unknown")), Quote(cmp.Or(boot, "unknown")), at)
}

// first returns the address that others reach the node by.
func (n *Node) first() netip.Addr {
	if len(n.Addresses) == 0 {
		return netip.Addr{}
	}
	return n.Addresses[0]
}

// owns reports whether a node's key was written by this agent, or by the one
// before it on the same host. Agents that tell no boot ID are older ones.
//
// An engine's ID is copied with its host's disk, and so two hosts may have one;
// they never have the same boot ID, unless two agents follow the engine of a
// third host, and then they differ in that.
func (p *Publisher) owns(n *Node) bool {
	us := p.self()
	if n.Engine != us.Engine {
		return false
	}
	return p.cfg.Alone || sameBoot(n, &us) && n.first() == us.first()
}

func sameBoot(a, b *Node) bool { return a.Boot == "" || b.Boot == "" || a.Boot == b.Boot }

// siege is the wait for a name that somebody else holds.
type siege struct {
	began time.Time
	lease clientv3.LeaseID
	// end is when the lease ends unless it is renewed, and renewals how often
	// it has been.
	end      time.Time
	renewals int
}

// rival returns the node that holds the name now, if that isn't us. A key that
// hangs on no lease, or on the one that we had, has nobody behind it.
func (s *session) rival() *Node {
	if s.node == nil || s.is == nil || s.node.Lease == 0 || clientv3.LeaseID(s.node.Lease) == s.p.lease || s.p.owns(s.is) {
		return nil
	}
	return s.is
}

// besiege looks at the lease by which somebody else holds the name, and waits a
// moment. Who holds the name alive is told from who has left it behind, like a
// host before it was rebooted, by the renewals of a whole lease: then it returns
// a *TakenError.
//
// One renewal proves nothing, since a new leader of etcd's prolongs all leases.
func (p *Publisher) besiege(ctx context.Context, s *session, other *Node) error {
	lease := clientv3.LeaseID(s.node.Lease)
	var left *clientv3.LeaseTimeToLiveResponse
	err := p.client.do(ctx, "read the lease of the node's name", func(ctx context.Context, _ clientv3.KV) (err error) {
		left, err = s.etcd.TimeToLive(ctx, lease)
		if rpctypes.Error(err) == rpctypes.ErrLeaseNotFound { //nolint:errorlint // these are values of a comparable type
			left, err = &clientv3.LeaseTimeToLiveResponse{}, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	// Whole seconds, and etcd ends leases twice a second.
	const slack = 1500 * time.Millisecond
	now := time.Now()
	end := now.Add(time.Duration(left.TTL) * time.Second)
	switch g := p.siege; {
	case g == nil:
		p.siege = &siege{began: now, lease: lease, end: end}
		nameTaken.WithLabelValues(p.labels()...).Set(1)
		p.log.Warn("another agent has this node's name: waiting for its lease to end", "lease", time.Duration(left.GrantedTTL)*time.Second,
			"it is", identity(other.Engine, other.Boot, other.first()), "since", other.Started)
	case left.TTL <= 0:
	case lease != g.lease || end.Sub(g.end) > slack:
		g.lease, g.end = lease, end
		g.renewals++
	}
	if p.siege.renewals >= 2 && now.Sub(p.siege.began) >= time.Duration(left.GrantedTTL)*time.Second {
		us := p.self()
		return taken(&us, other)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(siegeInterval):
		return nil
	}
}

// lifted notes that nobody else has the name, or that nobody waits for it.
func (p *Publisher) lifted() {
	p.siege = nil
	nameTaken.WithLabelValues(p.labels()...).Set(0)
}
