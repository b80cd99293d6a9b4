package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"
)

func TestImageLabels(t *testing.T) {
	compose := labels{"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
	plus := func(all ...labels) labels {
		sum := labels{}
		for _, l := range all {
			maps.Copy(sum, l)
		}
		return sum
	}
	own := identity{"default", "web-1", "default"}
	tests := []struct {
		name string
		// The image's, and what was said at the container's creation.
		image, container labels
		env, own         map[string]string
		want             identity
		// remarks are the labels and variables that don't count, in order.
		remarks []string
		// all is who it is with --image-labels.
		all identity
	}{
		{name: "nothing", want: own, all: own},
		{name: "the container's", container: labels{"rackdns.app": "shop", "rackdns.service": "web", "rackdns.namespace": "s"},
			want: identity{"shop", "web", "s"}, all: identity{"shop", "web", "s"}},
		{name: "the image's", image: labels{"rackdns.app": "shop", "rackdns.service": "web", "rackdns.namespace": "s", "rackdns.weight": "100"},
			want:    own,
			remarks: []string{"label rackdns.app", "label rackdns.namespace", "label rackdns.service", "label rackdns.weight"},
			all:     identity{"shop", "web", "s"}},
		{name: "another value than the image's", image: labels{"rackdns.app": "shop", "rackdns.service": "x"}, container: labels{"rackdns.service": "web"},
			want: identity{"default", "web", "default"}, remarks: []string{"label rackdns.app"}, all: identity{"shop", "web", "shop"}},
		{name: "the image's value again", image: labels{"rackdns.service": "web"}, container: labels{"rackdns.service": "web"},
			want: own, remarks: []string{"label rackdns.service"}, all: identity{"default", "web", "default"}},
		{name: "convox", image: labels{"convox.app": "shop", "convox.name": "web", "convox.type": "build"},
			want: own, remarks: []string{"label convox.app", "label convox.name", "label convox.type"}},
		{name: "ignored by its image", image: labels{"rackdns.ignore": "true"},
			want: own, remarks: []string{"label rackdns.ignore"}},
		{name: "a database, links and the like", image: labels{"rackdns.resource": "postgres", "rackdns.links": "db", "connect.80": "web.shop", "rackdns.address": "host"},
			want: own, remarks: []string{"label connect.80", "label rackdns.address", "label rackdns.links", "label rackdns.resource"}, all: own},

		{name: "built by Compose and run by it", image: compose,
			container: plus(compose, labels{"com.docker.compose.config-hash": "1", "com.docker.compose.oneoff": "False"}),
			want:      identity{"shop", "web", "shop"}, all: identity{"shop", "web", "shop"}},
		{name: "built by Compose and run by hand", image: compose,
			want: own, remarks: []string{"label com.docker.compose.project", "label com.docker.compose.service"}, all: identity{"shop", "web", "shop"}},
		{name: "made of a container of Compose's", image: plus(compose, labels{"com.docker.compose.config-hash": "1", "com.docker.compose.oneoff": "True"}),
			want:    own,
			remarks: []string{"label com.docker.compose.oneoff", "label com.docker.compose.project", "label com.docker.compose.service"}},
		{name: "made of a container of Compose's, and run by it", image: plus(compose, labels{"com.docker.compose.config-hash": "1"}),
			container: plus(compose, labels{"com.docker.compose.config-hash": "2"}),
			want:      identity{"shop", "web", "shop"}, all: identity{"shop", "web", "shop"}},
		{name: "Compose says nothing of Swarm", image: labels{"com.docker.swarm.service.name": "victim_web", "com.docker.stack.namespace": "victim"},
			container: plus(compose, labels{"com.docker.compose.config-hash": "2"}),
			want:      identity{"shop", "web", "shop"}, remarks: []string{"label com.docker.stack.namespace", "label com.docker.swarm.service.name"}, all: identity{"victim", "web", "victim"}},
		{name: "run by rackdns up", image: labels{"rackdns.app": "shop", "rackdns.service": "web", "rackdns.namespace": "s"},
			container: labels{"rackdns.up.hash": "1", "rackdns.app": "shop", "rackdns.service": "web"},
			want:      identity{"shop", "web", "shop"}, remarks: []string{"label rackdns.namespace"}, all: identity{"shop", "web", "s"}},

		{name: "variables", env: map[string]string{"SERVICE_NAME": "web", "SERVICE_3000_NAME": "http", "SERVICE_TAGS": "a"},
			want: own, remarks: []string{"environment variable SERVICE_NAME"}, all: identity{"default", "web", "default"}},
		{name: "the container's variables", env: map[string]string{"SERVICE_NAME": "x"}, own: map[string]string{"SERVICE_NAME": "web"},
			want: identity{"default", "web", "default"}, all: identity{"default", "web", "default"}},
		{name: "a port's name is none of the service", env: map[string]string{"SERVICE_3000_NAME": "web"}, want: own, all: identity{"default", "web", "default"}},
		{name: "a port's name as a label", image: labels{"SERVICE_3000_NAME": "web"}, want: own, all: identity{"default", "web", "default"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, all := range []bool{false, true} {
				f := labelled(plus(tt.image, tt.container))
				f.env = plus(tt.env, tt.own)
				f.exposed = []portKey{{3000, "tcp"}}
				// As an inspector does.
				if c := (&imageConfig{labels: tt.image, env: tt.env}); f.inherits(all) {
					f.disown(c, all)
				}
				d := decide(f, testHome)
				want, remarks := tt.want, tt.remarks
				if all {
					want, remarks = tt.all, nil
				}
				if want == (identity{}) {
					if d.refusal == nil {
						t.Errorf("all labels: %t: it is registered", all)
					}
					continue
				}
				if d.refusal != nil {
					t.Fatalf("all labels: %t: %+v", all, d.refusal)
				}
				if got := (identity{d.instance.App, d.instance.Service, d.instance.Namespace}); got != want {
					t.Errorf("all labels: %t: %v, want %v", all, got, want)
				}
				var got []string
				for _, r := range d.remarks() {
					source, _, ok := strings.Cut(r, ": comes from the image")
					if !ok || !strings.Contains(r, "see --image-labels") {
						t.Errorf("remark %q", r)
					}
					got = append(got, source)
				}
				if diff := cmp.Diff(remarks, got); diff != "" {
					t.Errorf("all labels: %t: remarks (-want +got):\n%s", all, diff)
				}
				if !all && (d.instance.Weight != 1 || d.instance.Resource != nil || len(d.instance.Links)+len(d.instance.Connect) > 0) {
					t.Errorf("it has of its image: %+v", d.instance)
				}
			}
		})
	}
}

// What an image's own programs are like is for the image to say.
func TestImageLabelsThatCount(t *testing.T) {
	says := labels{"rackdns.port.9000": "metrics", "rackdns.health": "require", "rackdns.tags.az": "a", "SERVICE_TAGS": "b", "SERVICE_9001_NAME": "admin", "SERVICE_9002_IGNORE": "1"}
	f := labelled(says)
	f.exposed = []portKey{{9001, "tcp"}, {9002, "tcp"}}
	if !f.inherits(false) {
		t.Fatal("nobody asks for the image")
	}
	f.disown(&imageConfig{labels: says}, false)
	d := decide(f, testHome)
	if d.refusal != nil {
		t.Fatalf("%+v", d.refusal)
	}
	var ports []string
	for _, p := range d.instance.Ports {
		ports = append(ports, fmt.Sprint(p.Container, " ", p.Name))
	}
	if diff := cmp.Diff([]string{"9000 metrics", "9001 admin"}, ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if d.instance.Health != "starting" || len(d.instance.Tags) != 2 {
		t.Errorf("health %s, tags %v", d.instance.Health, d.instance.Tags)
	}
}

// No image is one of `rackdns up`'s.
func TestImageLabelsOfUpNeverCount(t *testing.T) {
	for _, all := range []bool{false, true} {
		f := labelled(labels{"rackdns.up.rack": "acme", "rackdns.up.number": "2"})
		if !f.inherits(all) {
			t.Fatal("nobody asks for the image")
		}
		f.disown(&imageConfig{labels: labels{"rackdns.up.rack": "acme", "rackdns.up.number": "1"}}, all)
		if diff := cmp.Diff(labels{"rackdns.up.number": "2"}, f.labels); diff != "" {
			t.Errorf("all labels: %t: (-want +got):\n%s", all, diff)
		}
	}
}

// imageEngine has one container and its image.
type imageEngine struct {
	labels map[string]string
	err    error
	asked  atomic.Int64
}

func (e *imageEngine) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	return container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{ID: testID, Name: "/web", Image: "sha256:1", State: &container.State{Status: "running", StartedAt: "2026-11-20T09:32:51Z"}},
		Config:            &container.Config{Labels: maps.Clone(e.labels)},
	}, nil
}

