package test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
)

// asker is a container whose first act is to ask a DNS server for names, and
// which then ends.
type asker struct {
	*instance
	names []string
}

// newAsker makes one that is yet to be started.
func newAsker(t *testing.T, b *bridge, labels map[string]string, names ...string) *asker {
	t.Helper()
	cli := engine(t)
	ref, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{label: runID}
	for k, v := range labels {
		all[k] = v
	}
	name := unique("rackdns-test")
	made, err := cli.ContainerCreate(engineContext(t), &container.Config{
		Image: ref, Labels: all, Cmd: append([]string{"-ask", b.gateway.String() + ":53"}, names...),
	}, &container.HostConfig{NetworkMode: container.NetworkMode(b.name)}, &network.NetworkingConfig{}, nil, name)
	if err != nil {
		t.Fatalf("creating container %s: %v", name, err)
	}
	a := &asker{&instance{id: made.ID[:12], name: name, cli: cli, net: b, t: t}, names}
	t.Cleanup(a.remove)
	return a
}

// run starts it and returns what it printed.
func (a *asker) run() (string, error) {
	ctx := engineContext(a.t)
	ended, failed := a.cli.ContainerWait(ctx, a.id, container.WaitConditionNextExit)
	if err := a.cli.ContainerStart(ctx, a.id, container.StartOptions{}); err != nil {
		return "", err
	}
	select {
	case <-ended:
	case err := <-failed:
		return "", err
	}
	r, err := a.cli.ContainerLogs(ctx, a.id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, r)
	return out.String(), err
}

// each runs one after the other, and reports what any of them was told but want.
func each(t *testing.T, all []*asker, want string) {
	t.Helper()
	wrong := map[string]int{}
	for _, a := range all {
		got, err := a.run()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			wrong[got]++
		}
	}
	for got, times := range wrong {
		t.Errorf("%d of %d were told\n%swant\n%s", times, len(all), got, want)
	}
}

// A container's first question is answered like its tenth, though nobody knows
// it yet: what is not published is reached by the network that both are on, and
// a bare name is of its app, which its labels say, whether it has a name itself
// or not. Many at once are for an engine of the test's own: see test/hosts.
func TestFirstQuestion(t *testing.T) {
	t.Parallel()
	b, app := newBridge(t), unique("shop")
	r := startRack(t, b)
	db := start(t, spec{app: app, service: "db", network: b})
	full := r.service("db", app)
	eventually(t, "the database", func() error {
		return resolvesTo(r.dns, full, db.address().String())
	})
	want := fmt.Sprintf("%s NOERROR %s\ndb. NOERROR %s\n", full, db.address(), db.address())
	for _, tc := range []struct {
		name   string
		labels map[string]string
		number int
	}{
		{"one after the other", map[string]string{"rackdns.app": app, "rackdns.service": "job"}, 15},
		{"of Compose's run", map[string]string{
			"com.docker.compose.project": app, "com.docker.compose.service": "job", "com.docker.compose.oneoff": "True",
		}, 3},
		{"ignored", map[string]string{"rackdns.app": app, "rackdns.ignore": "true"}, 3},
		{"of a service that is no label", map[string]string{"rackdns.app": app, "rackdns.service": "größer"}, 3},
	} {
		if !t.Run(tc.name, func(t *testing.T) {
			var all []*asker
			for range tc.number {
				all = append(all, newAsker(t, b, tc.labels, full, "db."))
			}
			each(t, all, want)
		}) {
			return
		}
	}
}
