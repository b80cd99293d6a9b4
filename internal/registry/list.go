package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A page of a list holds at most pageMax keys and roughly pageBytes. The first
// is small, since nothing is known of the values yet.
const (
	pageFirst = 256
	pageMin   = 32
	pageMax   = 5000
	pageBytes = 2 << 20
)

// list hands over everything as of one revision. The next page is on its way
// while the handler works on the last one.
func (f *Follower) list(ctx context.Context) error {
	if err := f.checkReset(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := make(chan *clientv3.GetResponse, 1)
	fetched := make(chan error, 1)
	go func() {
		defer close(pages)
		fetched <- f.fetch(ctx, 0, func(page *clientv3.GetResponse) error {
			select {
			case pages <- page:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	var head *etcdserverpb.ResponseHeader
	revision := int64(0)
	last := &mvccpb.KeyValue{}
	for page := range pages {
		if head == nil {
			head, revision = page.Header, page.Header.Revision
			if f.rev > revision || f.cluster != 0 && f.cluster != head.ClusterId {
				f.otherHistory()
			}
			f.handler.BeginList(revision, f.reset)
		}
		for _, kv := range page.Kvs {
			if kv.ModRevision > last.ModRevision {
				last = kv
			}
		}
		f.handler.List(entries(page.Kvs))
	}
	if err := <-fetched; err != nil {
		return err
	}
	f.rev, f.cluster, f.term, f.last = revision, head.ClusterId, head.RaftTerm, Entry{}
	if last.ModRevision > 0 {
		f.last = entry(last, false)
	}
	f.replay = replay{from: max(f.handler.EndList(), 1), list: revision}
	f.replay.since = f.replay.from
	f.handler.Confirm()
	return nil
}

// checkReset finds out, before a list that follows another one, whether the
// registry still has the history of that one.
func (f *Follower) checkReset(ctx context.Context) error {
	if f.rev == 0 || f.reset {
		return nil
	}
	err := f.verify(ctx)
	switch {
	case errors.Is(err, errOtherHistory):
		f.otherHistory()
	case errors.Is(err, rpctypes.ErrCompacted):
		// The last change can't be looked at any more. Nothing speaks against
		// its history.
	case err != nil:
		return err
	}
	return nil
}

// otherHistory takes note, and says once, that revisions say nothing any more.
func (f *Follower) otherHistory() {
	if !f.reset {
		f.reset = true
		f.log.Warn("the registry's history is another one than the one read so far: it was restored from a snapshot or replaced", "revision", f.rev)
	}
}

// fetch reads all keys by pages, at one revision, 0 for the present one.
func (f *Follower) fetch(ctx context.Context, revision int64, take func(*clientv3.GetResponse) error, opts ...clientv3.OpOption) error {
	base := f.client.layout.Base()
	c := cursor{from: base, end: clientv3.GetPrefixRangeEnd(base), limit: pageFirst, revision: revision}
	for first := true; ; first = false {
		to := c.to()
		page, err := f.get(ctx, c.from, append([]clientv3.OpOption{
			clientv3.WithRange(to), clientv3.WithLimit(c.limit), clientv3.WithRev(c.revision),
		}, opts...)...)
		if err != nil {
			return err
		}
		c.pass(page, to)
		// From here on the page is the taker's.
		if err := take(page); err != nil {
			return err
		}
		switch {
		case c.from == c.end:
			return nil
		case first:
			if c.seams, err = f.seams(ctx, c.revision); err != nil {
				return err
			}
		}
	}
}

func (f *Follower) get(ctx context.Context, key string, opts ...clientv3.OpOption) (r *clientv3.GetResponse, err error) {
	err = f.client.try(ctx, func(ctx context.Context, kv clientv3.KV) error {
		r, err = kv.Get(ctx, key, opts...)
		return err
	})
	return r, err
}

// seams returns, in their order, the keys at which the instances of one node
// end and those of another begin.
func (f *Follower) seams(ctx context.Context, revision int64) ([]string, error) {
	l := f.client.layout
	prefix := l.Node("")
	nodes, err := f.get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithRev(revision))
	if err != nil {
		return nil, err
	}
	seams := make([]string, 0, len(nodes.Kvs))
	for _, kv := range nodes.Kvs {
		seams = append(seams, l.Instances(string(kv.Key[len(prefix):])))
	}
	slices.Sort(seams)
	return seams, nil
}

// cursor is where a list is.
//
// etcd counts all keys of the range that it is asked for, whatever the limit,
// and in a large rack that is most of its work. So a page isn't asked for up to
// the end of the rack, but up to a seam behind which the page wouldn't reach
// anyhow. Seams are guesses that cost time where they are wrong, and no more: a
// range begins where the one before it ended.
type cursor struct {
	from, end string
	// revision is that of the first page, 0 before it.
	revision int64
	limit    int64
	seams    []string
	// keys were listed up to from.
	keys int
}

// to returns where to end the range of the next page: at the seam that is as
// many nodes away as a page would hold, going by those that were listed.
func (c *cursor) to() string {
	next, on := slices.BinarySearch(c.seams, c.from)
	if on {
		next++
	}
	if nodes := next * int(c.limit) / max(c.keys, 1); next+nodes < len(c.seams) {
		return c.seams[next+nodes]
	}
	return c.end
}

// pass moves on behind a page of the range that ended at to.
func (c *cursor) pass(page *clientv3.GetResponse, to string) {
	c.revision = cmp.Or(c.revision, page.Header.Revision)
	c.from = to
	if n := len(page.Kvs); n > 0 {
		if page.More {
			c.from = string(page.Kvs[n-1].Key) + "\x00"
		}
		c.keys += n
		c.limit = nextLimit(page.Kvs)
	}
}

// nextLimit sizes a page by the values of the one before, so that values of
// 64 KiB don't make it a hundred times as large as usual.
func nextLimit(kvs []*mvccpb.KeyValue) int64 {
	size := 1
	for _, kv := range kvs {
		size += len(kv.Key) + len(kv.Value)
	}
	return int64(min(max(pageBytes*len(kvs)/size, pageMin), pageMax))
}
