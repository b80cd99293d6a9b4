package dockerclient

import (
	"context"
	"time"
)

// undoTimeout bounds what is done after an interrupt: nobody waits longer.
const undoTimeout = 30 * time.Second

// Whole returns a context for what is done whole or not at all, and for undoing
// what was begun in ctx, which may have ended. Whatever is to be undone is done
// in one, too: cut off, the engine would do it all the same, and nobody would
// know.
func Whole(ctx context.Context) (context.Context, context.CancelFunc) { return WholeFor(ctx, 0) }

// WholeFor is Whole for what may take a time that somebody has asked for, such as
// a container's to end.
func WholeFor(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d+undoTimeout)
}
