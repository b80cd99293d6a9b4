package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPatience is how long the child of a predecessor that was killed may take
// to notice and to close its files.
const lockPatience = 10 * time.Second

// lockDir makes sure that the directory is there, can be written, and is
// nobody else's: etcd itself would wait for the other one without a word.
//
// The child inherits the lock, which holds until both processes are gone.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, cause(err))
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, cause(err))
	}
	if err := awaitLock(ctx, lock); err != nil {
		holder, _ := os.ReadFile(lock.Name())
		_ = lock.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s: lock: %w", dir, err)
		}
		return nil, fmt.Errorf("data directory %s: in use by another rackdns (process %s)", dir, strings.TrimSpace(string(holder)))
	}
	// Who holds it is only for the message above. Of fixed length, it is
	// written over the last one's: on a full disk there is room for no other.
	_, err = lock.WriteAt(fmt.Appendf(nil, "%-19d\n", os.Getpid()), 0)
	if err != nil && !errors.Is(err, unix.ENOSPC) {
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", dir, cause(err)), lock.Close())
	}
	return lock, nil
}

// awaitLock waits for a holder that is alive no longer than for one that is
// about to end: which of them it is can't be told across containers.
func awaitLock(ctx context.Context, lock *os.File) error {
	deadline := time.After(lockPatience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cause takes the path off an error that names it already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
