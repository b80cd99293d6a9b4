package deploy

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/registry"
)

// What the classic builder can't do is found before it is asked, and named with
// its line.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		newer      string
		arguments  []string
	}{
		{"plain", "FROM scratch\nCOPY --from=x --chown=1:1 a /\nADD --chown=1 b /\nHEALTHCHECK --interval=1s CMD x\nRUN [\"x\"]\n", "", nil},
		{"arguments", "ARG GO=1\nFROM --platform=$BUILDPLATFORM golang:$GO\nARG TARGETARCH TARGETOS=linux\n", "", []string{"GO", "TARGETARCH", "TARGETOS"}},
		{"a mount", "FROM x\n\nRUN --mount=type=cache,target=/x \\\n  make\n", ":3: RUN --mount ", nil},
		{"a network", "FROM x\nrun --network=none make\n", ":2: RUN --network ", nil},
		{"a heredoc", "FROM x\nRUN <<EOF\necho\nEOF\n", ":2: RUN <<EOF ", nil},
		{"a file", "FROM x\nCOPY <<-X /y\nz\nX\n", ":2: COPY <<X ", nil},
		{"a mode", "FROM x\nCOPY --chmod=755 a /\n", ":2: COPY --chmod ", nil},
		{"a checksum", "FROM x\nADD --checksum=sha256:1 http://x /\n", ":2: ADD --checksum ", nil},
		{"a syntax", "# syntax=docker/dockerfile:1\nFROM x\n", ":1: the syntax docker/dockerfile:1 ", nil},
		{"no syntax but a remark", "FROM x\n# syntax=docker/dockerfile:1\n", "", nil},
		{"shifted, in a shell", "FROM x\nRUN echo $((1 << 2))\n", "", nil},
		{"nonsense", "FROM\n<<<\n", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(files(t, "Dockerfile="+tt.text), "Dockerfile")
			d, err := readDockerfile(file)
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			if err := d.classic(file); err != nil {
				said = err.Error()
			}
			if tt.newer == "" && said != "" || !strings.HasPrefix(said, file) && tt.newer != "" || !strings.Contains(said, tt.newer) {
				t.Errorf("said %q, want %q", said, tt.newer)
			}
			if strings.Contains(said, "\n") || tt.newer != "" && !strings.Contains(said, "install it") {
				t.Errorf("%q: want one line with a way out", said)
			}
			if !slices.Equal(d.arguments, tt.arguments) {
				t.Errorf("arguments %q, want %q", d.arguments, tt.arguments)
			}
		})
	}
}

func TestPlatformArguments(t *testing.T) {
	t.Parallel()
	got := platformArguments("linux", "arm64")
	for name, want := range map[string]string{"TARGETARCH": "arm64", "TARGETOS": "linux", "TARGETPLATFORM": "linux/arm64", "TARGETVARIANT": "", "BUILDARCH": "arm64", "BUILDPLATFORM": "linux/arm64"} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %q (%t), want %q", name, value, ok, want)
		}
	}
}

// Steps are shown as they come, but for those that the builder's cache has.
func TestBuildLog(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, output string
		all          bool
		want         []string
	}{
		{
			"classic", "Step 1/4 : FROM scratch\n ---> \nStep 2/4 : COPY a /\n ---> Using cache\n ---> 1\nStep 3/4 : RUN make\n ---> Running in 2\nhello\n ---> 3\nStep 4/4 : LABEL rackdns.up.image=x/y\n ---> Running in 4\nSuccessfully built 4\n",
			false, []string{"Step 3/4 : RUN make"},
		},
		{
			"BuildKit", "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n#2 [1/3] FROM docker.io/x\n#2 DONE 0.1s\n#3 [2/3] COPY a /\n#3 CACHED\n#4 [build 3/3] RUN make\n#4 0.1 hello\n#4 DONE 0.2s\n",
			false, []string{"[build 3/3] RUN make"},
		},
		{"everything", "Step 1/1 : FROM x\n\n ---> 1\nrest", true, []string{"Step 1/1 : FROM x", " ---> 1", "rest"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			log := &buildLog{all: tt.all, show: func(line string) { got = append(got, line) }}
			for _, b := range []byte(tt.output) {
				if _, err := log.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			if said := log.end(); said != tt.output {
				t.Errorf("said %q", said)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("shown %q, want %q", got, tt.want)
			}
		})
	}
}

func TestChooseRelease(t *testing.T) {
	t.Parallel()
	release := func(name, hash string) *registry.Release {
		return &registry.Release{Release: name, Components: map[string]registry.ReleaseComponent{"web": {Hash: hash}}}
	}
	runs := func(hash string) []*existing { return []*existing{{service: "web", hash: hash, running: true}} }
	three := []*registry.Release{release("R3", "3"), release("R2", "2"), release("R1", "1")}
	tests := []struct {
		name, asked string
		releases    []*registry.Release
		have        []*existing
		want        string
	}{
		{"the one before", "", three, runs("3"), "R2"},
		{"one by its name", "r1", three, runs("3"), "R1"},
		{"what runs is none of them", "", three, runs("4"), "R3"},
		{"nothing runs", "", three, nil, "R2"},
		{"no other", "", three[:1], runs("3"), "app shop: there is no release before this one to go back to"},
		{"none", "", nil, runs("3"), "app shop: there is no release before this one to go back to"},
		{"none of that name", "R9", three, nil, `app shop: has no release "R9" on this engine; rackdns releases shop lists those that it has`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := chooseRelease("shop", tt.releases, tt.asked, tt.have)
			got := fmt.Sprint(err)
			if err == nil {
				got = r.Release
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// The images of the present release and of three others before it are kept.
func TestImagesOf(t *testing.T) {
	t.Parallel()
	var releases []*registry.Release
	for _, image := range []string{"5", "5", "4", "5", "3", "2", "1"} {
		releases = append(releases, &registry.Release{Components: map[string]registry.ReleaseComponent{"web": {Image: image}}})
	}
	if got, want := imagesOf(releases)["web"], []string{"5", "4", "3", "2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
