package data

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/resource"
)

// Restore puts a dump in the place of the data, which [resource.Type.CheckDump]
// has found to be one of the type. Where that fails the data are what they were.
func (s *Server) Restore(ctx context.Context, dump *os.File, format resource.Format) error {
	if s.typ.Name == "redis" {
		return s.restoreRedis(ctx, dump)
	}
	load := func(ctx context.Context, dump *os.File) error {
		if _, err := dump.Seek(0, io.SeekStart); err != nil {
			return err
		}
		c, err := s.typ.Load(s.account, format)
		if err != nil {
			return err
		}
		if err := run(ctx, s.docker, s.id, c, dump, io.Discard); err != nil {
			return fmt.Errorf("restore into container %s: %w", s.Name, err)
		}
		return nil
	}
	if s.typ.AtOnce() {
		return load(ctx, dump)
	}
	before, err := temporary(func(w io.Writer) error { return s.Backup(ctx, w) })
	if err != nil {
		return err
	}
	defer before.Close()
	err = load(ctx, dump)
	if err == nil {
		return nil
	}
	// Also for those who have given up.
	if e := load(context.WithoutCancel(ctx), before); e != nil {
		return errors.Join(err, fmt.Errorf("and what was there before could not be put back: %w", e))
	}
	return fmt.Errorf("%w; what was there before is there again", err)
}

// temporary returns a file without a name that has what is written to it.
func temporary(write func(io.Writer) error) (*os.File, error) {
	f, err := os.CreateTemp("", "rackdns-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), write(f)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Spool returns a file with all of that, to be read from its beginning.
func Spool(r io.Reader) (*os.File, error) {
	return temporary(func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// redisTime is how long a Redis has to read its dump, once it is started.
const redisTime = 5 * time.Minute

// restoreRedis puts the dump where the server reads it when it starts. It is
// stopped for that: it would write its own over it.
func (s *Server) restoreRedis(ctx context.Context, dump *os.File) error {
	var text bytes.Buffer
	if err := run(ctx, s.docker, s.id, s.typ.Setting(s.account, "appendonly"), nil, &text); err != nil {
		return fmt.Errorf("restore into container %s: %w", s.Name, err)
	}
	if strings.HasSuffix(strings.TrimSpace(text.String()), "yes") {
		return fmt.Errorf("container %s: its server keeps an append-only file, which it would read in the place of any dump", s.Name)
	}
	target := path.Join(s.place, resource.RedisDump)
	if err := ctx.Err(); err != nil {
		return err
	}
	whole, cancel := dockerclient.Whole(ctx)
	defer cancel()
	if err := s.docker.ContainerStop(whole, s.id, container.StopOptions{}); err != nil {
		return fmt.Errorf("stop container %s: %w", s.Name, err)
	}
	before, err := s.fetch(ctx, target)
	if err == nil {
		if before != nil {
			defer before.Close()
		}
		err = s.put(ctx, target, dump)
		if err == nil {
			err = s.startRedis(ctx)
		}
		if err == nil {
			return nil
		}
	}
	return errors.Join(err, s.putBack(ctx, target, before))
}

// putBack starts the server with what it had before.
func (s *Server) putBack(ctx context.Context, target string, before *os.File) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTime)
	defer cancel()
	err := s.docker.ContainerStop(whole, s.id, container.StopOptions{})
	if err == nil && before != nil {
		err = s.put(whole, target, before)
	}
	// It has what it had, or nothing was put over it.
	err = errors.Join(err, s.startRedis(whole))
	if err != nil {
		return fmt.Errorf("and what was there before could not be put back: %w", err)
	}
	return nil
}

// fetch copies a file of the container, nil if there is none.
func (s *Server) fetch(ctx context.Context, name string) (*os.File, error) {
	content, _, err := s.docker.CopyFromContainer(ctx, s.id, name)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of container %s: %w", name, s.Name, err)
	}
	defer content.Close()
	archive := tar.NewReader(content)
	if _, err := archive.Next(); err != nil {
		return nil, fmt.Errorf("read %s of container %s: %w", name, s.Name, err)
	}
	return Spool(archive)
}

// put copies a file into the container. Its server may only read it: it writes
// another one in its place.
func (s *Server) put(ctx context.Context, name string, from *os.File) error {
	size, err := from.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = from.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	content, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		archive := tar.NewWriter(w)
		err := archive.WriteHeader(&tar.Header{Name: path.Base(name), Mode: 0o644, Size: size})
		if err == nil {
			_, err = io.Copy(archive, from)
		}
		if err == nil {
			err = archive.Close()
		}
		w.CloseWithError(err)
	}()
	err = s.docker.CopyToContainer(ctx, s.id, path.Dir(name), content, container.CopyToContainerOptions{})
	content.Close()
	<-done
	if err != nil {
		return fmt.Errorf("write %s of container %s: %w", name, s.Name, err)
	}
	return nil
}

// startRedis starts the server and waits until it has read its data.
func (s *Server) startRedis(ctx context.Context) error {
	was, err := s.docker.ContainerInspect(ctx, s.id)
	if err != nil {
		return fmt.Errorf("inspect container %s: %w", s.Name, err)
	}
	if err := s.docker.ContainerStart(ctx, s.id, container.StartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", s.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	for {
		var text bytes.Buffer
		if err := run(ctx, s.docker, s.id, s.typ.Ping(s.account), nil, &text); err == nil && strings.TrimSpace(text.String()) == "PONG" {
			return nil
		}
		is, err := s.docker.ContainerInspect(ctx, s.id)
		if err != nil {
			return fmt.Errorf("inspect container %s: %w", s.Name, err)
		}
		if !is.State.Running || is.RestartCount > was.RestartCount {
			return fmt.Errorf("container %s: its server has not taken the dump; see docker logs %[1]s", s.Name)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("container %s: its server has not read the dump in time: %w", s.Name, context.Cause(ctx))
		case <-time.After(retry):
		}
	}
}
