package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
	"github.com/rackdns/rackdns/internal/resource/engine"
	"github.com/rackdns/rackdns/internal/resource/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a rack with the engine under test.
type rig struct {
	*engine.Engine
	*enginetest.Rack
	t    *testing.T
	rack string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	rack := enginetest.New(t)
	e, err := engine.Open("", rack.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return &rig{e, rack, t, rack.Name}
}

// has checks what there is of the rack.
func (r *rig) has(containers map[string]string, volumes, networks int) {
	r.t.Helper()
	if diff := cmp.Diff(containers, r.Containers()); diff != "" {
		r.t.Errorf("containers (-want +got):\n%s", diff)
	}
	if got := r.Volumes(); len(got) != volumes {
		r.t.Errorf("volumes %v, want %d", got, volumes)
	}
	if got := r.Networks(); got != networks {
		r.t.Errorf("%d networks, want %d", got, networks)
	}
}

func (r *rig) spec(tag string) resource.Spec {
	r.t.Helper()
	s, err := resource.Lookup("postgres").New(map[string]string{"Image": r.rack, "Version": tag}, "d45eea0e")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// fails checks that an error names its culprit and no password.
func (r *rig) fails(err error, want string) {
	r.t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "d45eea0e") {
		r.t.Errorf("error %v, want one that says %s", err, want)
	}
}

func TestEngine(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	nothing := map[string]string{}

	// Nothing is left of what doesn't run.
	_, err := r.Run(ctx, "db", "postgres", r.spec("bad"))
	r.fails(err, "container "+r.rack+"-db: ended at once")
	r.has(nothing, 0, 0)
	missing := r.spec("good")
	missing.Image = "rackdns.invalid/nosuch:1"
	_, err = r.Run(ctx, "db", "postgres", missing)
	r.fails(err, "image rackdns.invalid/nosuch:1: is not on this engine and can't be pulled; choose another by the option Image: ")
	r.has(nothing, 0, 0)

	// Neither is of what runs and isn't wanted after all.
	started, err := r.Run(ctx, "db", "postgres", r.spec("good"))
	if err != nil {
		t.Fatal(err)
	}
	r.has(map[string]string{started.ID: "running"}, 1, 1)
	cause := errors.New("the registry is away")
	if err := started.Settle(ctx, cause); !errors.Is(err, cause) || err.Error() != cause.Error() {
		t.Errorf("error %v", err)
	}
	r.has(nothing, 0, 0)

	if started, err = r.Run(ctx, "db", "postgres", r.spec("good")); err == nil {
		err = started.Settle(ctx, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := started.ID
	answers(t, r.rack, first)
	// A name is taken.
	_, err = r.Run(ctx, "db", "postgres", r.spec("good"))
	r.fails(err, "volume "+r.rack+"-db: has the data")
	r.has(map[string]string{first: "running"}, 1, 1)

	// What can't take its place doesn't.
	_, err = r.Replace(ctx, "db", "postgres", r.spec("bad"))
	r.fails(err, "ended at once")
	r.has(map[string]string{first: "running"}, 1, 1)
	replacement, err := r.Replace(ctx, "db", "postgres", r.spec("good"))
	if err != nil {
		t.Fatal(err)
	}
	r.has(map[string]string{first: "exited", replacement.ID: "running"}, 1, 1)
	if err := replacement.Settle(ctx, cause); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	r.has(map[string]string{first: "running"}, 1, 1)
	if replacement, err = r.Replace(ctx, "db", "postgres", r.spec("good")); err == nil {
		err = replacement.Settle(ctx, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.has(map[string]string{replacement.ID: "running"}, 1, 1)

	// The data stay unless they are to go, and so does the network.
	if has, err := r.Has(ctx, "db"); !has || err != nil {
		t.Errorf("it is there: %t, %v", has, err)
	}
	if err := r.Remove(ctx, "db", false); err != nil {
		t.Error(err)
	}
	r.has(nothing, 1, 1)
	for range 2 {
		if err := r.Remove(ctx, "db", true); err != nil {
			t.Error(err)
		}
		r.has(nothing, 0, 1)
	}
	if has, err := r.Has(ctx, "db"); has || err != nil {
		t.Errorf("it is there: %t, %v", has, err)
	}
}

// What was cut off is put right the next time, whichever of the two containers
// the registry means by then.
func TestEngineRecovers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	first, err := r.Run(ctx, "db", "postgres", r.spec("good"))
	if err != nil {
		t.Fatal(err)
	}
	recovers := func(declared string, want bool) {
		t.Helper()
		if there, err := r.Recover(ctx, "db", declared); there != want || err != nil {
			t.Errorf("it is there: %t, %v; want %t", there, err, want)
		}
	}
	recovers(first.ID, true)
	recovers("0123456789ab", false)
	r.has(map[string]string{first.ID: "running"}, 1, 1)

	// Neither of these is settled.
	if _, err := r.Replace(ctx, "db", "postgres", r.spec("good")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Recover(ctx, "db", "0123456789ab"); err == nil {
		t.Error("no error where neither container is the declared one")
	}
	recovers(first.ID, true)
	r.has(map[string]string{first.ID: "running"}, 1, 1)
	second, err := r.Replace(ctx, "db", "postgres", r.spec("good"))
	if err != nil {
		t.Fatal(err)
	}
	recovers(second.ID, true)
	r.has(map[string]string{second.ID: "running"}, 1, 1)

	// The container was removed by somebody, and only its data are left.
	if err := r.Docker.ContainerRemove(ctx, second.ID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	recovers(second.ID, false)
	third, err := r.Replace(ctx, "db", "postgres", r.spec("good"))
	if err != nil {
		t.Fatal(err)
	}
	r.has(map[string]string{third.ID: "running"}, 1, 1)
	if _, err := r.Replace(ctx, "db", "postgres", r.spec("good")); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(ctx, "db", true); err != nil {
		t.Error(err)
	}
	r.has(map[string]string{}, 0, 1)
}

// Whoever gives up leaves nothing behind, whatever the engine was just doing.
func TestEngineInterrupted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cause := errors.New("told to end")
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(after, func() { cancel(cause) })
		if _, err := r.Run(ctx, "db", "postgres", r.spec("good")); !errors.Is(err, cause) || err.Error() != cause.Error() {
			t.Errorf("after %s: error %v, want %v", after, err, cause)
		}
		timer.Stop()
		r.has(map[string]string{}, 0, 0)
	}
}

// What only has the name of ours is left alone.
func TestEngineLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	c, err := r.Docker.ContainerCreate(ctx, &container.Config{
		Image: r.rack + ":good", Labels: map[string]string{"rackdns.rack": r.rack},
	}, nil, nil, nil, r.ContainerName("db"))
	if err != nil {
		t.Fatal(err)
	}
	r.fails(r.Remove(ctx, "db", true), "is not one of rack "+r.rack)
	_, err = r.Replace(ctx, "db", "postgres", r.spec("good"))
	r.fails(err, "is not one of rack "+r.rack)
	_, err = r.Run(ctx, "db", "postgres", r.spec("good"))
	r.fails(err, "make container "+r.rack+"-db: ")
	r.has(map[string]string{c.ID[:12]: "created"}, 0, 0)
}

// A copy of a resource's container has its labels, and may have its name: it is
// nobody's, and neither is a volume that is merely called so.
func TestEngineLeavesCopiesAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	started, err := r.Run(ctx, "db", "postgres", r.spec("good"))
	if err == nil {
		err = started.Settle(ctx, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	copied, err := r.Docker.ContainerCommit(ctx, started.ID, container.CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// It is in use until the rack is gone, which is before.
		for id := range r.Containers() {
			_ = r.Docker.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true})
		}
		if _, err := r.Docker.ImageRemove(context.Background(), copied.ID, image.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	if err := r.Docker.ContainerRename(ctx, started.ID, r.ContainerName("db")+"-away"); err != nil {
		t.Fatal(err)
	}
	c, err := r.Docker.ContainerCreate(ctx, &container.Config{Image: copied.ID}, nil, nil, nil, r.ContainerName("db"))
	if err != nil {
		t.Fatal(err)
	}
	both := map[string]string{started.ID: "running", c.ID[:12]: "created"}
	const why = ": its image was made of one (docker commit), whose labels it has"
	r.fails(r.Remove(ctx, "db", true), why)
	_, err = r.Has(ctx, "db")
	r.fails(err, why)
	_, err = r.Replace(ctx, "db", "postgres", r.spec("good"))
	r.fails(err, why)
	_, err = r.Recover(ctx, "db", started.ID)
	r.fails(err, why)
	r.has(both, 1, 1)

	other := r.rack + "-cache"
	if _, err := r.Docker.VolumeCreate(ctx, volume.CreateOptions{Name: other, Labels: map[string]string{"rackdns.rack": r.rack}}); err != nil {
		t.Fatal(err)
	}
	_, err = r.Run(ctx, "cache", "postgres", r.spec("good"))
	r.fails(err, "volume "+other+": is not one of resource cache in rack "+r.rack)
	r.fails(r.Remove(ctx, "cache", true), "volume "+other+": is not one of resource cache in rack "+r.rack)
	r.has(both, 2, 1)
}

// answers checks that DNS has the resource at its container, for others of the
// rack's network, and at a published port for everybody else.
func answers(t *testing.T, rack, id string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	plan, err := agent.Plan(t.Context(), agent.Config{Node: "node-1", HostAddress: netip.MustParseAddr("10.0.2.10"), Version: "test", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	planned := plan.Instances
	at := slices.IndexFunc(planned, func(i *registry.Instance) bool { return i.ID == id })
	if at < 0 {
		t.Fatalf("the agent registers no %s", id)
	}
	x, err := index.Open(index.Config{Registry: registry.Config{Rack: rack}, Options: index.Options{Node: "node-1"}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	layout, err := registry.NewLayout(registry.DefaultPrefix, rack)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		layout.Instance("node-1", id): planned[at],
		layout.Resource("", "db"):     registry.Resource{Name: "db", Type: "postgres", Host: id, Port: 5432},
	}
	x.Feed().BeginList(1, false)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value, err := registry.Encode(values[key])
		if err != nil {
			t.Fatal(err)
		}
		x.Feed().List([]registry.Entry{{Key: key, Value: value, ModRevision: 1}})
	}
	x.Feed().EndList()
	s := x.Snapshot()
	own := planned[at].Networks[0].IPv4
	for _, tc := range []struct {
		from, at  netip.Addr
		container bool
	}{{own, own, true}, {netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.0.2.10"), false}} {
		found := s.Lookup("db.resource", s.Asker(tc.from)).Endpoints
		if len(found) != 1 || !slices.Equal(found[0].All(), []netip.Addr{tc.at}) {
			t.Errorf("%s is told %v, want %s", tc.from, found, tc.at)
			continue
		}
		if port := found[0].Number(&found[0].Ports()[0]); (port == 5432) != tc.container || port == 0 {
			t.Errorf("%s is told port %d", tc.from, port)
		}
	}
}
