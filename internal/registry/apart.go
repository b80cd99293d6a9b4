package registry

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxRefused bounds the puts that are found refused one by one in a row: more
// have the same reason.
const maxRefused = 4

// isRefusedPut reports whether a transaction was refused for what one of its
// puts is, or because etcd takes none. In either case others may be taken.
func isRefusedPut(err error) bool {
	if err == nil {
		return false
	}
	switch reasonOf(err) {
	case "":
	case refusedPermission:
		return true
	default:
		return false
	}
	var said rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &said) {
		code = said.Code()
	}
	return (code == codes.InvalidArgument || code == codes.ResourceExhausted) && !errors.Is(err, rpctypes.ErrTooManyRequests)
}

// isFull reports whether etcd takes no put at all, for lack of space.
func isFull(err error) bool { return errors.Is(err, rpctypes.ErrNoSpace) }

// writeApart writes changes so that none waits for one that is refused: what
// removes something first, in transactions of its own, which etcd takes also
// when it is out of space; then the rest, by ever smaller parts.
func (s *session) writeApart(ctx context.Context, cs []change, listing bool) error {
	var puts, deletes []change
	for _, c := range cs {
		if c.value == nil {
			deletes = append(deletes, c)
		} else {
			puts = append(puts, c)
		}
	}
	if err := s.writeBatches(ctx, deletes, false); err != nil {
		return err
	}
	if s.nodeDue {
		if err := s.writeNode(ctx); err != nil {
			return err
		}
	}
	refused := &refusedPuts{}
	for len(puts) > 0 {
		n := min(len(puts), batchOps)
		if err := s.writePuts(ctx, puts[:n], refused); err != nil {
			return err
		}
		puts = puts[n:]
	}
	if refused.first != nil {
		return refused.first
	}
	if err := s.writeBatches(ctx, nil, listing); err != nil {
		return err
	}
	s.apart = false
	return nil
}

// refusedPuts are the puts that were refused by themselves.
type refusedPuts struct {
	first error
	times int
}

// writePuts writes puts, and leaves out those that are refused by themselves. An
// error is one that all have.
func (s *session) writePuts(ctx context.Context, cs []change, refused *refusedPuts) error {
	err := s.writeBatches(ctx, cs, false)
	switch {
	case !isRefusedPut(err) || isFull(err):
		return err
	case len(cs) == 1:
		if refused.first == nil {
			refused.first = fmt.Errorf("instance %s: %w", cs[0].id, err)
		}
		if refused.times++; refused.times >= maxRefused {
			return refused.first
		}
		return nil
	}
	half := len(cs) / 2
	if err := s.writePuts(ctx, cs[:half], refused); err != nil {
		return err
	}
	return s.writePuts(ctx, cs[half:], refused)
}
