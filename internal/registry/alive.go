package registry

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	// errUnrenewed is what ends a renewal whose member says nothing any more.
	errUnrenewed = errors.New("the etcd member that renews the node's lease says nothing any more")
	// errLeft is what ends one whose connections somebody else has left.
	errLeft = errors.New("the connections by which the node's lease was renewed were left")
)

// keepAlive renews a lease, which probably is ttl long, until ctx ends. The
// channel has a nil for renewals, an error if another attempt should be made
// with new connections, and is closed when etcd says that the lease has ended,
// or nothing for as long as it lasts.
//
// etcd's client renews by one member, three times within the lease. To notice
// that this one is gone without a word it takes gRPC 13 s (a ping after ten, an
// answer within three), and the next one may be no better: most of a lease.
// Here the connections are left when a renewal and the better part of another
// one is missing. New ones are made to members that answer only.
func (c *Client) keepAlive(ctx context.Context, etcd *clientv3.Client, lease clientv3.LeaseID, ttl time.Duration) (<-chan error, error) {
	first := silenceOf(ttl)
	if first != never {
		// A little later etcd's client gives up on a first renewal, and keeps
		// the connection.
		first = opTimeout
	}
	alive, err := etcd.KeepAlive(ctx, lease)
	if err != nil {
		return nil, c.inWords(ctx, "renew the lease", err)
	}
	renewals := make(chan error, 1)
	say := func(err error) {
		select {
		case renewals <- err:
		case <-ctx.Done():
		}
	}
	go func() {
		defer close(renewals)
		silence := time.NewTimer(first)
		defer silence.Stop()
		for {
			select {
			case r, ok := <-alive:
				if !ok {
					if c.isLeft(etcd) {
						// By somebody else, who found these connections dead.
						say(errLeft)
					}
					return
				}
				silence.Reset(silenceOf(time.Duration(r.TTL) * time.Second))
				select {
				case renewals <- nil:
				default:
				}
			case <-silence.C:
				c.leave(etcd)
				say(errUnrenewed)
				return
			}
		}
	}()
	return renewals, nil
}

// silenceOf is how long a member that renews a lease of that length may say
// nothing. A lease of a few seconds is lost before anything could be done, and
// then no busy machine is to be taken for a silent one.
func silenceOf(ttl time.Duration) time.Duration {
	if s := ttl * 6 / 10; s > opTimeout {
		return s
	}
	return never
}

const never time.Duration = 1<<63 - 1
