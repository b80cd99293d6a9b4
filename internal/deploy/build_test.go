package deploy

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/manifest"
)

// files writes files, by their paths below a new directory.
func files(t *testing.T, all ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range all {
		path, text, _ := strings.Cut(f, "=")
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBuildContext(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		dockerfile string
		files      []string
		want       []string
	}{
		{"everything", "Dockerfile", []string{"Dockerfile", "a/b", "c"}, []string{"Dockerfile", "a/", "a/b", "c"}},
		{
			"without what is ignored", "Dockerfile", []string{"Dockerfile", ".dockerignore=a\n*.log\n!keep.log\n", "a/b", "x.log", "keep.log"},
			[]string{".dockerignore", "Dockerfile", "keep.log"},
		},
		{
			"with what an exception names below what is ignored", "Dockerfile",
			[]string{"Dockerfile", ".dockerignore=a\n!a/keep\n**/*.tmp\n!c/very.tmp\n# a remark\n", "a/b", "a/keep/d", "x/y.tmp", "c/very.tmp", "c/other.tmp"},
			[]string{".dockerignore", "Dockerfile", "a/keep/", "a/keep/d", "c/", "c/very.tmp", "x/"},
		},
		{
			"with what the builder needs", "./build/Dockerfile.web", []string{"build/Dockerfile.web", "build/other", ".dockerignore=*"},
			[]string{".dockerignore", "build/Dockerfile.web"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			content, err := buildContext(files(t, tt.files...), tt.dockerfile)
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			var got []string
			for r := tar.NewReader(content); ; {
				h, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if h.Uid != 0 || h.Gid != 0 {
					t.Errorf("%s: owner %d, group %d; want root", h.Name, h.Uid, h.Gid)
				}
				got = append(got, h.Name)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadBuild(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, output string
		id, err      string
	}{
		{"built", `{"stream":"Step 1/1\n"}{"aux":{"ID":"sha256:1"}}{"stream":"done\n"}`, "sha256:1", ""},
		{"of two stages", `{"aux":{"ID":"sha256:1"}}{"aux":{"ID":"sha256:2"}}`, "sha256:2", ""},
		{"failed", `{"stream":"Step 1/1\n"}{"errorDetail":{"code":1},"error":"it returned 1\n"}`, "", "it returned 1"},
		{"cut off", `{"stream":"Step`, "", "read the builder's output: unexpected EOF"},
		{"of nothing", `{"stream":"Step 1/1\n"}`, "", "the builder has not said what it built"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			id, err := readBuild(strings.NewReader(tt.output), &buildLog{show: func(string) {}})
			said := ""
			if err != nil {
				said = err.Error()
			}
			if id != tt.id || said != tt.err {
				t.Errorf("%q, error %q; want %q, %q", id, said, tt.id, tt.err)
			}
		})
	}
}

func TestCheckBuild(t *testing.T) {
	t.Parallel()
	dir := files(t, "web/Dockerfile", "web/dir/file", "outside")
	tests := []struct {
		name  string
		build manifest.Build
		wrong bool
	}{
		{"there", manifest.Build{Path: "web", Dockerfile: "Dockerfile"}, false},
		{"no directory", manifest.Build{Path: "none", Dockerfile: "Dockerfile"}, true},
		{"no file", manifest.Build{Path: "web", Dockerfile: "Dockerfile.test"}, true},
		{"no file but a directory", manifest.Build{Path: "web", Dockerfile: "dir"}, true},
		{"out of the context", manifest.Build{Path: "web", Dockerfile: "../outside"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := checkBuild(dir, &tt.build); (err != nil) != tt.wrong {
				t.Errorf("error %v, want one: %t", err, tt.wrong)
			}
		})
	}
}
