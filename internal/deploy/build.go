package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/moby/go-archive"
	"github.com/moby/go-archive/compression"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/rackdns/rackdns/internal/manifest"
)

// buildLines is how much is shown of a build that failed.
const buildLines = 20

// checkBuild finds out before anything is touched whether there is anything to
// build.
func checkBuild(dir string, b *manifest.Build) error {
	if !filepath.IsLocal(b.Dockerfile) {
		return fmt.Errorf("%s: is not below %s, which is all that the builder gets", b.Dockerfile, b.Path)
	}
	file := filepath.Join(dir, b.Path, b.Dockerfile)
	if info, err := os.Stat(file); err != nil {
		return err
	} else if info.IsDir() {
		return fmt.Errorf("%s: is a directory", file)
	}
	return nil
}

// build has the engine build an image, and returns its ID. What has not changed
// comes from the engine's cache, with the ID that it had. The output goes to w
// as it comes, if there is one, and is returned with an error.
func (s *site) build(ctx context.Context, dir string, b *manifest.Build, w io.Writer) (id string, err error) {
	root := filepath.Join(dir, b.Path)
	content, err := buildContext(root, b.Dockerfile)
	if err != nil {
		return "", err
	}
	defer content.Close()
	args := map[string]*string{}
	for name, value := range b.Args {
		args[name] = &value
	}
	reply, err := s.ImageBuild(ctx, content, build.ImageBuildOptions{
		Dockerfile:  filepath.ToSlash(b.Dockerfile),
		BuildArgs:   args,
		Target:      b.Target,
		Remove:      true,
		ForceRemove: true,
		Version:     build.BuilderV1,
	})
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	return readBuild(reply.Body, w)
}

// buildContext returns an archive of a directory, without what its .dockerignore
// leaves out.
func buildContext(root, dockerfile string) (io.ReadCloser, error) {
	var ignored []string
	f, err := os.Open(filepath.Join(root, ".dockerignore"))
	switch {
	case err == nil:
		ignored, err = ignorefile.ReadAll(f)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	if len(ignored) > 0 {
		// The builder needs these two, and takes them out itself.
		ignored = append(ignored, "!"+filepath.ToSlash(filepath.Clean(dockerfile)), "!.dockerignore")
	}
	return archive.TarWithOptions(root, &archive.TarOptions{
		Compression:     compression.None,
		ExcludePatterns: ignored,
		// Who owns the files here says nothing of who should there.
		ChownOpts: &archive.ChownOpts{},
	})
}

// readBuild reads a builder's output to its end.
func readBuild(r io.Reader, w io.Writer) (id string, err error) {
	var said strings.Builder
	for d := json.NewDecoder(r); ; {
		var m struct {
			Stream string `json:"stream"`
			Error  string `json:"error"`
			Aux    struct{ ID string }
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("read the builder's output: %w", err)
		}
		said.WriteString(m.Stream)
		if w != nil {
			_, _ = io.WriteString(w, m.Stream)
		}
		if m.Error != "" {
			return "", &buildError{why: m.Error, said: said.String()}
		}
		if m.Aux.ID != "" {
			id = m.Aux.ID
		}
	}
	if id == "" {
		return "", errors.New("the builder has not said what it built")
	}
	return id, nil
}

// buildError is a build that went wrong, with what the builder said until then.
type buildError struct{ why, said string }

func (e *buildError) Error() string { return strings.TrimSpace(e.why) }
