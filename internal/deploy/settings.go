package deploy

import (
	"cmp"
	"path/filepath"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"

	"github.com/rackdns/rackdns/internal/manifest"
)

// settings are what the manifest may say of a service's containers besides. As in
// [spec], what is not said is not in the JSON.
type settings struct {
	Entrypoint []string  `json:"entrypoint,omitempty"`
	Mounts     []mounted `json:"mounts,omitempty"`
	// StopTimeout is how long it has to end, in seconds.
	StopTimeout       int   `json:"stopTimeout,omitempty"`
	CPUShares         int64 `json:"cpuShares,omitempty"`
	NanoCPUs          int64 `json:"nanoCpus,omitempty"`
	Memory            int64 `json:"memory,omitempty"`
	MemoryReservation int64 `json:"memoryReservation,omitempty"`
	Privileged        bool  `json:"privileged,omitempty"`
	Init              *bool `json:"init,omitempty"`
	// NoHealth leaves out the image's own health check.
	NoHealth bool `json:"noHealth,omitempty"`
	NDots    int  `json:"ndots,omitempty"`
	// OwnPorts publishes ports at the numbers that they have.
	OwnPorts bool `json:"ownPorts,omitempty"`
}

// mounted is something that is mounted at Target.
type mounted struct {
	Type   mount.Type `json:"type"`
	Source string     `json:"source,omitempty"`
	Target string     `json:"target"`
	// ReadOnly ones can't be written.
	ReadOnly bool `json:"readOnly,omitempty"`
	// key is what a volume of the app's is known by, empty for all else.
	key string
}

// settingsOf returns what a manifest says of a service.
func (u *up) settingsOf(s *manifest.Service) (settings, error) {
	is := settings{
		Entrypoint: s.Entrypoint,
		// A part of a second is a whole one.
		StopTimeout: int((s.StopTimeout + time.Second - 1) / time.Second),
		CPUShares:   s.CPUShares, NanoCPUs: s.NanoCPUs,
		Memory: s.Memory, MemoryReservation: s.MemoryReservation,
		Privileged: s.Privileged, Init: s.Init,
		NoHealth: s.NoHealth, NDots: s.NDots, OwnPorts: s.Agent,
	}
	if s.Liveness != nil {
		// What is restarted by its liveness needs a first process that ends with
		// the one that it has started.
		on := true
		is.Init = cmp.Or(is.Init, &on)
	}
	for _, v := range s.Volumes {
		m := mounted{Type: mount.TypeVolume, Target: v.Target, ReadOnly: v.ReadOnly}
		switch v.Kind {
		case manifest.NamedVolume:
			m.key = v.Source
		case manifest.PathVolume:
			m.key = s.Name + ":" + v.Target
		case manifest.HostPath:
			dir, err := filepath.Abs(u.cfg.Dir)
			if err != nil {
				return is, err
			}
			m.Type, m.Source = mount.TypeBind, filepath.Clean(v.Source)
			if !filepath.IsAbs(v.Source) {
				m.Source = filepath.Join(dir, v.Source)
			}
		case manifest.MemoryScratch:
			m.Type = mount.TypeTmpfs
		case manifest.Scratch: // a volume without a name, which is removed with its container
		}
		if m.key != "" {
			m.Source = keyedVolume(u.rack, u.app, m.key)
		}
		is.Mounts = append(is.Mounts, m)
	}
	return is, nil
}

// apply has the engine do what the settings say.
func (s *settings) apply(c *container.Config, h *container.HostConfig) {
	c.Entrypoint = s.Entrypoint
	if s.StopTimeout > 0 {
		c.StopTimeout = &s.StopTimeout
	}
	if s.NoHealth {
		c.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
	}
	h.CPUShares, h.NanoCPUs, h.Memory, h.MemoryReservation = s.CPUShares, s.NanoCPUs, s.Memory, s.MemoryReservation
	h.Privileged, h.Init = s.Privileged, s.Init
	if s.NDots > 0 {
		h.DNSOptions = append(h.DNSOptions, "ndots:"+strconv.Itoa(s.NDots))
	}
	for _, m := range s.Mounts {
		h.Mounts = append(h.Mounts, mount.Mount{Type: m.Type, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	if s.OwnPorts {
		for p := range h.PortBindings {
			h.PortBindings[p] = []nat.PortBinding{{HostIP: "0.0.0.0", HostPort: p.Port()}}
		}
	}
}
