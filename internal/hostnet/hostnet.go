// Package hostnet tells when this host's addresses or routes change, so that
// whoever has read them reads them again (rtnetlink(7)).
package hostnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// What there is to be told of.
const (
	Addresses = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	Routes    = unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
)

// Changes is an open ear.
type Changes struct{ f *os.File }

// Open listens to the changes of the calling thread's network namespace: what
// comes after it is told.
func Open(groups uint32) (*Changes, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("netlink socket: %w", err), unix.Close(fd))
	}
	// It doesn't block, so that Close wakes up who waits.
	return &Changes{os.NewFile(uintptr(fd), "netlink")}, nil
}

// Wait returns after a change, or with an error if there is nothing more to
// wait for.
func (c *Changes) Wait() error {
	// What changed is of no interest, so the rest may be cut off.
	_, err := c.f.Read(make([]byte, 256))
	if errors.Is(err, unix.ENOBUFS) {
		return nil // There was more than the kernel keeps.
	}
	return err
}

// Close ends all waiting.
func (c *Changes) Close() error { return c.f.Close() }

// Notify sends a word for changes, one for many that come together, until ctx
// ends; stop waits for that. Where the kernel can't be asked it returns an error,
// and a channel that stays silent.
func Notify(ctx context.Context, groups uint32) (changed <-chan struct{}, stop func(), err error) {
	c, err := Open(groups)
	if err != nil {
		return nil, func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	words := make(chan struct{}, 1)
	var listening sync.WaitGroup
	listening.Go(func() {
		for c.Wait() == nil {
			select {
			case words <- struct{}{}:
			default:
			}
		}
	})
	unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
	return words, func() {
		if unhook() {
			_ = c.Close()
		}
		cancel()
		listening.Wait()
	}, nil
}
