package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
)

// reserved are the sockets that stand for the ports that this process has been
// given. They are open until it ends.
var reserved struct {
	mu      sync.Mutex
	sockets []net.Listener
}

// FreeAddr returns an address on the loopback interface at which nobody listens
// now, by TCP or UDP, and that no other test is given while this process runs:
// the tests of other packages run beside it and look for ports, too. The port
// lies below those that the kernel gives to clients, so that none of them has it
// when a server comes back.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		port := 10000 + rand.IntN(22000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if err = reserve(port); err != nil {
			continue
		}
		if err = Listenable(addr); err == nil {
			return addr
		}
	}
	t.Fatalf("found no free port; the last was refused: %v", err)
	return ""
}

// reserve takes the port from all other tests of this machine by a name that
// the kernel gives to one process at a time, and forgets with it.
func reserve(port int) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", fmt.Sprintf("@rackdns-test-port-%d", port))
	if err != nil {
		return err
	}
	reserved.mu.Lock()
	defer reserved.mu.Unlock()
	// Kept, or the collector would close it.
	reserved.sockets = append(reserved.sockets, l)
	return nil
}

// Listenable returns why one of the protocols can't be listened to, if so.
func Listenable(addr string) error {
	// A child that is forked meanwhile would have these sockets, too, and keep
	// the port taken until its exec, which may be long after our close.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	p, err := config.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(p.Close(), l.Close())
}
