package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/volume"

	"github.com/rackdns/rackdns/internal/label"
)

// pathDigits is how much of a path's hash tells it from others that are alike.
const pathDigits = 8

// keyedVolume names a volume that services of the app mount: by its own name, or,
// as SERVICE:/path, by where one service has it. No resource has a name with an
// underscore.
func keyedVolume(rack, app, key string) string {
	service, path, ofService := strings.Cut(key, ":")
	if !ofService {
		return volumeName(rack, app, "_volume-"+key)
	}
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, strings.Trim(path, "/"))
	return volumeName(rack, app, "_path-"+service+"-"+plain+"-"+pathHash(path))
}

// pathHash tells a path from others that are alike in a name.
func pathHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])[:pathDigits]
}

// nameOf is the name that a volume of the app's has to have by its labels.
func (s *site) nameOf(v *volume.Volume) string {
	if key := v.Labels[label.UpVolume]; key != "" {
		return keyedVolume(s.rack, s.app, key)
	}
	return volumeName(s.rack, s.app, v.Labels[label.ResourceName])
}

// ensureMounts makes the volumes that a service mounts, unless they are there.
func (s *site) ensureMounts(ctx context.Context, c *component) error {
	for _, m := range c.spec.Mounts {
		if m.key == "" {
			continue
		}
		labels := map[string]string{label.UpRack: s.rack, label.App: s.app, label.UpVolume: m.key, label.UpDirectory: s.directory}
		v, err := s.VolumeCreate(ctx, volume.CreateOptions{Name: m.Source, Labels: labels})
		if err != nil {
			return fmt.Errorf("make volume %s: %w", m.Source, err)
		}
		if v.Labels[label.UpRack] != s.rack || v.Labels[label.App] != s.app || v.Labels[label.UpVolume] != m.key {
			return fmt.Errorf("volume %s: is there already, and not one of app %s in rack %s", m.Source, s.app, s.rack)
		}
	}
	return nil
}
