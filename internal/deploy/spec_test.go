package deploy

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/manifest"
)

func webSpec() *spec {
	return &spec{
		Image: "sha256:1", Command: []string{"serve"}, Env: []string{"A=1"}, Labels: map[string]string{"b": "2", "a": "1"},
		Ports: []string{"3000/tcp"}, Published: true, DNS: []string{"172.17.0.1"}, Search: []string{"acme.convox"},
		Volume: "v", Data: "/data",
		Health: &check{Program: "p", URL: "http://127.0.0.1:3000/", Interval: time.Second, Timeout: 2 * time.Second, Grace: 3 * time.Second},
	}
}

// A new version of this program that hashes the same thing differently replaces
// every container that an older one has started. If this fails, that is what
// you are about to do.
func TestHashStays(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]*spec{
		"f57f4cb3afd594a6e50a51a8c6142ed7": {Image: "sha256:1"},
		"9468af6f4367fe3f9f1aa09b2e04e58b": webSpec(),
	} {
		if got := s.hash(); got != want {
			t.Errorf("hash %s, want %s", got, want)
		}
	}
}

func TestHashTells(t *testing.T) {
	t.Parallel()
	was := webSpec().hash()
	for name, change := range map[string]func(*spec){
		"image":   func(s *spec) { s.Image = "sha256:2" },
		"command": func(s *spec) { s.Command = nil },
		"env":     func(s *spec) { s.Env = []string{"A=2"} },
		"labels":  func(s *spec) { s.Labels["a"] = "2" },
		"ports":   func(s *spec) { s.Ports[0] = "3000/udp" },
		"publish": func(s *spec) { s.Published = false },
		"dns":     func(s *spec) { s.DNS = nil },
		"search":  func(s *spec) { s.Search = nil },
		"volume":  func(s *spec) { s.Volume = "w" },
		"data":    func(s *spec) { s.Data = "/" },
		"health":  func(s *spec) { s.Health.Interval++ },
		"alive":   func(s *spec) { s.Health.Liveness = &alive{URL: "http://127.0.0.1:1/"} },
		"mounts":  func(s *spec) { s.Mounts = []mounted{{Type: mount.TypeVolume, Source: "v", Target: "/v"}} },
		"limits":  func(s *spec) { s.Memory = 1 << 20 },
		"timeout": func(s *spec) { s.StopTimeout = 1 },
	} {
		s := webSpec()
		change(s)
		if s.hash() == was {
			t.Errorf("%s: another one has the same hash", name)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	c, h := webSpec().config("rackdns-acme", "1.41")
	wantConfig := &container.Config{
		Cmd: []string{"serve"}, Env: []string{"A=1"}, Labels: map[string]string{"a": "1", "b": "2"},
		ExposedPorts: nat.PortSet{"3000/tcp": {}},
		Healthcheck: &container.HealthConfig{
			Test:     []string{"CMD", "/.rackdns/rackdns", "probe", "http://127.0.0.1:3000/"},
			Interval: time.Second, Timeout: 2 * time.Second, StartPeriod: 3 * time.Second,
		},
	}
	wantHost := &container.HostConfig{
		NetworkMode:  "rackdns-acme",
		PortBindings: nat.PortMap{"3000/tcp": {{HostIP: "0.0.0.0"}}},
		DNS:          []string{"172.17.0.1"}, DNSSearch: []string{"acme.convox"},
		Mounts: []mount.Mount{
			{Type: mount.TypeVolume, Source: "v", Target: "/data"},
			{Type: mount.TypeVolume, Source: "p", Target: "/.rackdns", ReadOnly: true},
		},
	}
	if diff := cmp.Diff(wantConfig, c); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantHost, h); diff != "" {
		t.Errorf("host config (-want +got):\n%s", diff)
	}

	// What is not to be reached from elsewhere is not published, and a newer
	// engine checks more often until it is healthy.
	s := webSpec()
	s.Published, s.DNS = false, nil
	c, h = s.config("rackdns-acme", "1.44")
	if len(h.PortBindings) > 0 || len(h.DNSOptions) > 0 {
		t.Errorf("published at %v, DNS options %v; want neither", h.PortBindings, h.DNSOptions)
	}
	if hc := c.Healthcheck; hc.StartInterval != 500*time.Millisecond || hc.StartPeriod != 30*time.Second {
		t.Errorf("health check %+v", hc)
	}
}

// What the manifest says of a service is what the engine is told.
func TestSettings(t *testing.T) {
	t.Parallel()
	m, err := manifest.Parse("convox.yml", []byte(`services:
  web:
    image: a
    port: 3000
    agent: true
    privileged: true
    entrypoint: bin/run --safe
    drain: 2500ms
    health: false
    dnsConfig: {ndots: 2}
    scale: {cpu: 512, memory: 64, limit: {cpu: 500, memory: 128}}
    volumes: [/data/a, 'files:/files:ro', './conf:/conf', '/etc/hosts:/hosts']
    volumeOptions: [{emptyDir: {id: a, mountPath: /a}}, {emptyDir: {id: b, medium: Memory, mountPath: /b}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	u := &up{site: site{rack: "acme", app: "shop"}, cfg: UpConfig{Dir: "/srv/shop"}}
	s := &spec{Ports: []string{"3000/tcp"}, Published: true}
	if s.settings, err = u.settingsOf(&m.Services[0]); err != nil {
		t.Fatal(err)
	}
	c, h := s.config("net", "1.41")
	seconds := 3
	wantConfig := &container.Config{
		Entrypoint: []string{"bin/run", "--safe"}, StopTimeout: &seconds,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, ExposedPorts: nat.PortSet{"3000/tcp": {}},
	}
	wantHost := &container.HostConfig{
		NetworkMode: "net", Privileged: true, DNSOptions: []string{"ndots:2"},
		PortBindings: nat.PortMap{"3000/tcp": {{HostIP: "0.0.0.0", HostPort: "3000"}}},
		Resources:    container.Resources{CPUShares: 512, NanoCPUs: 500_000_000, Memory: 128 << 20, MemoryReservation: 64 << 20},
		Mounts: []mount.Mount{
			{Type: mount.TypeVolume, Source: "acme.shop._path-web-data-a-" + pathHash("/data/a"), Target: "/data/a"},
			{Type: mount.TypeVolume, Source: "acme.shop._volume-files", Target: "/files", ReadOnly: true},
			{Type: mount.TypeBind, Source: "/srv/shop/conf", Target: "/conf"},
			{Type: mount.TypeBind, Source: "/etc/hosts", Target: "/hosts"},
			{Type: mount.TypeVolume, Target: "/a"},
			{Type: mount.TypeTmpfs, Target: "/b"},
		},
	}
	if d := cmp.Diff(wantConfig, c); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
	if d := cmp.Diff(wantHost, h); d != "" {
		t.Errorf("host (-want +got):\n%s", d)
	}
}

// A volume of a service's own is known by its path, however alike two are.
func TestKeyedVolume(t *testing.T) {
	t.Parallel()
	names := map[string]string{}
	for _, key := range []string{"files", "web:/a/b", "web:/a-b", "web:/a_b", "web:/A/b", "web-a:/b", "web:/é"} {
		name := keyedVolume("acme", "shop", key)
		if other := names[name]; other != "" {
			t.Errorf("%s and %s both are %s", other, key, name)
		}
		names[name] = key
	}
}
