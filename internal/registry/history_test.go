package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// A registry that says nothing for longer than a watch may be silent, or ends
// and starts again, or whose wire is cut, has the history that it had. Whether
// anything ever happened in the rack, and what it was, doesn't matter.
func TestFollowerBearsASilentRegistry(t *testing.T) {
	t.Parallel()
	for _, v := range etcdtest.Versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.StartProcesses(t, v, 1)
			client := etcd.Client()
			ctx := context.Background()
			var log lines
			pictures, wants := map[string]*picture{}, map[string]map[string]string{}
			wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
			for _, rack := range []string{"empty", "put-before", "gone-before", "put-after", "gone-after"} {
				key := "/rackdns/v1/" + rack + "/a"
				wants[rack] = map[string]string{key: "1"}
				do := func() {
					put(t, client, key, "1")
					if strings.HasPrefix(rack, "gone") {
						if _, err := client.Delete(ctx, key); err != nil {
							t.Fatal(err)
						}
						delete(wants[rack], key)
					}
				}
				if strings.HasSuffix(rack, "before") {
					do()
				}
				p := &picture{}
				pictures[rack] = p
				c := open(t, registry.Config{Endpoints: []string{wire.URL()}, Rack: rack})
				followWith(t, registry.NewFollower(c, p, log.logger()))
				etcdtest.Eventually(t, "a list", func() error {
					if _, lists, _, _ := p.state(); lists == 0 {
						return errors.New("there is none")
					}
					return nil
				})
				if strings.HasSuffix(rack, "after") {
					do()
				}
				if rack == "empty" {
					delete(wants[rack], key)
				}
				p.sees(t, wants[rack])
			}
			silent := func(do, undo func()) {
				t.Helper()
				do()
				before := strings.Count(log.String(), "registry out of reach")
				// Each follower says it once it has waited for long enough.
				etcdtest.Eventually(t, "the silence to be noticed", func() error {
					if n := strings.Count(log.String(), "registry out of reach") - before; n < len(pictures) {
						return fmt.Errorf("by %d followers", n)
					}
					return nil
				})
				undo()
				for rack, p := range pictures {
					key := fmt.Sprintf("/rackdns/v1/%s/%d", rack, len(wants[rack]))
					put(t, client, key, "back")
					wants[rack][key] = "back"
					p.sees(t, wants[rack])
				}
				// What is seen may be so before it is said; until then it is one silence.
				etcdtest.Eventually(t, "a word about its end", func() error {
					s := log.String()
					if began, ended := strings.Count(s, "registry out of reach"), strings.Count(s, "registry is back"); began != ended {
						return fmt.Errorf("%d silences, %d ends", began, ended)
					}
					return nil
				})
			}
			m := etcd.Members[0]
			silent(m.Pause, m.Resume)
			silent(wire.Cut, wire.Mend)
			silent(m.Kill, m.Start)
			if got := log.String(); strings.Contains(got, "another") && strings.Contains(got, "restored") {
				t.Errorf("logged:\n%s", got)
			}
			for rack, p := range pictures {
				if _, lists, resets, _ := p.state(); lists != 1 || resets != 0 {
					t.Errorf("rack %s: %d lists, %d of another history; want one list", rack, lists, resets)
				}
			}
		})
	}
}

