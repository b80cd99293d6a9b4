package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Backup writes a dump of all data.
func (s *Server) Backup(ctx context.Context, w io.Writer) error {
	c, err := s.typ.Dump(s.account)
	if err != nil {
		return err
	}
	counted := &counter{w: w}
	if err := run(ctx, s.docker, s.id, c, nil, counted); err != nil {
		return fmt.Errorf("back up container %s: %w", s.Name, err)
	}
	if counted.n == 0 {
		return fmt.Errorf("back up container %s: it has written nothing", s.Name)
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// WriteFile makes a file that only its owner reads, whole or not at all. One that
// is there is left alone: it may be the only backup that there is.
func WriteFile(name string, write func(io.Writer) error) (err error) {
	exists := fmt.Errorf("%s: is there already; choose another name", name)
	if _, err := os.Lstat(name); err == nil {
		return exists
	}
	// Its mode is 0600.
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	// Unlike a rename, a link takes nobody's place.
	if err := os.Link(f.Name(), name); errors.Is(err, os.ErrExist) {
		return exists
	} else if err != nil {
		return err
	}
	return nil
}
