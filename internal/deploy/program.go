package deploy

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
)

const (
	// programDir is where a container that has a health check finds this
	// program.
	programDir  = "/.rackdns"
	programName = "rackdns"
)

// readProgram returns what tells one version of the program from another, or an
// error if a container that has nothing but its own program can't run it.
func readProgram(file string) (version string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	binary, err := elf.NewFile(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return "", fmt.Errorf("%s is not a static binary, so a container can't run it: build it with CGO_ENABLED=0", file)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return "", err
	}
	return shortID(hex.EncodeToString(sum.Sum(nil))), nil
}

// programVolume has an underscore, which no name of a resource has.
func (s *site) programVolume(version string) string {
	return volumeName(s.rack, s.app, "_program-"+version)
}

// installProgram puts the program into its volume, unless it is there. Only a
// container gives access to a volume: one of that image, which is never started.
func (u *up) installProgram(ctx context.Context, image string) (err error) {
	file, err := os.Open(u.cfg.Program)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	labels := map[string]string{label.UpRack: u.rack, label.App: u.app, label.UpProgram: "true"}
	if _, err := u.VolumeCreate(ctx, volume.CreateOptions{Name: u.program, Labels: labels}); err != nil {
		return fmt.Errorf("make the volume of health checks: %w", err)
	}
	name := interimName(u.app, "program", u.release, 1)
	marked := maps.Clone(labels)
	marked[label.UpID] = rand.Text()
	whole, cancel := dockerclient.Whole(ctx) // as in create
	defer cancel()
	access, err := u.ContainerCreate(whole,
		&container.Config{Image: image, Cmd: []string{programName}, Labels: marked},
		&container.HostConfig{Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: u.program, Target: programDir}}}, nil, nil, name)
	if err != nil {
		return fmt.Errorf("fill the volume of health checks: %w", err)
	}
	defer func() {
		ctx, cancel := dockerclient.Whole(ctx)
		defer cancel()
		if e := u.remove(ctx, &existing{id: access.ID, name: name}); err == nil {
			err = e
		}
	}()
	is, err := u.ContainerStatPath(ctx, access.ID, path.Join(programDir, programName))
	if err == nil && is.Size == info.Size() {
		return nil
	}
	content, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(archiveProgram(w, file, info.Size()))
	}()
	err = u.CopyToContainer(ctx, access.ID, programDir, content, container.CopyToContainerOptions{})
	content.Close()
	<-done
	return wrap(err, "fill the volume of health checks")
}

func archiveProgram(w io.Writer, file io.Reader, size int64) error {
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(&tar.Header{Name: programName, Mode: 0o755, Size: size}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, file); err != nil {
		return err
	}
	return archive.Close()
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
