package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rackdns/rackdns/internal/manifest"
)

// full has every key that is read, in every form.
const full = `
environment:
  - LOG_LEVEL=info
  - SECRET
resources:
  db:
    type: postgres
    options:
      storage: 20
  files: {type: efs}
services:
  web:
    build: ./web
    command: bin/web --name "my shop"
    port: https:3001
    ports: [5000, 53/udp, "tcp:6000", 3001]
    links: [worker, web]
    resources: [db, "db:DATABASE_URI", files]
    environment:
      DEBUG: true
      EMPTY: ""
      ASKED:
    scale: {count: 3}
    health: {path: /check, grace: 10, interval: 2s, timeout: 500ms}
    internal: true
    labels: [a=b=c, "d="]
  worker:
    build:
      path: worker
      manifest: Dockerfile.worker
      args: [VERSION=1]
      target: run
    command: [bin/work, ""]
    port: {port: 7000, scheme: grpc}
    scale: 0
    health: /up
    labels: {team: x}
  plain:
    image: example/plain
    port: 3000
    scale:
`

func TestParse(t *testing.T) {
	t.Parallel()
	rolling := manifest.Deployment{Minimum: 50, Maximum: 200}
	want := &manifest.Manifest{
		File:        "convox.yml",
		Environment: []manifest.Variable{{Name: "LOG_LEVEL", Value: "info", Set: true}, {Name: "SECRET"}},
		Resources: []manifest.Resource{
			{Name: "db", Type: "postgres", Options: map[string]string{"storage": "20"}},
			{Name: "files", Type: "efs"},
		},
		Services: []manifest.Service{{
			Name:    "web",
			Build:   &manifest.Build{Path: "./web", Dockerfile: "Dockerfile"},
			Command: []string{"bin/web", "--name", "my shop"},
			Port:    &manifest.Port{Number: 3001, Protocol: "tcp", Scheme: "https"},
			Ports: []manifest.Port{
				{Number: 3001, Protocol: "tcp", Scheme: "https"}, {Number: 5000, Protocol: "tcp"},
				{Number: 53, Protocol: "udp"}, {Number: 6000, Protocol: "tcp", Scheme: "tcp"},
			},
			Links:     []string{"worker", "web"},
			Resources: []manifest.ResourceRef{{Name: "db"}, {Name: "db", Env: "DATABASE_URI"}, {Name: "files"}},
			Environment: []manifest.Variable{
				{Name: "DEBUG", Value: "true", Set: true}, {Name: "EMPTY", Set: true}, {Name: "ASKED"},
			},
			Count:    3,
			Health:   &manifest.Health{Path: "/check", Grace: 10 * time.Second, Interval: 2 * time.Second, Timeout: 500 * time.Millisecond},
			Internal: true,
			Labels:   map[string]string{"a": "b=c", "d": ""},

			Deployment: rolling,
		}, {
			Name:    "worker",
			Build:   &manifest.Build{Path: "worker", Dockerfile: "Dockerfile.worker", Args: map[string]string{"VERSION": "1"}, Target: "run"},
			Command: []string{"bin/work", ""},
			Port:    &manifest.Port{Number: 7000, Protocol: "tcp", Scheme: "grpc"},
			Ports:   []manifest.Port{{Number: 7000, Protocol: "tcp", Scheme: "grpc"}},
			Health:  &manifest.Health{Path: "/up", Grace: 5 * time.Second, Interval: 5 * time.Second, Timeout: 4 * time.Second},
			Labels:  map[string]string{"team": "x"},

			Deployment: rolling,
		}, {
			Name:  "plain",
			Image: "example/plain",
			Port:  &manifest.Port{Number: 3000, Protocol: "tcp", Scheme: "http"},
			Ports: []manifest.Port{{Number: 3000, Protocol: "tcp", Scheme: "http"}},
			Count: 1,

			Deployment: rolling,
		}},
	}
	path := filepath.Join(t.TempDir(), "convox.yml")
	if err := os.WriteFile(path, []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := manifest.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want.File = path
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(manifest.Service{}, "Line"), cmpopts.IgnoreFields(manifest.Resource{}, "Line"),
		cmpopts.IgnoreFields(manifest.ResourceRef{}, "Line"), cmpopts.IgnoreFields(manifest.Variable{}, "Line"),
		cmpopts.IgnoreFields(manifest.Manifest{}, "Source")); d != "" {
		t.Error(d)
	}
	for what, lines := range map[string][2]int{
		"service":  {got.Services[0].Line, 12},
		"resource": {got.Resources[1].Line, 10},
		"ref":      {got.Services[0].Resources[2].Line, 18},
		"variable": {got.Services[0].Environment[2].Line, 22},
	} {
		if lines[0] != lines[1] {
			t.Errorf("%s: in line %d, want %d", what, lines[0], lines[1])
		}
	}
}

