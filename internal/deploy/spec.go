package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"

	"github.com/rackdns/rackdns/internal/program"
)

// spec is all that makes two containers of a service different, but their
// releases. Its JSON is hashed: a new field is left out when it is empty, so
// that a new version of this program doesn't replace what runs.
type spec struct {
	// Image is the image's ID, whatever it is called.
	Image   string            `json:"image"`
	Command []string          `json:"command,omitempty"`
	Env     []string          `json:"env,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Ports are such as 3000/tcp, Published tells if others than containers of
	// the rack's network reach them.
	Ports     []string `json:"ports,omitempty"`
	Published bool     `json:"published,omitempty"`
	DNS       []string `json:"dns,omitempty"`
	Search    []string `json:"search,omitempty"`
	// Volume is mounted at Data.
	Volume string `json:"volume,omitempty"`
	Data   string `json:"data,omitempty"`
	Health *check `json:"health,omitempty"`
	settings
}

// check is a health check by this program.
type check struct {
	// Program is the volume that holds this program. Another version of it is
	// no reason to replace a container.
	Program  string        `json:"-"`
	URL      string        `json:"url"`
	Interval time.Duration `json:"interval"`
	Timeout  time.Duration `json:"timeout"`
	Grace    time.Duration `json:"grace"`
	// Liveness is nil without one.
	Liveness *alive `json:"liveness,omitempty"`
}

// alive says when a container is ended by itself, to be started again.
type alive struct {
	URL      string        `json:"url"`
	Grace    time.Duration `json:"grace"`
	Failures int           `json:"failures"`
}

// arguments are those of this program that check it.
func (a *alive) arguments() []string {
	if a == nil {
		return nil
	}
	return []string{"--liveness", a.URL, "--grace", a.Grace.String(), "--failures", strconv.Itoa(a.Failures)}
}

func (s *spec) hash() string {
	b, _ := json.Marshal(s) // strings and numbers can always be encoded
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// noSearch has every name asked as it is. The server completes short names, by
// who asks. A search list can't: each name of the world would be asked below the
// rack's zone as well, and musl gives up at the first candidate that exists
// without an address, or that the server fails to answer.
var noSearch = []string{"."}

// config returns what the engine is to make of it: a container on trial, which
// is not restarted.
func (s *spec) config(network, apiVersion string) (*container.Config, *container.HostConfig) {
	c := &container.Config{
		Cmd:          s.Command,
		Env:          s.Env,
		Labels:       maps.Clone(s.Labels),
		ExposedPorts: nat.PortSet{},
	}
	h := &container.HostConfig{
		NetworkMode:  container.NetworkMode(network),
		PortBindings: nat.PortMap{},
		DNS:          s.DNS,
		DNSSearch:    s.Search,
	}
	for _, p := range s.Ports {
		c.ExposedPorts[nat.Port(p)] = struct{}{}
		if s.Published {
			h.PortBindings[nat.Port(p)] = []nat.PortBinding{{HostIP: "0.0.0.0"}}
		}
	}
	if s.Volume != "" {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Source: s.Volume, Target: s.Data})
	}
	if s.Health != nil {
		c.Healthcheck = program.Check{
			URL: s.Health.URL, Interval: s.Health.Interval, Timeout: s.Health.Timeout, Grace: s.Health.Grace,
		}.Config(apiVersion)
		c.Healthcheck.Test = append(c.Healthcheck.Test, s.Health.Liveness.arguments()...)
		h.Mounts = append(h.Mounts, program.Mount(s.Health.Program))
	}
	s.apply(c, h)
	return c, h
}

// probeURL is where a container checks itself.
func probeURL(scheme string, port uint16, path string) string {
	return scheme + "://127.0.0.1:" + strconv.Itoa(int(port)) + path
}
