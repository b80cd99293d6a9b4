package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/docker/docker/pkg/namesgenerator"
	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

func TestAliases(t *testing.T) {
	compose := labels{"com.docker.compose.project": "my_shop", "com.docker.compose.service": "db"}
	network := func(names ...string) func(*facts) {
		return func(f *facts) { f.attachments[0].aliases = names }
	}
	for _, tc := range []struct {
		name   string
		labels labels
		env    map[string]string
		as     string
		change func(*facts)
		want   []registry.Alias
		// note is a part of what is said not to count.
		note string
	}{
		{name: "none"},
		{name: "the service's own name", as: "Order_DB"},
		{name: "label", labels: labels{"rackdns.aliases": "a, order_db,,a"}, want: []registry.Alias{{Name: "a"}, {Name: "order-db"}}},
		{name: "label that is none", labels: labels{"rackdns.aliases": "a.b,c"}, want: []registry.Alias{{Name: "c"}}, note: `rackdns.aliases="a.b": can't be an alias`},
		{name: "compose's own names", labels: compose, as: "my_shop-db-1", change: network("my_shop-db-1", "db")},
		{name: "compose's old names", labels: compose, as: "my_shop_db_12"},
		{name: "compose's name while it is recreated", labels: compose, as: "0123456789ab_my_shop-db-1"},
		{name: "container_name", labels: compose, as: "order_db", change: network("order_db", "db"), want: []registry.Alias{{Name: "order-db"}}},
		{name: "compose's network alias", labels: compose, as: "my_shop-db-1", change: network("db", "a.b"), want: []registry.Alias{{Name: "a-b"}}},
		{name: "a name by hand beside a label", labels: labels{"rackdns.service": "db"}, as: "order_db", want: []registry.Alias{{Name: "order-db"}}},
		{name: "a name of the engine's", labels: labels{"rackdns.service": "db"}, as: namesgenerator.GetRandomName(0)},
		{name: "a name of the engine's, once more", labels: labels{"rackdns.service": "db"}, as: namesgenerator.GetRandomName(1)},
		{name: "a name of up's", labels: labels{"rackdns.service": "db", "rackdns.up.hash": "1"}, as: "acme-shop-db-1"},
		{name: "registrator's of one port", env: labels{"SERVICE_8000_NAME": "api"}, change: func(f *facts) { f.exposed = []portKey{{8000, "tcp"}} },
			want: []registry.Alias{{Name: "web-1"}}},
		{name: "registrator's of two ports", env: labels{"SERVICE_8000_NAME": "api", "SERVICE_9000_NAME": "admin_ui"},
			change: func(f *facts) { f.exposed = []portKey{{9000, "tcp"}, {8000, "tcp"}, {8000, "udp"}} },
			want:   []registry.Alias{{Name: "api", Port: 8000}, {Name: "admin-ui", Port: 9000}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := decide(plain(func(f *facts) {
				f.labels, f.env = tc.labels, tc.env
				if tc.as != "" {
					f.name = tc.as
				}
				if tc.change != nil {
					tc.change(f)
				}
			}), testHome)
			if d.instance == nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			if diff := cmp.Diff(tc.want, d.instance.Aliases); diff != "" {
				t.Errorf("aliases: -want +got\n%s", diff)
			}
			if notes := strings.Join(d.remarks(), "\n"); !strings.Contains(notes, tc.note) || tc.note == "" && notes != "" {
				t.Errorf("remarks %q, want %q", notes, tc.note)
			}
			text := d.explain().String()
			for _, a := range tc.want {
				if !strings.Contains(text, a.Name) {
					t.Errorf("explain doesn't tell of alias %s:\n%s", a.Name, text)
				}
			}
		})
	}
}

// Names that become one are told once, until they are apart again.
func TestFoldedNames(t *testing.T) {
	var log bytes.Buffer
	tr := newTracker(newQueue(1), nil, slog.New(slog.NewTextHandler(&log, nil)), 0)
	see := func(id, name string) {
		tr.tellFolded(id, decide(plain(func(f *facts) { f.id, f.name = id, name }), testHome))
	}
	count := func(want int) {
		t.Helper()
		if n := strings.Count(log.String(), "several names become one"); n != want {
			t.Fatalf("told %d times, want %d:\n%s", n, want, log.String())
		}
	}
	see("1", "a_b")
	see("2", "a_b")
	count(0)
	see("3", "a.b")
	see("4", "a-b")
	see("1", "a_b")
	count(1)
	if !strings.Contains(log.String(), "a.b of app default") {
		t.Errorf("the log doesn't say which:\n%s", log.String())
	}
	for _, id := range []string{"3", "4"} {
		tr.folded.forget(id)
	}
	see("3", "a.b")
	count(2)
	for _, id := range []string{"1", "2", "3"} {
		tr.folded.forget(id)
	}
	if n := len(tr.folded.given) + len(tr.folded.of) + len(tr.folded.said); n != 0 {
		t.Errorf("%d things are remembered of containers that are gone", n)
	}
}
