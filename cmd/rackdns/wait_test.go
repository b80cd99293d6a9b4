package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// transcript is a writer that can be read meanwhile.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWaitingSaysWhy checks that whoever waits for a registry is told what is in
// the way while it is, and not only when the wait is over.
func TestWaitingSaysWhy(t *testing.T) {
	t.Parallel()
	var said transcript
	x := &execution{app: "shop", service: "web", wait: time.Minute, progress: progress{w: &said}}
	x.Config = registry.Config{Endpoints: []string{"http://127.0.0.1:1"}, Rack: "acme"}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := x.byRegistry(ctx, &said, nil, time.Now().Add(x.wait))
		done <- err
	}()
	for !strings.Contains(said.String(), "connection refused") {
		select {
		case err := <-done:
			t.Fatalf("%v after\n%s", err, said.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("no error at the end")
	}
	if !strings.HasPrefix(said.String(), "rackdns: waiting: the registry at http://127.0.0.1:1\n") {
		t.Errorf("said\n%s", said.String())
	}
}
