package hosts

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/image"

	"github.com/rackdns/rackdns/test/program"
)

// testImage is what every container runs: the program that tells who it is.
const testImage = "rackdns-hosts:test"

// containerProgram reads it once.
var containerProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rackdns-hosts-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "container")
	if err := program.Build(program.Container, file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// importImage gives the engine the only image that there is.
func (h *Host) importImage(t *testing.T) {
	t.Helper()
	content, err := containerProgram()
	if err != nil {
		t.Fatal(err)
	}
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: "container", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := h.Engine.Client.ImageImport(t.Context(), image.ImportSource{Source: &files, SourceName: "-"},
		testImage, image.ImportOptions{Changes: []string{`ENTRYPOINT ["/container"]`}})
	if err != nil {
		t.Fatalf("import the containers' image on %s: %v", h.Name, err)
	}
	defer out.Close()
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatalf("import the containers' image on %s: %v", h.Name, err)
	}
}