func (e *imageEngine) ServiceInspectWithRaw(context.Context, string, swarm.ServiceInspectOptions) (swarm.Service, []byte, error) {
	return swarm.Service{}, nil, errors.ErrUnsupported
}

func (e *imageEngine) NetworkInspect(context.Context, string, network.InspectOptions) (network.Inspect, error) {
	return network.Inspect{}, errors.New("not asked")
}

func (e *imageEngine) ImageInspect(context.Context, string, ...client.ImageInspectOption) (image.InspectResponse, error) {
	e.asked.Add(1)
	if e.err != nil {
		return image.InspectResponse{}, e.err
	}
	var r image.InspectResponse
	err := json.Unmarshal([]byte(`{"Config": {"Labels": {"rackdns.app": "victim"}}}`), &r)
	return r, err
}

func TestImageIsAskedForOnce(t *testing.T) {
	e := &imageEngine{labels: labels{"rackdns.app": "victim", "rackdns.service": "web"}}
	in := newInspector(e, false, false)
	app := func() string {
		t.Helper()
		f, err := in.inspect(t.Context(), testID)
		if err != nil {
			return err.Error()
		}
		f.mode = modeHost
		d := decide(f, testHome)
		if d.refusal != nil {
			return string(d.refusal.Reason)
		}
		return d.instance.App
	}
	e.err = errors.New("busy")
	if got := app(); !strings.Contains(got, "busy") {
		t.Errorf("an engine that doesn't tell of the image: %s, want another try", got)
	}
	e.err = nil
	for range 3 {
		if got := app(); got != "default" {
			t.Errorf("app %s", got)
		}
	}
	if n := e.asked.Load(); n != 2 {
		t.Errorf("asked for the image %d times", n)
	}
	// What is known of it is true for ever.
	e.err = cerrdefs.ErrNotFound
	if got := app(); got != "default" {
		t.Errorf("once the image is gone: %s", got)
	}
	in = newInspector(e, false, false)
	if got := app(); got != string(ReasonImage) {
		t.Errorf("of an image that was gone before: %s", got)
	}
	in = newInspector(e, true, false)
	if got := app(); got != "victim" {
		t.Errorf("with all labels: %s", got)
	}
	e.labels = labels{"org.example.team": "x", "rackdns.port.80": "http"}
	asked := e.asked.Load()
	in = newInspector(e, false, false)
	if got := app(); got != "default" || e.asked.Load() != asked {
		t.Errorf("without such labels: app %s, asked %d times", got, e.asked.Load()-asked)
	}
}

