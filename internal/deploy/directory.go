package deploy

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/rackdns/rackdns/internal/label"
	"github.com/rackdns/rackdns/internal/registry"
)

// DirectoryOf returns the directory of a manifest as it is remembered, the same
// by whatever way one comes to it.
func DirectoryOf(file string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	if straight, err := filepath.EvalSymlinks(dir); err == nil {
		return straight, nil
	}
	// One that isn't there is none that anything was brought up from.
	return dir, nil
}

// recall finds the directory that the app was brought up from on this engine. A
// directory's name is the app's unless it is said otherwise, and many have the
// same: from another one nothing is touched unless the app is given by name.
func (s *site) recall(ctx context.Context, r *registry.Client) (err error) {
	info, err := s.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask the Docker Engine who it is: %w", err)
	}
	s.engineID = info.ID
	if s.remembered, err = r.Directory(ctx, s.app, s.engineID); err != nil {
		return err
	}
	if s.named {
		return nil
	}
	if other := s.otherDirectory(); other != "" {
		return fmt.Errorf("app %s: was brought up from %s on this engine, and this is %s: give this one a name of its own with --app, or --app %[1]s if it is the same app", s.app, other, s.directory)
	}
	return nil
}

// otherDirectory returns another directory that the app is of, "" if there is
// none. Should the registry have lost it, the labels tell.
func (s *site) otherDirectory() string {
	if s.remembered != "" {
		return s.other(s.remembered)
	}
	for _, e := range s.have {
		if other := s.other(e.directory); other != "" {
			return other
		}
	}
	for _, v := range s.data {
		if other := s.other(v.Labels[label.UpDirectory]); other != "" {
			return other
		}
	}
	return ""
}

// other returns a directory that isn't this one. What was made before any was
// remembered has none.
func (s *site) other(directory string) string {
	if directory == s.directory {
		return ""
	}
	return directory
}

// remember has the registry know that this is the directory of the app.
func (s *site) remember(ctx context.Context, r *registry.Client, p *progress) error {
	if s.remembered == s.directory {
		return nil
	}
	if was := s.otherDirectory(); was != "" {
		p.say(s.app, "is that of %s from now on, and was that of %s", s.directory, was)
	}
	return r.SetDirectory(ctx, s.app, s.engineID, s.directory)
}
