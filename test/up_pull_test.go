package test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"
	dockerregistry "github.com/docker/docker/api/types/registry"
	"github.com/google/go-containerregistry/pkg/registry"
)

// imageRegistry is a registry of images that lets in only who has its password.
type imageRegistry struct {
	t    *testing.T
	host string
	auth dockerregistry.AuthConfig
}

func newImageRegistry(t *testing.T) *imageRegistry {
	t.Helper()
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &imageRegistry{t: t, auth: dockerregistry.AuthConfig{Username: "somebody", Password: unique("secret")}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if user, password, _ := q.BasicAuth(); user != r.auth.Username || password != r.auth.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	r.host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// push has the registry have an image of the engine's under a name, which the
// engine forgets.
func (r *imageRegistry) push(from, name string) string {
	r.t.Helper()
	cli, ctx, ref := engine(r.t), engineContext(r.t), r.host+"/"+name
	auth, err := dockerregistry.EncodeAuthConfig(r.auth)
	if err == nil {
		err = cli.ImageTag(ctx, from, ref)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := cli.ImagePush(ctx, ref, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	said, err := io.ReadAll(out)
	if err != nil || strings.Contains(string(said), `"error"`) {
		r.t.Fatalf("push %s: %v\n%s", ref, err, said)
	}
	if _, err := cli.ImageRemove(ctx, ref, image.RemoveOptions{}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		// It is there again if it was pulled.
		_, _ = cli.ImageRemove(engineContext(r.t), ref, image.RemoveOptions{Force: true})
	})
	return ref
}

// configured makes a directory with a configuration of the docker command's that
// leaves the registry's password to a helper, and returns what has a command find
// both.
func (r *imageRegistry) configured() []string {
	r.t.Helper()
	dir := r.t.TempDir()
	secret, err := json.Marshal(map[string]string{"ServerURL": r.host, "Username": r.auth.Username, "Secret": r.auth.Password})
	if err != nil {
		r.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config.json":                    fmt.Sprintf(`{"credHelpers": {%q: "rackdns-test"}}`, r.host),
		"docker-credential-rackdns-test": "#!/bin/sh\ncat >/dev/null\necho '" + string(secret) + "'\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			r.t.Fatal(err)
		}
	}
	return []string{"DOCKER_CONFIG=" + dir, "PATH=" + dir + ":" + os.Getenv("PATH")}
}

// Images are pulled with the credentials that the docker command has, by a helper
// too; those that builds begin with as well; and newer ones when they are wanted.
func TestUpPulls(t *testing.T) {
	t.Parallel()
	files, entrypoint, err := testFiles()
	if err != nil {
		t.Fatal(err)
	}
	var images [2]string
	for n := range images {
		images[n], err = importImage(fmt.Sprintf("rackdns-test-pull%d:%s", n, runID), files, entrypoint, fmt.Sprintf("LABEL number=%d", n))
		if err != nil {
			t.Fatal(err)
		}
	}
	r := newImageRegistry(t)
	a := newApp(t, startRack(t, newBridge(t)))
	web, base := r.push(images[0], "web:1"), r.push(images[1], "base:1")
	a.buildable("built", "FROM "+base, "COPY Dockerfile /")
	a.write("convox.yml", fmt.Sprintf("services: {web: {image: %q, port: 3000}, built: {build: built, port: 3000}}\n", web))

	// The engine asks the registry for what is not there, so no credentials is no
	// image.
	a.refused("service web: image "+web+": is not on this engine and can't be pulled: ", "up")
	a.env = r.configured()
	out := a.run("up")
	for _, want := range []string{"web      pulling " + web + "\n", "built    | pulling base:1\n", "built    | Step 2/3 : COPY Dockerfile /\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("up printed\n%s\nwithout %q", out, want)
		}
	}
	first := a.one("web")

	r.push(images[1], "web:1")
	if err := a.cli.ImageTag(engineContext(t), images[0], web); err != nil {
		t.Fatal(err)
	}
	a.run("up")
	if got := a.one("web"); got.id != first.id {
		t.Errorf("container %s took the place of %s, though nobody asked for a newer image", got.name, first.name)
	}
	a.run("up", "--pull")
	if got := a.one("web").inspect().Config.Labels["number"]; got != "1" {
		t.Errorf("with --pull it runs image %s, want the one that the registry has now", got)
	}
	a.run("down", "--images")
}

// plugin stands where docker buildx does and is called as it is. It builds with
// the only builder that is there.
const plugin = `#!/bin/sh
dir=$(dirname "$0")
if [ "$1" = docker-cli-plugin-metadata ]; then
	echo '{"SchemaVersion": "0.1.0", "Vendor": "rackdns", "Version": "test"}'
	exit
fi
echo "$@" >"$dir/args"
env >"$dir/env"
shift 2
for arg; do
	shift
	case $arg in --load|--progress|plain) ;; *) set -- "$@" "$arg" ;; esac
done
echo "#5 [stage-0 2/3] COPY . /"
DOCKER_BUILDKIT=0 DOCKER_CONFIG=/nonexistent docker build "$@" >"$dir/out" 2>&1 || { tail -1 "$dir/out" | sed 's/^/ERROR: failed to build: /'; exit 1; }
echo "#5 DONE 0.1s"
`

// Where docker buildx is there it builds, called as the docker command calls it;
// without it the classic builder does, and says what it can't.
func TestUpBuildsWithPlugin(t *testing.T) {
	t.Parallel()
	needTool(t, "docker")
	a := newApp(t, startRack(t, newBridge(t)))
	a.buildable("web", "FROM scratch", "COPY --chmod=755 . /", `ENTRYPOINT ["/container"]`)
	a.write("convox.yml", "services: {web: {build: {path: web, args: {TOKEN: sesame}}, port: 3000}}\n")
	none := t.TempDir()
	a.env = []string{"DOCKER_CONFIG=" + none}
	a.refused("service web: build web: web/Dockerfile:2: COPY --chmod needs BuildKit, and there is no docker buildx", "up")

	a.write("web/Dockerfile", "FROM scratch\nARG TARGETARCH\nARG TARGETPLATFORM=none\nCOPY . /\nENTRYPOINT [\"/container\"]\nLABEL arch=$TARGETARCH platform=$TARGETPLATFORM\n")
	dir := filepath.Join(t.TempDir(), "cli-plugins")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker-buildx"), []byte(plugin), 0o700); err != nil {
		t.Fatal(err)
	}
	a.env = []string{"DOCKER_CONFIG=" + filepath.Dir(dir)}
	out := a.run("up")
	if want := "web      | [stage-0 2/3] COPY . /\n"; !strings.Contains(out, want) {
		t.Errorf("up printed\n%s\nwithout %q", out, want)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil {
		t.Fatal(err)
	}
	prefix := "rackdns-" + a.rack.name + "/" + a.name + ".web:"
	want := "buildx build --load --progress plain --tag " + prefix + "building-"
	if !strings.HasPrefix(string(args), want) || !strings.Contains(string(args), " --build-arg TOKEN ") || strings.Contains(string(args), "sesame") {
		t.Errorf("called with %s\nwant %s…, and the name alone of an argument", args, want)
	}
	environ, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"BUILDX_BUILDER=default\n", "DOCKER_HOST=" + a.cli.DaemonHost() + "\n", "TOKEN=sesame\n", "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND=docker\n"} {
		if !strings.Contains(string(environ), want) {
			t.Errorf("called without %s", want)
		}
	}
	first := a.one("web")
	if got := first.inspect().Config; !strings.HasPrefix(got.Image, prefix) || strings.Contains(got.Image, "building") || len(a.images()) != 1 {
		t.Errorf("it runs image %s of %v, want one named by its ID", got.Image, a.images())
	}

	// DOCKER_BUILDKIT=0 means the classic builder, as for the docker command. It is
	// told what BuildKit knows by itself.
	a.env = append(a.env, "DOCKER_BUILDKIT=0")
	a.run("up")
	info, err := a.cli.ServerVersion(engineContext(t))
	if err != nil {
		t.Fatal(err)
	}
	labels := a.one("web").inspect().Config.Labels
	if labels["arch"] != info.Arch || labels["platform"] != info.Os+"/"+info.Arch {
		t.Errorf("TARGETARCH is %q and TARGETPLATFORM %q, want %s and %s/%[3]s", labels["arch"], labels["platform"], info.Arch, info.Os)
	}

	a.env = a.env[:1]
	a.write("web/Dockerfile", "FROM scratch\nCOPY no-such-file /\n")
	a.refused("service web: build web: ", "up")
	if n := len(a.images()); n != 2 {
		t.Errorf("images %v, want two", a.images())
	}
	a.run("down", "--images")
	if left := a.images(); len(left) > 0 {
		t.Errorf("images %v are left", left)
	}
}
