package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/program"
)

// programVolume has an underscore, which no name of a resource has.
func (s *site) programVolume(version string) string {
	return volumeName(s.rack, s.app, "_program-"+version)
}

// installProgram puts the program into its volume, unless it is there.
func (u *up) installProgram(ctx context.Context, image string) error {
	return program.Install{
		Volume: u.program, File: u.cfg.Program, Image: image,
		Container: interimName(u.app, "program", u.release, 1),
		Labels:    map[string]string{label.UpRack: u.rack, label.App: u.app, label.UpProgram: "true"},
	}.Into(ctx, u.Client)
}

// dropPrograms removes the volumes of programs that no container has any more,
// but for one.
func (s *site) dropPrograms(ctx context.Context, except string) error {
	ours := s.own()
	ours.Add("label", label.UpProgram)
	list, err := s.VolumeList(ctx, volume.ListOptions{Filters: ours})
	if err != nil {
		return fmt.Errorf("list the volumes of app %s: %w", s.app, err)
	}
	for _, v := range list.Volumes {
		if v.Name == except || !strings.HasPrefix(v.Name, s.programVolume("")) {
			continue
		}
		if err := s.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
			return fmt.Errorf("remove a volume of health checks: %w", err)
		}
	}
	return nil
}
