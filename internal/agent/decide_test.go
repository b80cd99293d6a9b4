package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/registry"
)

func TestDecide(t *testing.T) {
	f := labelled(labels{
		"com.docker.compose.project": "shop",
		"com.docker.compose.service": "web",
		"convox.release":             "RLEUTDHBBKD",
		"rackdns.weight":             "10",
		"rackdns.priority":           "20",
		"rackdns.answers":            "3",
		"rackdns.address":            "container",
		"rackdns.tags.az":            "a",
		"SERVICE_TAGS":               "az=b,canary, x=y=z",
		"rackdns.port.3000":          "http",
	})
	f.health = registry.HealthHealthy
	f.published = map[portKey][]hostPort{{3000, "tcp"}: hostPorts("0.0.0.0:47889", "[::]:47889")}
	d := decide(f, testHome)
	if d.refusal != nil {
		t.Fatalf("refused: %+v", d.refusal)
	}
	want := &registry.Instance{
		ID: "3485248b1d18", Node: "node-1", App: "shop", Service: "web", Namespace: "shop",
		Release: "RLEUTDHBBKD", Image: "example/web:1", Started: testStart,
		Status: "running", Health: "healthy", Host: testHost,
		Ports: []registry.Port{{Name: "http", Protocol: "tcp", Container: 3000,
			Bindings: []registry.Binding{{IP: testHost, Port: 47889}}}},
		Networks: []registry.Network{{ID: "5f1c7d2e8a90", Name: "bridge", Scope: "local", IPv4: f.attachments[0].ipv4}},
		Weight:   10, Priority: 20, Answers: 3, Address: registry.AddressContainer,
		Tags:    map[string]string{"az": "a", "canary": "", "x": "y=z"},
		Aliases: []registry.Alias{{Name: "web-1"}},
	}
	if diff := cmp.Diff(want, d.instance, cmpAddr); diff != "" {
		t.Errorf("instance (-want +got):\n%s", diff)
	}
	if len(d.remarks()) != 0 {
		t.Errorf("remarks = %q", d.remarks())
	}
}

// One bad label of these takes no service down.
func TestBadLabels(t *testing.T) {
	tests := []struct {
		label, value string
		field        func(*registry.Instance) any
		want         any
	}{
		{"rackdns.port.3000", strings.Repeat("a", 16), func(i *registry.Instance) any { return i.Ports[0].Name }, ""},
		{"rackdns.port.3000", "8080", func(i *registry.Instance) any { return i.Ports[0].Name }, ""},
		{"rackdns.port.3000", "a--b", func(i *registry.Instance) any { return i.Ports[0].Name }, ""},
		{"rackdns.weight", "-1", func(i *registry.Instance) any { return i.Weight }, 1},
		{"rackdns.weight", "+1", func(i *registry.Instance) any { return i.Weight }, 1},
		{"rackdns.weight", "101", func(i *registry.Instance) any { return i.Weight }, 1},
		{"rackdns.weight", "heavy", func(i *registry.Instance) any { return i.Weight }, 1},
		{"rackdns.weight", "1e1", func(i *registry.Instance) any { return i.Weight }, 1},
		{"rackdns.weight", strings.Repeat("9", 5000), func(i *registry.Instance) any { return i.Weight }, 1},
		{"rackdns.answers", "0", func(i *registry.Instance) any { return i.Answers }, 0},
		{"rackdns.answers", "1001", func(i *registry.Instance) any { return i.Answers }, 0},
		{"rackdns.priority", "-1", func(i *registry.Instance) any { return i.Priority }, 0},
		{"rackdns.priority", "65536", func(i *registry.Instance) any { return i.Priority }, 0},
		{"rackdns.address", "both", func(i *registry.Instance) any { return i.Address }, ""},
		{"rackdns.health", "maybe", func(i *registry.Instance) any { return i.Health }, "healthy"},
		{"rackdns.tags.", "x", func(i *registry.Instance) any { return len(i.Tags) }, 0},
		{"rackdns.tags.a\nb", "x", func(i *registry.Instance) any { return len(i.Tags) }, 0},
		{"rackdns.tags.a", "x\x00", func(i *registry.Instance) any { return len(i.Tags) }, 0},
		{"rackdns.tags." + strings.Repeat("k", 64), "x", func(i *registry.Instance) any { return len(i.Tags) }, 0},
		{"convox.release", "R\x1b[31m", func(i *registry.Instance) any { return i.Release }, ""},
		{"rackdns.port.\x00", "x", func(i *registry.Instance) any { return len(i.Ports) }, 0},
	}
	for _, tt := range tests {
		t.Run(clean(tt.label+"="+tt.value, 40), func(t *testing.T) {
			f := labelled(labels{tt.label: tt.value})
			f.health = registry.HealthHealthy
			d := decide(f, testHome)
			if d.refusal != nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			if got := tt.field(d.instance); got != tt.want {
				t.Errorf("got %v, want the default, %v", got, tt.want)
			}
			if remarks := d.remarks(); tt.label != "rackdns.tags." && (len(remarks) != 1 || len(remarks[0]) > 400) {
				t.Errorf("remarks = %q, want one that is short", remarks)
			}
		})
	}
}

