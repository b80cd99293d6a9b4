package hosts

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// starters are the containers that are started at once.
const starters = 50

// Fifty containers that start at once, and whose first act is a question, are
// answered: what their network reaches, and the bare name of a service of theirs.
func (s *site) testStorm(t *testing.T, rack *Rack) {
	t.Helper()
	full := "web.default." + rack.Zone
	const both = "172.20.0.9 192.0.2.3"
	want := fmt.Sprintf("%s NOERROR %s\nweb. NOERROR %s\n", full, both, both)
	docker := s.alpha.Engine.Client
	ctx := t.Context()
	var ids []string
	for range starters {
		made, err := docker.ContainerCreate(ctx, &container.Config{
			Image: testImage, Cmd: []string{"-ask", lanServer(s.alpha).String(), full, "web."},
		}, &container.HostConfig{NetworkMode: "app"}, nil, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, made.ID)
	}
	var mu sync.Mutex
	told := map[string]int{}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			got, err := s.runOnce(ctx, id)
			if err != nil {
				got = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			told[got]++
		})
	}
	wg.Wait()
	if told[want] != starters {
		t.Errorf("%d of %d containers were told %q", told[want], starters, want)
		for _, what := range slices.Sorted(maps.Keys(told)) {
			t.Logf("%d were told %q", told[what], what)
		}
	}
}

// runOnce runs a container to its end and returns what it printed.
func (s *site) runOnce(ctx context.Context, id string) (string, error) {
	docker := s.alpha.Engine.Client
	ended, failed := docker.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := docker.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return "", err
	}
	select {
	case <-ended:
	case err := <-failed:
		return "", err
	}
	r, err := docker.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, r)
	return out.String(), err
}