// A follower that knows something from before tells whether the registry still
// has that history. That it is compacted away says nothing against it.
func TestFollowerResumes(t *testing.T) {
	t.Parallel()
	const key = base + "a"
	for _, v := range etcdtest.Versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.StartProcesses(t, v, 1)
			client := etcd.Client()
			c := open(t, registry.Config{Endpoints: etcd.Endpoints()})
			// position is how far a follower is that has read everything.
			position := func() (at registry.Position) {
				p := &picture{}
				f := registry.NewFollower(c, p, discard())
				got := make(chan registry.Position, 1)
				p.onTick = func() {
					select {
					case got <- f.Position():
					default:
					}
				}
				stop := followWith(t, f)
				etcdtest.Eventually(t, "all that was replayed", func() error {
					if at = <-got; p.replayed() < at.Last.ModRevision || at.Revision == 0 {
						return fmt.Errorf("at %+v", at)
					}
					return nil
				})
				stop()
				return at
			}
			put(t, client, base+"b", "1")
			put(t, client, key, "1")
			there := position()
			if there.Last.Key != key || there.Last.Deleted() {
				t.Fatalf("the last change is %+v, want %s", there.Last, key)
			}
			if _, err := client.Delete(context.Background(), key); err != nil {
				t.Fatal(err)
			}
			put(t, client, "/elsewhere", "1")
			gone := position()
			if gone.Last.Key != key || !gone.Last.Deleted() {
				t.Fatalf("the last change is %+v, want the end of %s", gone.Last, key)
			}
			with := func(p registry.Position, change func(*registry.Position)) registry.Position {
				change(&p)
				return p
			}
			put(t, client, base+"b", "2")
			resets := func(what string, from registry.Position, want bool) {
				t.Helper()
				p := &picture{}
				f := registry.NewFollower(c, p, discard())
				f.Resume(from)
				stop := followWith(t, f)
				defer stop()
				p.sees(t, map[string]string{base + "b": "2"})
				if _, _, resets, _ := p.state(); (resets > 0) != want {
					t.Errorf("%s: another history: %t, want %t", what, resets > 0, want)
				}
			}
			resets("nothing is known", registry.Position{}, false)
			resets("a put", there, false)
			resets("a deletion", gone, false)
			resets("another value", with(there, func(p *registry.Position) { p.Last.Value = []byte("2") }), true)
			resets("another key", with(there, func(p *registry.Position) { p.Last.Key = base + "c" }), true)
			resets("a deletion where something was put", with(there, func(p *registry.Position) { p.Last.Value = nil }), true)
			resets("a put where something was deleted", with(gone, func(p *registry.Position) { p.Last.Value = []byte("1") }), true)
			resets("a deletion of what was gone", with(gone, func(p *registry.Position) { p.Last.ModRevision++ }), true)
			resets("another cluster", with(there, func(p *registry.Position) { p.Cluster++ }), true)
			resets("a later term", with(there, func(p *registry.Position) { p.Term += 1000 }), true)
			resets("a list that goes further", with(there, func(p *registry.Position) { p.Revision += 1000 }), true)
			resets("a change of the future", with(there, func(p *registry.Position) { p.Last.ModRevision += 1000; p.Revision += 1000 }), true)
			r, err := client.Put(context.Background(), "/elsewhere", "x")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Compact(context.Background(), r.Header.Revision); err != nil {
				t.Fatal(err)
			}
			resets("a put that is compacted away", there, false)
			resets("a deletion that is compacted away", gone, false)
		})
	}
}

// A history that overtook what was read may have had changes up to the revision
// of the list, if nothing has happened since. What the registry holds tells.
func TestFollowerNoticesAnOvertakenList(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, nil)
	client := etcd.Client()
	put(t, client, base+"a", "1")
	put(t, client, base+"b", "1")
	copied := t.TempDir() + "/copy"
	etcd.Kill()
	etcd.Members[0].CopyDir(copied)
	etcd.Start()
	for range 10 {
		put(t, client, "/elsewhere", "x")
	}
	wire := etcdtest.NewProxy(t, etcd.Members[0].Endpoint)
	p := &picture{}
	var log lines
	debug := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := registry.NewFollower(open(t, registry.Config{Endpoints: []string{wire.URL()}}), p, debug)
	f.CheckEvery(10*time.Millisecond, time.Hour)
	followWith(t, f)
	p.sees(t, map[string]string{base + "a": "1", base + "b": "1"})
	// The next one would be in an hour.
	etcdtest.Eventually(t, "the first check", func() error {
		if !strings.Contains(log.String(), "the index is what the registry holds") {
			return errors.New("is yet to come")
		}
		return nil
	})

	wire.Cut()
	etcd.Kill()
	etcd.Members[0].Dir = copied
	etcd.Start()
	put(t, client, base+"new", "x")
	if _, err := client.Delete(context.Background(), base+"b"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		put(t, client, "/elsewhere", "y")
	}
	wire.Mend()
	p.sees(t, map[string]string{base + "a": "1", base + "new": "x"})
}
