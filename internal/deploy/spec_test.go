package deploy

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"
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
