package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// lockTTL is how long a lock outlives a holder that is gone without a word.
const lockTTL = 15 * time.Second

// ErrLockLost is the cause of the end of a lock's context when the registry
// gave the lock away, having heard nothing of us for too long.
var ErrLockLost = errors.New("the registry was out of reach for so long that the lock is lost")

// Lock is held by one process of the rack at a time.
type Lock struct {
	session *concurrency.Session
	end     context.CancelCauseFunc
}

// Lock waits until nobody else in the rack holds the lock of that name, such
// as up/shop, and calls waiting before it waits for somebody. The context that
// it returns is ctx until the lock is lost. Whoever has the lock releases it.
func (c *Client) Lock(ctx context.Context, name string, waiting func()) (context.Context, *Lock, error) {
	etcd, err := c.connect(ctx)
	if err != nil {
		return nil, nil, c.inWords(ctx, "lock "+name, err)
	}
	var lease clientv3.LeaseID
	err = c.do(ctx, "lock "+name, func(ctx context.Context, _ clientv3.KV) error {
		granted, err := etcd.Grant(ctx, int64(lockTTL/time.Second))
		if err == nil {
			lease = granted.ID
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	// The session is not ctx's: who is told to end still has the lock until it
	// has cleaned up.
	session, err := concurrency.NewSession(etcd, concurrency.WithLease(lease))
	if err != nil {
		return nil, nil, c.inWords(ctx, "lock "+name, err)
	}
	mutex := concurrency.NewMutex(session, c.layout.Locks()+name)
	err = c.do(ctx, "lock "+name, func(ctx context.Context, _ clientv3.KV) error { return mutex.TryLock(ctx) })
	if errors.Is(err, concurrency.ErrLocked) {
		waiting()
		err = c.inWords(ctx, "lock "+name, mutex.Lock(ctx))
	}
	if err != nil {
		return nil, nil, errors.Join(err, session.Close())
	}
	held, end := context.WithCancelCause(ctx)
	go func() {
		<-session.Done()
		end(fmt.Errorf("lock %s: %w", name, ErrLockLost))
	}()
	return held, &Lock{session, end}, nil
}

// Release gives the lock back.
func (l *Lock) Release() {
	l.end(nil)
	// Without the registry it goes by itself.
	_ = l.session.Close()
}
