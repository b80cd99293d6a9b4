package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/moby/go-archive"
	"github.com/moby/go-archive/compression"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/rackdns/rackdns/internal/dockerclient"
	"github.com/rackdns/rackdns/internal/label"
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

// classic has the engine's own builder build an image, and returns its ID. What
// has not changed comes from the engine's cache, with the ID that it had.
func (s *site) classic(ctx context.Context, dir, repository string, b *manifest.Build, pull bool, log *buildLog) (id string, err error) {
	root := filepath.Join(dir, b.Path)
	file := filepath.Join(root, b.Dockerfile)
	what, err := readDockerfile(file)
	if err == nil {
		err = what.classic(file)
	}
	if err != nil {
		return "", err
	}
	args, err := s.classicArguments(ctx, b, what)
	if err != nil {
		return "", err
	}
	auths, err := dockerclient.Credentials()
	if err != nil {
		return "", err
	}
	content, err := buildContext(root, b.Dockerfile)
	if err != nil {
		return "", err
	}
	defer content.Close()
	reply, err := s.ImageBuild(ctx, content, build.ImageBuildOptions{
		Dockerfile:  filepath.ToSlash(b.Dockerfile),
		BuildArgs:   args,
		Target:      b.Target,
		PullParent:  pull,
		AuthConfigs: auths,
		Labels:      map[string]string{label.UpImage: repository},
		Remove:      true,
		ForceRemove: true,
		Version:     build.BuilderV1,
	})
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	if id, err = readBuild(reply.Body, log); err != nil {
		return "", err
	}
	return id, s.ImageTag(ctx, id, builtName(repository, id))
}

// classicArguments are those that the manifest gives, and those of BuildKit's own
// that the Dockerfile asks for.
func (s *site) classicArguments(ctx context.Context, b *manifest.Build, what *dockerfile) (map[string]*string, error) {
	engine, err := s.ServerVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the Docker Engine what it runs on: %w", err)
	}
	args := map[string]*string{}
	for name, value := range platformArguments(engine.Os, engine.Arch) {
		// One that isn't used is warned of.
		if slices.Contains(what.arguments, name) {
			args[name] = &value
		}
	}
	for name, value := range b.Args {
		args[name] = &value
	}
	return args, nil
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

// readBuild reads the classic builder's output to its end.
func readBuild(r io.Reader, log *buildLog) (id string, err error) {
	for d := json.NewDecoder(r); ; {
		var m struct {
			Stream string `json:"stream"`
			Status string `json:"status"`
			ID     string `json:"id"`
			Error  string `json:"error"`
			Aux    struct{ ID string }
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("read the builder's output: %w", err)
		}
		_, _ = io.WriteString(log, m.Stream)
		if from, ok := strings.CutPrefix(m.Status, "Pulling from "); ok {
			log.tell("pulling " + from + ":" + m.ID)
		}
		if m.Error != "" {
			return "", &buildError{why: m.Error, said: log.end()}
		}
		if m.Aux.ID != "" {
			id = m.Aux.ID
		}
	}
	log.end()
	if id == "" {
		return "", errors.New("the builder has not said what it built")
	}
	return id, nil
}

// buildError is a build that went wrong, with what the builder said until then.
type buildError struct{ why, said string }

func (e *buildError) Error() string { return strings.TrimSpace(e.why) }