func TestImagesAreBounded(t *testing.T) {
	is := images{engine: &imageEngine{}, known: map[string]*imageConfig{}}
	for n := range 2 * maxImages {
		if _, err := is.get(t.Context(), fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	if len(is.known) != maxImages {
		t.Errorf("%d images are kept", len(is.known))
	}
}

// A real engine merges the labels of image and container.
func TestImageOfARealEngine(t *testing.T) {
	r := docker(t)
	content, err := workerTar()
	if err != nil {
		t.Fatal(err)
	}
	name := "rackdns-agent-test-labels:" + r.suffix
	out, err := r.cli.ImageImport(t.Context(), image.ImportSource{Source: bytes.NewReader(content), SourceName: "-"}, name, image.ImportOptions{Changes: []string{
		`ENTRYPOINT ["/worker"]`, `CMD ["wait"]`, `LABEL rackdns.app=victim rackdns.service=web rackdns.weight=100 rackdns.port.9000=metrics`, `ENV SERVICE_NAME=web`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, out)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.cli.ImageRemove(context.Background(), name, image.RemoveOptions{Force: true}) })
	run := func(what string, l labels) string {
		t.Helper()
		c, err := r.cli.ContainerCreate(t.Context(), &container.Config{Image: name, Labels: l}, nil, nil, nil, r.name(what))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.remove(t, c.ID) })
		r.start(t, c.ID)
		return c.ID
	}
	_, rec := r.agent(t, nil)
	plain, mine := run("of-image", nil), run("of-own", labels{"rackdns.app": "mine", "rackdns.weight": "7"})
	_, all := r.agent(t, func(c *Config) { c.ImageLabels = true })
	for _, tt := range []struct {
		rec  *recorder
		id   string
		want string
	}{
		{rec, plain, "default " + r.name("of-image") + " 1"},
		{rec, mine, "mine " + r.name("of-own") + " 7"},
		{all, plain, "victim web 100"},
		{all, mine, "mine web 7"},
	} {
		i := waitFor(t, tt.rec, tt.id, "start", serving)
		if got := fmt.Sprint(i.App, " ", i.Service, " ", i.Weight); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
		if len(i.Ports) != 1 || i.Ports[0].Name != "metrics" {
			t.Errorf("ports %v", i.Ports)
		}
	}
	x, err := Explain(t.Context(), Config{DockerHost: r.host, HostAddress: testHost, Node: "node-1"}, plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"label rackdns.app: comes from the image", "environment variable SERVICE_NAME: comes from the image", "--image-labels"} {
		if !strings.Contains(x.String(), want) {
			t.Errorf("explained without %q:\n%s", want, x)
		}
	}
}