// Aliases and merge keys are as good as what they stand for.
func TestAliases(t *testing.T) {
	t.Parallel()
	m, err := manifest.Parse("convox.yml", []byte(`
x-base: &base
  image: example/base
  port: 3000
  environment: &env {A: 1, B: 2}
x-more: &more {image: example/more, scale: 2}
services:
  web: *base
  own:
    <<: *base
    image: example/own
    environment:
      <<: *env
      B: 3
  both:
    <<: [*more, *base]
    links: [web]
`))
	if err != nil {
		t.Fatal(err)
	}
	type short struct {
		Name, Image string
		Port        uint16
		Count       int
		Environment string
	}
	var got []short
	for _, s := range m.Services {
		env := ""
		for _, v := range s.Environment {
			env += v.Name + "=" + v.Value + " "
		}
		got = append(got, short{s.Name, s.Image, s.Port.Number, s.Count, env})
	}
	want := []short{
		{"web", "example/base", 3000, 1, "A=1 B=2 "},
		{"own", "example/own", 3000, 1, "B=3 A=1 "},
		{"both", "example/more", 3000, 2, "A=1 B=2 "},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	m, err := manifest.Parse("convox.yml", []byte(`services:
  web:
    image: example/web
    domain: ${HOST}
    sticky: true
    colour: red
    x-colour: {deep: [red]}
    scale: {count: 2-5, targets: {cpu: 1}, x-y: 1, velocity: 1}
    "a\nb": 1
  x-web:
    image: nothing
colour: red
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Services) != 1 || m.Services[0].Count != 2 {
		t.Errorf("services: %v, want one with the least of the range", m.Services)
	}
	want := []string{
		`convox.yml:6: services.web.colour: is not a key that is known`,
		`convox.yml:8: services.web.scale.velocity: is not a key that is known`,
		`convox.yml:9: services.web."a\nb": is not a key that is known`,
		`convox.yml:12: colour: is not a key that is known`,
	}
	if d := cmp.Diff(want, m.Warnings); d != "" {
		t.Error(d)
	}
	var ignored []string
	for _, i := range m.Ignored {
		ignored = append(ignored, i.Key, i.Line)
	}
	wantIgnored := []string{
		`domain`, `convox.yml:4: services.web.domain: has no effect: no load balancer is made here; names lead to the instances themselves`,
		`sticky`, `convox.yml:5: services.web.sticky: has no effect: no load balancer is made here; names lead to the instances themselves`,
		`the range of scale`, `convox.yml:8: services.web.scale.count: has no effect: nothing scales by itself here; the least number runs`,
		`targets`, `convox.yml:8: services.web.scale.targets: has no effect: nothing scales by itself here; the least number runs`,
	}
	if d := cmp.Diff(wantIgnored, ignored); d != "" {
		t.Error(d)
	}
}

// service is a file with one service, web, that has an image, in line 2, and
// what is given, from line 3 on.
func service(keys ...string) string {
	return "services:\n  web: {image: example/web, " + strings.Join(keys, ",\n  ") + "}\n"
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", `convox.yml: is empty`},
		{"only a comment", "# nothing\n", `convox.yml: is empty`},
		{"only null", "---\n", `convox.yml: is empty`},
		{"a list", "- web\n", `convox.yml:1: want a map, not a list`},
		{"syntax", "services:\n  web: [\n", `convox.yml:3: did not find expected node content`},
		{"a tab", "services:\n\tweb:\n", `convox.yml:2: found character that cannot start any token`},
		{"not UTF-8", "services: \xff", `convox.yml: invalid leading UTF-8 octet (value: 255)`},
		{"two documents", service() + "---\na: 1\n", `convox.yml:3: a second document; want only one`},
		{"no services", "resources: {}\n", `convox.yml:1: services: there is none`},
		{"services null", "services:\n", `convox.yml:1: services: there is none`},
		{"services a list", "services: [web]\n", `convox.yml:1: services: want a map, not a list`},
		{"key twice", "services:\n  web: {image: a}\n  web: {image: b}\n", `convox.yml:3: services.web: is there twice, first in line 2`},
		{"key a map", "services:\n  ? {a: b}\n  : c\n", `convox.yml:2: services: a key must be a single value, not a map`},
		{"key null", "services: {~: {}}\n", `convox.yml:1: services: a key must be a single value, not nothing`},
		{"unknown alias", "services: *x\n", `convox.yml:1: an alias of nothing; put a value that begins with * in quotes`},
		{"a value that is an alias to YAML", service("environment: {A: *s3cret}"), `convox.yml:2: an alias of nothing; put a value that begins with * in quotes`},
		{"a value that is a tag to YAML", service("environment: {A: !s3cret word}"), `convox.yml:2: a tag, which has no meaning here; put a value that begins with ! in quotes`},
		{"a value that is nothing but a tag", service("environment: {A: !s3cret }"), `convox.yml:2: a tag, which has no meaning here; put a value that begins with ! in quotes`},
		{"binary", service("environment: {A: !!binary aGk=}"), `convox.yml:2: a tag, which has no meaning here; put a value that begins with ! in quotes`},
		{"alias of itself", "services: &x\n  web: *x\n", `convox.yml:2: alias *x: stands for something that holds itself`},
		{"merges itself", "services: &x\n  <<: *x\n", `convox.yml:2: alias *x: stands for something that holds itself`},
		{"merges a list", "services: {<<: [a]}\n", `convox.yml:1: services.<<: want a map or a list of maps, not a single value`},

		{"capital in a name", "services: {Web: {}}\n", `convox.yml:1: services.Web: "Web" can't name a service: only a-z, 0-9 and dashes, beginning with a letter, can`},
		{"digit first", "services: {1web: {}}\n", `convox.yml:1: services.1web: "1web" can't name a service: only a-z, 0-9 and dashes, beginning with a letter, can`},
		{"dash last", "services: {web-: {}}\n", `convox.yml:1: services.web-: service "web-": only a-z, 0-9 and inner dashes make a DNS label`},
		{"long name", "services: {" + strings.Repeat("a", 64) + ": {}}\n", `convox.yml:1: services."` + strings.Repeat("a", 64) + `": service "` + strings.Repeat("a", 64) + `": longer than 63 characters`},
		{"rack", "services: {rack: {}}\n", `convox.yml:1: services.rack: the rack reserves the service name rack`},
		{"host", "services: {host: {}}\n", `convox.yml:1: services.host: the rack reserves the service name host`},

		{"image a list", "services: {web: {image: [a]}}\n", `convox.yml:1: services.web.image: want a single value, not a list`},
		{"image empty", "services: {web: {image: ''}}\n", `convox.yml:1: services.web.image: is empty`},
		{"build a list", service("build: [.]"), `convox.yml:2: services.web.build: want a map, not a list`},
		{"two Dockerfiles", service("build: {manifest: a, dockerfile: b}"), `convox.yml:2: services.web.build.dockerfile: says the same as manifest; give one of them`},
		{"build argument without a value", service("build: {args: [A]}"), `convox.yml:2: services.web.build.args.A: has no value`},
		{"open quote", service(`command: "a 'b"`), `convox.yml:2: services.web.command: no shell understands it: a quote, a bracket or the like is not closed, or something is missing behind an operator`},
		{"no command", service(`command: ""`), `convox.yml:2: services.web.command: is empty`},
		{"empty command", service(`command: []`), `convox.yml:2: services.web.command: is empty`},

		{"port a name", service("port: http"), `convox.yml:2: services.web.port: "http" is not a port`},
		{"port 0", service("port: 0"), `convox.yml:2: services.web.port: "0" is not a port`},
		{"port too high", service("port: 65536"), `convox.yml:2: services.web.port: "65536" is not a port`},
		{"port a fraction", service("port: 3000.0"), `convox.yml:2: services.web.port: "3000.0" is not a port`},
		{"port hexadecimal", service("port: 0x0BB8"), `convox.yml:2: services.web.port: "0x0BB8" is not a port`},
		{"port a power", service("port: 1e3"), `convox.yml:2: services.web.port: "1e3" is not a port`},
		{"port octal", service("port: 0777"), `convox.yml:2: services.web.port: "0777" is not a port`},
		{"port of a host", service("port: '80:3000'"), `convox.yml:2: services.web.port: "80:3000" is not a port`},
		{"port of sctp", service("port: 80/sctp"), `convox.yml:2: services.web.port: "sctp" is not a protocol; want tcp or udp`},
		{"udp over tcp", service("port: 'udp:53/tcp'"), `convox.yml:2: services.web.port: "udp:53/tcp" is not a port`},
		{"port without a number", service("port: {scheme: https}"), `convox.yml:2: services.web.port: has no port`},
		{"scheme", service("port: {port: 1, scheme: 'a b'}"), `convox.yml:2: services.web.port.scheme: "a b" is not the scheme of a URL, such as https`},
		{"port twice", service("ports: [80, 80/tcp]"), `convox.yml:2: services.web.ports: 80/tcp is there twice`},
		{"scheme that is too long to name its port", service("port: {port: 1, scheme: a-scheme-of-16-c}"), `convox.yml:2: services.web.port.scheme: scheme "a-scheme-of-16-c": the name of a port has 15 characters at most (RFC 6335)`},
		{"scheme of a port with two dashes", service("ports: ['a--b:80']"), `convox.yml:2: services.web.ports: scheme "a--b": the name of a port has no two dashes side by side (RFC 6335)`},
		{"port of two schemes", service("port: 80", "ports: ['https:80']"), `convox.yml:2: services.web.ports: 80 is https here, and http as the service's port`},
		{"ports a text", service("ports: 80"), `convox.yml:2: services.web.ports: want a list, not a single value`},

		{"link to nothing", service("port: 1", "links: [db]"), `convox.yml:3: services.web.links: service web links to a service that does not exist: db`},
		{"link without a port", service("links: [web]"), `convox.yml:2: services.web.links: service web links to a service without a port: web`},
		{"link with an alias", service("port: 1", "links: ['web:www']"), `convox.yml:3: services.web.links: "web:www": a link has no other name than its service's; want "web"`},
		{"link with a bad name", service("links: [We]"), `convox.yml:2: services.web.links: "We" can't name a service: only a-z, 0-9 and dashes, beginning with a letter, can`},
		{"links a text", service("links: web"), `convox.yml:2: services.web.links: want a list, not a single value`},
		{"link twice", service("port: 1", "links: [web, web]"), `convox.yml:3: services.web.links: link web and link web both give WEB_URL`},

		{"no such resource", service("resources: [db]"), `convox.yml:2: services.web.resources: service web references a resource that does not exist: db`},
		{"link and resource", service("port: 1", "links: [web]", "resources: [web]") + "resources: {web: {type: redis}}\n", `convox.yml:4: services.web.resources: link web and resource web both give WEB_URL`},
		{"two resources", service("resources: [a, 'b:A_HOST']") + "resources: {a: {type: redis}, b: {type: redis}}\n", `convox.yml:2: services.web.resources: resource a and resource b both give A_HOST`},
		{"variable of the rack", service("resources: ['a:PORT']") + "resources: {a: {type: redis}}\n", `convox.yml:2: services.web.resources: resource a: the rack itself gives PORT`},
		{"bad variable", service("resources: ['a:B-C']"), `convox.yml:2: services.web.resources: "a:B-C": "B-C" is not the name of an environment variable`},
		{"unknown type", "resources: {q: {type: kafka}}\n", `convox.yml:1: resources.q.type: "kafka" is not a type of resource; want efs, mariadb, memcached, mysql, postgres or redis`},
		{"no type", "resources: {q: {}}\n", `convox.yml:1: resources.q: has no type; want efs, mariadb, memcached, mysql, postgres or redis`},
		{"option a list", "resources: {q: {type: redis, options: {a: []}}}\n", `convox.yml:1: resources.q.options.a: want a single value, not a list`},
		{"resource's name", "resources: {q_1: {type: redis}}\n", `convox.yml:1: resources.q_1: "q_1" can't name a resource: only a-z, 0-9 and dashes, beginning with a letter, can`},

		{"bad name of a variable", service("environment: [A-B=secret]"), `convox.yml:2: services.web.environment: not the name of an environment variable: only letters, digits and underscores, not beginning with a digit, make one`},
		{"variable twice", service("environment: [A=1,\n A=2]"), `convox.yml:3: services.web.environment.A: is there twice, first in line 2`},
		{"secret twice in the place of a name", service("environment: [s3cret word,\n s3cret word]"), `convox.yml:3: services.web.environment: is there twice, first in line 2`},
		{"secret in the place of a name", service("environment: {s3cret word: []}"), `convox.yml:2: services.web.environment: want a single value, not a list`},
		{"option in the place of a value", "resources: {q: {type: redis, options: [password s3cret]}}\n", `convox.yml:1: resources.q.options: has no value`},
		{"value a list", service("environment: {A: [1]}"), `convox.yml:2: services.web.environment.A: want a single value, not a list`},
		{"environment a text", service("environment: A"), `convox.yml:2: services.web.environment: want a map or a list, not a single value`},
		{"NUL", service(`environment: {A: "a\0b"}`), `convox.yml:2: services.web.environment.A: holds a NUL, which no process can be given`},

		{"scale", service("scale: many"), `convox.yml:2: services.web.scale: "many" is not a number of instances, 0 to 1000`},
		{"scale negative", service("scale: -1"), `convox.yml:2: services.web.scale: "-1" is not a number of instances, 0 to 1000`},
		{"a typo at the top", "servcies: {}\n", `convox.yml:1: servcies: is not a key; did you mean services?`},
		{"a typo", service("environmnt: [A=1]"), `convox.yml:2: services.web.environmnt: is not a key; did you mean environment?`},
		{"a typo of a short key", service("prot: 1"), `convox.yml:2: services.web.prot: is not a key; did you mean port?`},
		{"letters of another size", service("Port: 1"), `convox.yml:2: services.web.Port: is not a key; did you mean port?`},
		{"another spelling", service("grpc_health_enabled: true"), `convox.yml:2: services.web.grpc_health_enabled: is not a key; did you mean grpcHealthEnabled?`},
		{"a typo further below", service("health: {intervall: 1}"), `convox.yml:2: services.web.health.intervall: is not a key; did you mean interval?`},
		{"a typo of a type", "resources: {q: {type: postgers}}\n", `convox.yml:1: resources.q.type: "postgers" is not a type of resource; did you mean postgres?`},
		{"a type of a cloud", "resources: {q: {type: rds-mysql}}\n", `convox.yml:1: resources.q.type: "rds-mysql" is not a type of resource; want mysql, or give the URL of the one in the cloud in the app's environment`},
		{"a typo of a protocol", service("ports: [53/upd]"), `convox.yml:2: services.web.ports: "upd" is not a protocol; did you mean udp?`},
		{"a typo of a protocol in a map", service("ports: [{port: 53, protocol: tpc}]"), `convox.yml:2: services.web.ports.protocol: "tpc" is not a protocol; did you mean tcp?`},
		{"a key of Compose", service("healthcheck: {}"), `convox.yml:2: services.web.healthcheck: is a key of Compose files: want health`},
		{"refused", service("whitelist: 10.0.0.0/8"), `convox.yml:2: services.web.whitelist: nothing stands before the service that could keep others out: make it internal, or use the host's firewall`},
		{"a key twice in a service", service("port: 1", "port: 2"), `convox.yml:3: services.web.port: is there twice, first in line 2`},

		{"a command that ends too early", service(`command: "a &&"`), `convox.yml:2: services.web.command: no shell understands it: a quote, a bracket or the like is not closed, or something is missing behind an operator`},
		{"a volume that is no path", service("volumes: [data]"), `convox.yml:2: services.web.volumes: "data" is not a volume: want /path, NAME:/path or /host/path:/path, and :ro behind it where nothing is to be written`},
		{"a volume at a relative path", service("volumes: ['data:data']"), `convox.yml:2: services.web.volumes: "data:data" is not a volume: want /path, NAME:/path or /host/path:/path, and :ro behind it where nothing is to be written`},
		{"a volume with a bad name", service("volumes: ['My_Data:/data']"), `convox.yml:2: services.web.volumes: "My_Data:/data" is not a volume: only a-z, 0-9 and dashes, beginning with a letter, can name one`},
		{"a home", service("volumes: ['~/data:/data']"), `convox.yml:2: services.web.volumes: "~/data:/data" begins with ~, which depends on who is asked: write the whole path`},
		{"two volumes at one place", service("volumes: [/data,\n 'b:/data/']"), `convox.yml:3: services.web.volumes: "/data" is there twice, first in line 2`},
		{"a volume at the root", service("volumes: ['a:/']"), `convox.yml:2: services.web.volumes: nothing can be mounted at /`},
		{"a volume option of neither kind", service("volumeOptions: [{}]"), `convox.yml:2: services.web.volumeOptions: want emptyDir or awsEfs`},
		{"a volume option without a place", service("volumeOptions: [{emptyDir: {id: a}}]"), `convox.yml:2: services.web.volumeOptions: has no mountPath`},
		{"a medium", service("volumeOptions: [{emptyDir: {medium: Disk}}]"), `convox.yml:2: services.web.volumeOptions.emptyDir.medium: "Disk" is no medium; want Memory, or none`},

		{"cpu", service("scale: {cpu: half}"), `convox.yml:2: services.web.scale.cpu: "half" is not a whole number, 2 to 262144`},
		{"memory", service("scale: {memory: 512m}"), `convox.yml:2: services.web.scale.memory: "512m" is not a whole number, 6 to 1073741824`},
		{"memory over its limit", service("scale: {memory: 512, limit: {memory: 256}}"), `convox.yml:2: services.web.scale: memory 512 is more than its limit, 256`},
		{"gpu", service("scale: {gpu: 1}"), `convox.yml:2: services.web.scale.gpu: containers are given no GPU here; run the service on a host by docker run --gpus, its name is found all the same`},
		{"a range that ends before it begins", service("scale: 3-1"), `convox.yml:2: services.web.scale: "3-1" is not a number of instances, 0 to 1000`},
		{"two counts", service("scale: {count: 1, min: 1}"), `convox.yml:2: services.web.scale.min: says the same as count; give one of them`},
		{"deployment", service("deployment: {minimum: 101}"), `convox.yml:2: services.web.deployment.minimum: "101" is not a whole number, 0 to 100`},
		{"a deployment that changes nothing", service("deployment: {minimum: 100, maximum: 100}"), `convox.yml:2: services.web.deployment: with minimum and maximum 100 nothing could ever be replaced`},
		{"two of a singleton", service("singleton: true", "deployment: {maximum: 200}"), `convox.yml:2: services.web.deployment: a singleton can have no second instance meanwhile: want maximum 100`},
		{"drain", service("drain: long"), `convox.yml:2: services.web.drain: "long" is not a time, such as 5 (seconds) or 500ms`},
		{"ndots", service("dnsConfig: {ndots: 16}"), `convox.yml:2: services.web.dnsConfig.ndots: "16" is not a whole number, 1 to 15`},

		{"liveness without a path", service("port: 1", "liveness: {grace: 1}"), `convox.yml:3: services.web.liveness: has no path`},
		{"liveness without a port", service("liveness: {path: /}"), `convox.yml:2: services.web.liveness: there is no port to check`},
		{"health over UDP", service("port: 53/udp", "health: /"), `convox.yml:3: services.web.health: there is no port to check`},

		{"timer without a service", service() + "timers: {a: {schedule: '* * * * *'}}\n", `convox.yml:3: timers.a: has no service`},
		{"timer without a schedule", service() + "timers: {a: {service: web}}\n", `convox.yml:3: timers.a: has no schedule`},
		{"timer of nothing", service() + "timers: {a: {service: wep, schedule: '* * * * *'}}\n", `convox.yml:3: timers.a.service: timer a runs a service that does not exist: "wep"`},
		{"timer at no time", service() + "timers: {a: {service: web, schedule: '61 * * * *'}}\n", `convox.yml:3: timers.a.schedule: "61 * * * *" is not a schedule of cron: end of range (61) above maximum (59): 61`},
		{"timer of four fields", service() + "timers: {a: {service: web, schedule: '* * * *'}}\n", `convox.yml:3: timers.a.schedule: "* * * *" has 4 fields; want five: minute, hour, day, month, weekday`},
		{"timer of one year", service() + "timers: {a: {service: web, schedule: '0 0 1 1 ? 2030'}}\n", `convox.yml:3: timers.a.schedule: "0 0 1 1 ? 2030": the sixth field, the year, can only be *`},
		{"timer at a weekday of version 2", service() + "timers: {a: {service: web, schedule: '0 0 ? * 2 *'}}\n", `convox.yml:3: timers.a.schedule: "0 0 ? * 2 *": with six fields 1 is Sunday, with five it is Monday: write the day's name, such as MON`},
		{"concurrency", service() + "timers: {a: {service: web, schedule: '* * * * *', concurrency: never}}\n", `convox.yml:3: timers.a.concurrency: "never" is not one; want allow, forbid or replace`},

		{"scale huge", service("scale: {count: 1001}"), `convox.yml:2: services.web.scale.count: "1001" is not a number of instances, 0 to 1000`},
		{"internal", service("internal: maybe"), `convox.yml:2: services.web.internal: "maybe" is neither true nor false`},
		{"label without a value", service("labels: [a]"), `convox.yml:2: services.web.labels.a: has no value`},
		{"label without a name", service("labels: ['=a']"), `convox.yml:2: services.web.labels: a value without a name`},
		{"health without a port", service("health: /"), `convox.yml:2: services.web.health: there is no port to check`},
		{"health's path", service("port: 1", "health: check"), `convox.yml:3: services.web.health: "check" is not the path of a URL, such as /check`},
		{"health's time", service("port: 1", "health: {grace: soon}"), `convox.yml:3: services.web.health.grace: "soon" is not a time, such as 5 (seconds) or 500ms`},
		{"health never", service("port: 1", "health: {interval: 0}"), `convox.yml:3: services.web.health.interval: "0" is not a time, such as 5 (seconds) or 500ms`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := manifest.Parse("convox.yml", []byte(c.file))
			if err == nil || err.Error() != c.want {
				t.Errorf("%v\nwant %s\nof\n%s", err, c.want, c.file)
			}
		})
	}
	if _, err := manifest.Read(filepath.Join(t.TempDir(), "convox.yml")); !os.IsNotExist(err) {
		t.Errorf("a file that isn't there: %v", err)
	}
}

// bomb is a file of a few lines that stands for 8 to the power of 20 values,
// below the key that is given.
func bomb(key string) string {
	var b strings.Builder
	b.WriteString(key + ":\n  a0: &a0 [x, x, x, x, x, x, x, x]\n")
	for n := range 20 {
		fmt.Fprintf(&b, "  a%d: &a%[1]d [%s]\n", n+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", n), 8), ", "))
	}
	return b.String()
}

func TestBomb(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"where nothing is read": bomb("x"),
		"services":              bomb("services"),
		"merged":                strings.ReplaceAll(strings.ReplaceAll(bomb("services"), "[*", "{<<: [*"), "]", "]}"),
		"size":                  "x: " + strings.Repeat("a", 1<<20),
		"depth":                 strings.Repeat("[", 50_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			_, err := manifest.Parse("convox.yml", []byte(file))
			if took := time.Since(begin); err == nil || len(err.Error()) > 200 || took > 5*time.Second {
				t.Errorf("%v after %v", err, took)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(bomb("services")))
	for _, seed := range []string{
		"", "---\n---\n", "services: &x {<<: *x}", "services: {web: {image: a, port: {port: 1, scheme: b}}}",
		"services:\n  web: &w\n    image: a\n  b:\n    <<: [*w, {port: https:1}]\n", "environment: ['*', A=b, A]",
		"services: {web: {image: a, command: \"'\", health: {grace: 1e9}}}", "? [a]\n: b", "a: !!binary x", "%YAML 1.9\n---\n",
		"resources: {a: {type: redis, options: [a=b]}}\nservices: {w: {build: {args: {A: }}, resources: ['a:B', a], labels: [x]}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Parse("convox.yml", data)
		lines := []string{}
		if err != nil {
			lines = append(lines, err.Error())
		} else {
			lines = append(lines, m.Warnings...)
		}
		for _, l := range lines {
			if strings.ContainsAny(l, "\n\r\x00") || !strings.HasPrefix(l, "convox.yml:") {
				t.Errorf("not one line that names the file: %q", l)
			}
		}
		if err != nil {
			return
		}
		for _, s := range m.Services {
			if s.Image == "" && s.Build == nil {
				t.Errorf("service %s: nothing to run", s.Name)
			}
		}
	})
}