func TestHealthLabel(t *testing.T) {
	tests := []struct {
		label, check string
		want         string
		serving      bool
	}{
		{"", "", "", true},
		{"", "starting", "starting", false},
		{"", "healthy", "healthy", true},
		{"", "unhealthy", "unhealthy", false},
		{"ignore", "unhealthy", "", true},
		{"ignore", "starting", "", true},
		{"ignore", "", "", true},
		{"require", "", "starting", false},
		{"require", "healthy", "healthy", true},
		{"require", "unhealthy", "unhealthy", false},
	}
	for _, tt := range tests {
		t.Run(tt.label+"/"+tt.check, func(t *testing.T) {
			f := labelled(labels{"rackdns.health": tt.label})
			f.health = tt.check
			i := decide(f, testHome).instance
			if i.Health != tt.want || i.Serving() != tt.serving {
				t.Errorf("health %q, serving %t, want %q, %t", i.Health, i.Serving(), tt.want, tt.serving)
			}
		})
	}
}

func TestNotRunning(t *testing.T) {
	for _, status := range []string{"created", "restarting", "removing", "exited", "dead", ""} {
		d := decide(plain(func(f *facts) { f.status = status }), testHome)
		if d.instance != nil || d.refusal.Reason != ReasonNotRunning {
			t.Errorf("%q: %+v, %+v", status, d.instance, d.refusal)
		}
	}
	d := decide(plain(func(f *facts) { f.status = registry.StatusPaused }), testHome)
	if d.instance == nil || d.instance.Serving() {
		t.Errorf("paused: %+v, want it registered and not serving", d.instance)
	}
}

