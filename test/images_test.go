package test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// testImage imports the image that the tests' containers run: one file.
var testImage = sync.OnceValues(func() (string, error) {
	files, entrypoint, err := testFiles()
	if err != nil {
		return "", err
	}
	return importImage("rackdns-test-container:"+runID, files, entrypoint)
})

// testFiles are what the test image is made of.
func testFiles() (files map[string]string, entrypoint string, err error) {
	program, err := containerBinary()
	return map[string]string{"container": program}, `ENTRYPOINT ["/container"]`, err
}

// importImage imports an image that holds these files, by their places in it,
// into the engine that the tests share, and returns its reference.
func importImage(ref string, files map[string]string, changes ...string) (string, error) {
	cli, err := newEngine()
	if err != nil {
		return "", err
	}
	defer cli.Close()
	return ref, importInto(cli, ref, files, changes...)
}

// importInto imports an image into any engine.
func importInto(cli *client.Client, ref string, files map[string]string, changes ...string) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, from := range files {
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(runContext(), engineTimeout)
	defer cancel()
	out, err := cli.ImageImport(ctx, image.ImportSource{Source: &archive, SourceName: "-"}, ref,
		image.ImportOptions{Changes: append(changes, "LABEL "+label+"="+runID)})
	if err != nil {
		return fmt.Errorf("importing %s: %w", ref, err)
	}
	defer out.Close()
	if _, err := io.Copy(io.Discard, out); err != nil {
		return fmt.Errorf("importing %s: %w", ref, err)
	}
	return nil
}
