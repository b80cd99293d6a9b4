package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/docker/docker/client"

	"github.com/rackdns/rackdns/internal/resource"
)

// retry is the time between two attempts at a server that is on its way up.
const retry = 300 * time.Millisecond

// SetPassword gives a server that runs in a container the password of the
// account, whichever of these its data have now. It waits for the server until
// ctx ends or the container does.
func SetPassword(ctx context.Context, docker *client.Client, id string, t *resource.Type, a resource.Account, former []string) error {
	for {
		var failed error
		for _, now := range append(slices.Clone(former), a.Password) {
			c, err := t.SetPassword(a, now)
			if err != nil || len(c.Args) == 0 {
				return err
			}
			if err = run(ctx, docker, id, c, nil, io.Discard); err == nil {
				return nil
			}
			failed = err
		}
		is, err := docker.ContainerInspect(ctx, id)
		switch {
		case err != nil:
			return fmt.Errorf("change the password: %w", err)
		case is.State == nil || !is.State.Running:
			return errors.New("change the password: the server has ended")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("change the password: %w", failed)
		case <-time.After(retry):
		}
	}
}