// What ten thousand labels say has to fit into a registry value and the log.
func TestTenThousandLabels(t *testing.T) {
	for _, prefix := range []string{"", "rackdns.", "rackdns.tags.", "rackdns.port.", "rackdns.port.x"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			f := plain(nil)
			for n := range 10000 {
				f.labels[fmt.Sprintf("%s%d", prefix, n+1)] = strings.Repeat("v", 200)
			}
			d := decide(f, testHome)
			if d.refusal != nil {
				t.Fatalf("refused: %+v", d.refusal)
			}
			b, err := registry.Encode(d.instance)
			if err != nil {
				t.Fatalf("%d bytes: %v", len(b), err)
			}
			if n := len(d.remarks()); n > maxNotes+1 {
				t.Errorf("%d remarks", n)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	f := plain(nil)
	f.published = map[portKey][]hostPort{}
	for n := range uint16(200) {
		for k := range uint16(20) {
			f.published[portKey{n + 1, "tcp"}] = append(f.published[portKey{n + 1, "tcp"}], hostPorts(fmt.Sprintf("10.1.%d.%d:%d", k, n, n+1))...)
		}
	}
	d := decide(f, testHome)
	if d.refusal == nil || d.refusal.Reason != ReasonTooLarge {
		t.Errorf("instance %+v, refusal %+v", d.instance != nil, d.refusal)
	}
}

// The log is told once of each container and reason, and stays one line.
func TestTell(t *testing.T) {
	var buf bytes.Buffer
	q := newQueue(4)
	defer q.close()
	tr := newTracker(q, newRecorder(), slog.New(slog.NewTextHandler(&buf, nil)), 0)
	f := labelled(labels{"rackdns.service": "a\nlevel=ERROR msg=forged " + strings.Repeat("x", 5000), "rackdns.weight": "101"})
	f.name = "b\nad"
	for range 3 {
		tr.tell(f.id, decide(f, testHome))
	}
	if got := strings.Count(buf.String(), "\n"); got != 1 {
		t.Errorf("%d lines:\n%s", got, buf.String())
	}
	f.labels["rackdns.service"] = "good"
	tr.tell(f.id, decide(f, testHome))
	// Its name, which would be an alias, is none either.
	if got := strings.Count(buf.String(), "\n"); got != 3 {
		t.Errorf("%d lines after another reason:\n%s", got, buf.String())
	}
	if buf.Len() > 2000 {
		t.Errorf("%d bytes", buf.Len())
	}
}

func TestExplain(t *testing.T) {
	f := labelled(labels{
		"com.docker.compose.project": "shop",
		"com.docker.compose.service": "web",
		"rackdns.service":            "front",
		"rackdns.weight":             "heavy",
		"rackdns.port.3000":          "http",
	})
	f.exposed = []portKey{{9000, "tcp"}}
	f.published = map[portKey][]hostPort{{3000, "tcp"}: hostPorts("0.0.0.0:47889")}
	want := `container web-1 (3485248b1d18), image example/web:1, running
registered as front.shop, in DNS

what was decided, and by what
  port 3000/tcp  http    label rackdns.port.3000/tcp
  app            shop    label com.docker.compose.project, before no label=default
  service        front   label rackdns.service, before label com.docker.compose.service=web, the container's name=web-1
  network        bridge  the container's network mode
  alias          web-1   the container's name

where it is reached
  network bridge      172.17.0.2       from the same network on this node
  port 3000/tcp http  10.0.2.10:47889  from anywhere
  port 9000/tcp       not published    only by those who reach the container itself

what doesn't count
  label rackdns.weight="heavy": not a number from 0 to 100; 1 is used
`
	if diff := cmp.Diff(want, decide(f, testHome).explain().String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x := decide(labelled(labels{"rackdns.ignore": "yes"}), testHome).explain()
	want = "container web-1 (3485248b1d18), image example/web:1, running\n" +
		"not registered (ignored): label rackdns.ignore=\"yes\"\n" +
		"it asks as a container of app default\n"
	if diff := cmp.Diff(want, x.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for health, says := range map[string]string{
		"starting":  "registered as web-1.default, but not in DNS: its health check has not succeeded yet",
		"unhealthy": "but not in DNS: its health check says unhealthy",
	} {
		x := decide(plain(func(f *facts) { f.health = health }), testHome).explain()
		if !strings.Contains(x.String(), says) || x.Serving {
			t.Errorf("%s: %s", health, x)
		}
	}
}

// FuzzDecide: whatever stands in labels and names, an instance can be
// registered or the container is refused in one short line.
func FuzzDecide(f *testing.F) {
	for _, seed := range []labels{
		{"rackdns.service": "web", "rackdns.app": "shop"},
		{"rackdns.port.53/udp": "dns", "rackdns.weight": "7"},
		{"com.docker.compose.project": "a_b", "com.docker.compose.service": "C"},
		{"SERVICE_TAGS": "a=b,,=,c", "SERVICE_NAME": "x"},
		{"rackdns.tags.é": "\xff", "rackdns.network": "../.."},
	} {
		b, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("web-1", b)
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		var l labels
		if json.Unmarshal(b, &l) != nil {
			return
		}
		fs := labelled(l)
		fs.name, fs.env = name, l
		fs.attachments[0].name = name
		d := decide(fs, testHome)
		if (d.instance == nil) == (d.refusal == nil) {
			t.Fatalf("instance %+v, refusal %+v", d.instance, d.refusal)
		}
		if d.instance != nil {
			b, err := registry.Encode(d.instance)
			if err != nil {
				t.Fatal(err)
			}
			k := registry.Key{Kind: registry.KindInstance, Owner: "node-1", Name: d.instance.ID}
			if _, err := registry.DecodeInstance(k, b); err != nil {
				t.Fatalf("what was registered can't be read: %v", err)
			}
		}
		lines := d.remarks()
		if d.refusal != nil {
			lines = append(lines, d.refusal.Detail)
		}
		for _, l := range lines {
			if strings.ContainsAny(l, "\n\r\x1b\x00") || len(l) > 1000 {
				t.Errorf("a line that harms a log: %q", l)
			}
		}
	})
}
