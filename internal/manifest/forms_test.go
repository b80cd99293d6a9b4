package manifest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rackdns/rackdns/internal/manifest"
)

// only returns the one service of a file.
func only(t *testing.T, file string) *manifest.Service {
	t.Helper()
	m, err := manifest.Parse("convox.yml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Warnings) > 0 {
		t.Errorf("warnings: %v", m.Warnings)
	}
	return &m.Services[0]
}

// A command is split as a shell would, and left to one if it is more than words.
func TestCommand(t *testing.T) {
	t.Parallel()
	inShell := func(s string) []string { return []string{"/bin/sh", "-c", s} }
	for _, c := range []struct {
		given string
		want  []string
	}{
		{`bin/web`, []string{"bin/web"}},
		{`bin/web  --name 'my shop' --greeting "hello \"you\"" a\ b`, []string{"bin/web", "--name", "my shop", "--greeting", `hello "you"`, "a b"}},
		{`bin/web '' ""`, []string{"bin/web", "", ""}},
		{`bin/web 'a'"b"c # the rest is none`, []string{"bin/web", "abc"}},
		{`bin/web a=b --set=c=d {a,b} a~ '*' \* "$"`, []string{"bin/web", "a=b", "--set=c=d", "{a,b}", "a~", "*", "*", "$"}},
		{`bin/web '$PORT' \$PORT`, []string{"bin/web", "$PORT", "$PORT"}},
		{"bin/web \\\n  --long", []string{"bin/web", "--long"}},
		{"bin/web\n", []string{"bin/web"}},
		{"-linger 2s", []string{"-linger", "2s"}},
		{`bin/web --port $PORT`, inShell(`bin/web --port $PORT`)},
		{`bin/web --port "${PORT}"`, inShell(`bin/web --port "${PORT}"`)},
		{`bin/web | logger`, inShell(`bin/web | logger`)},
		{`bin/migrate && bin/web`, inShell(`bin/migrate && bin/web`)},
		{`bin/a; bin/b`, inShell(`bin/a; bin/b`)},
		{"bin/a\nbin/b\n", inShell("bin/a\nbin/b\n")},
		{`bin/web > /dev/null`, inShell(`bin/web > /dev/null`)},
		{`bin/web &`, inShell(`bin/web &`)},
		{"bin/web `hostname`", inShell("bin/web `hostname`")},
		{`bin/web $(hostname)`, inShell(`bin/web $(hostname)`)},
		{`cat *.conf`, inShell(`cat *.conf`)},
		{`cat ~/conf`, inShell(`cat ~/conf`)},
		{`LEVEL=1 bin/web`, inShell(`LEVEL=1 bin/web`)},
		{`exec bin/web`, inShell(`exec bin/web`)},
		{`! bin/web`, inShell(`! bin/web`)},
		{`if true; then bin/web; fi`, inShell(`if true; then bin/web; fi`)},
	} {
		t.Run(c.given, func(t *testing.T) {
			t.Parallel()
			quoted := "services:\n  web:\n    image: a\n    command: " + quote(c.given) + "\n    entrypoint: " + quote(c.given) + "\n"
			s := only(t, quoted)
			if d := cmp.Diff(c.want, s.Command); d != "" {
				t.Errorf("command (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.want, s.Entrypoint); d != "" {
				t.Errorf("entrypoint (-want +got):\n%s", d)
			}
		})
	}
}

// quote makes a text one of YAML.
func quote(s string) string {
	out := `"`
	for _, c := range s {
		switch c {
		case '"', '\\':
			out += `\` + string(c)
		case '\n':
			out += `\n`
		default:
			out += string(c)
		}
	}
	return out + `"`
}

// What a service says in all its forms.
func TestForms(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	stopFirst, rolling := manifest.Deployment{Minimum: 0, Maximum: 100}, manifest.Deployment{Minimum: 50, Maximum: 200}
	on, off := true, false
	for _, c := range []struct {
		name string
		keys []string
		// want changes what a service is anyhow.
		want func(s *manifest.Service)
	}{
		{"nothing", nil, func(*manifest.Service) {}},
		{"volumes", []string{"volumes: [/data/, 'files:/files:ro', '/etc/hosts:/hosts', './conf:/conf:ro', '../up:/up:rw']", "scale: 2"}, func(s *manifest.Service) {
			s.Count = 2
			s.Volumes = []manifest.Volume{
				{Kind: manifest.PathVolume, Target: "/data"},
				{Kind: manifest.NamedVolume, Source: "files", Target: "/files", ReadOnly: true},
				{Kind: manifest.HostPath, Source: "/etc/hosts", Target: "/hosts"},
				{Kind: manifest.HostPath, Source: "./conf", Target: "/conf", ReadOnly: true},
				{Kind: manifest.HostPath, Source: "../up", Target: "/up"},
			}
		}},
		{"volumes in their longer form", []string{"volumeOptions: [{emptyDir: {id: a, mountPath: /a}}, {emptyDir: {id: b, medium: Memory, mountPath: /b}}, {awsEfs: {id: c, accessMode: ReadOnlyMany, mountPath: /c, storageClass: d}}]"}, func(s *manifest.Service) {
			s.Volumes = []manifest.Volume{
				{Kind: manifest.Scratch, Target: "/a"}, {Kind: manifest.MemoryScratch, Target: "/b"},
				{Kind: manifest.NamedVolume, Source: "c", Target: "/c", ReadOnly: true},
			}
		}},
		{"one that writes data", []string{"volumes: [/data]"}, func(s *manifest.Service) {
			s.Volumes = []manifest.Volume{{Kind: manifest.PathVolume, Target: "/data"}}
			s.Deployment = stopFirst
		}},
		{"one that writes data and may be two meanwhile", []string{"volumes: [/data]", "deployment: {minimum: 100}"}, func(s *manifest.Service) {
			s.Volumes = []manifest.Volume{{Kind: manifest.PathVolume, Target: "/data"}}
			s.Deployment = manifest.Deployment{Minimum: 100, Maximum: 200}
		}},
		{"singleton", []string{"singleton: true"}, func(s *manifest.Service) { s.Singleton, s.Deployment = true, stopFirst }},
		{"deployment", []string{"deployment: {minimum: 25, maximum: 110}"}, func(s *manifest.Service) { s.Deployment = manifest.Deployment{Minimum: 25, Maximum: 110} }},
		{"drain", []string{"drain: 30"}, func(s *manifest.Service) { s.StopTimeout = 30 * time.Second }},
		{"grace", []string{"termination: {grace: 45}", "drain: 30"}, func(s *manifest.Service) { s.StopTimeout = 45 * time.Second }},
		{"drain after grace", []string{"drain: 60", "termination: {grace: 45}"}, func(s *manifest.Service) { s.StopTimeout = time.Minute }},
		{"cpu and memory", []string{"scale: {cpu: 256, memory: 512}"}, func(s *manifest.Service) { s.Limits = manifest.Limits{CPUShares: 256, Memory: 512 * mb} }},
		{"limits", []string{"scale: {count: 2, memory: 512, limit: {cpu: 250, memory: 1024}}"}, func(s *manifest.Service) {
			s.Count, s.Limits = 2, manifest.Limits{NanoCPUs: 250_000_000, Memory: 1024 * mb, MemoryReservation: 512 * mb}
		}},
		{"range", []string{"scale: 2-5"}, func(s *manifest.Service) { s.Count = 2 }},
		{"range that is open", []string{"scale: {count: 2+}"}, func(s *manifest.Service) { s.Count = 2 }},
		{"range as a map", []string{"scale: {count: {min: 3, max: 4}}"}, func(s *manifest.Service) { s.Count = 3 }},
		{"least and most", []string{"scale: {min: 3, max: 4}"}, func(s *manifest.Service) { s.Count = 3 }},
		{"none", []string{"scale: 0"}, func(s *manifest.Service) { s.Count = 0 }},
		{"privileged", []string{"privileged: true"}, func(s *manifest.Service) { s.Privileged = true }},
		{"init", []string{"init: true"}, func(s *manifest.Service) { s.Init = &on }},
		{"no init", []string{"init: false"}, func(s *manifest.Service) { s.Init = &off }},
		{"labels win over annotations", []string{"annotations: ['a=1', b: 2]", "labels: {b: 3}"}, func(s *manifest.Service) { s.Labels = map[string]string{"a": "1", "b": "3"} }},
		{"ndots", []string{"dnsConfig: {ndots: 3}"}, func(s *manifest.Service) { s.NDots = 3 }},
		{"agent", []string{"agent: {ports: [8125/udp]}", "scale: 5"}, func(s *manifest.Service) {
			s.Agent, s.Singleton, s.Deployment, s.Ports = true, true, stopFirst, []manifest.Port{{Number: 8125, Protocol: "udp"}}
		}},
		{"ports as maps", []string{"ports: [{port: 53, protocol: UDP}, {port: 80}]"}, func(s *manifest.Service) {
			s.Ports = []manifest.Port{{Number: 53, Protocol: "udp"}, {Number: 80, Protocol: "tcp"}}
		}},
		{"all of the app's environment", []string{"environment: ['*', A=1]"}, func(s *manifest.Service) {
			s.Inherit, s.Environment = true, []manifest.Variable{{Name: "A", Value: "1", Set: true}}
		}},
		{"lists in the environment", []string{"environment: [A=1, [B=2, [C]], {D: 4}]"}, func(s *manifest.Service) {
			s.Environment = []manifest.Variable{{Name: "A", Value: "1", Set: true}, {Name: "B", Value: "2", Set: true}, {Name: "C"}, {Name: "D", Value: "4", Set: true}}
		}},
		{"no health", []string{"health: false"}, func(s *manifest.Service) { s.NoHealth = true }},
		{"health that is disabled", []string{"port: 80", "health: {path: /, disable: true}"}, func(s *manifest.Service) { port80(s); s.NoHealth = true }},
		{"health", []string{"port: 80", "health: true"}, func(s *manifest.Service) {
			port80(s)
			s.Health = &manifest.Health{Path: "/", Grace: 5 * time.Second, Interval: 5 * time.Second, Timeout: 4 * time.Second}
		}},
		{"gRPC's health", []string{"port: 80", "grpcHealthEnabled: true"}, func(s *manifest.Service) {
			port80(s)
			s.Health = &manifest.Health{GRPC: true, Grace: 5 * time.Second, Interval: 5 * time.Second, Timeout: 4 * time.Second}
		}},
		{"liveness", []string{"port: 80", "liveness: {path: /live, failureThreshold: 2}"}, func(s *manifest.Service) {
			port80(s)
			s.Liveness = &manifest.Health{Path: "/live", Grace: 10 * time.Second, Interval: 5 * time.Second, Timeout: 5 * time.Second, Failures: 2}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := &manifest.Service{Name: "web", Image: "example/web", Count: 1, Deployment: rolling}
			c.want(want)
			if d := cmp.Diff(want, only(t, service(c.keys...)), cmpopts.IgnoreFields(manifest.Service{}, "Line"),
				cmpopts.IgnoreFields(manifest.Volume{}, "Line"), cmpopts.IgnoreFields(manifest.Variable{}, "Line")); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func port80(s *manifest.Service) {
	s.Port = &manifest.Port{Number: 80, Protocol: "tcp", Scheme: "http"}
	s.Ports = []manifest.Port{*s.Port}
}

// A service that says nothing is built where the file is.
func TestBuildsHere(t *testing.T) {
	t.Parallel()
	if d := cmp.Diff(&manifest.Build{Path: ".", Dockerfile: "Dockerfile"}, only(t, "services: {web: }\n").Build); d != "" {
		t.Error(d)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	m, err := manifest.Parse("convox.yml", []byte(`services:
  web: {image: example/web, labels: {a: 1}}
timers:
  nightly: {service: web, schedule: "0 3 * * *", command: "bin/clean --all"}
  old: {service: web, schedule: "*/5 0 ? * MON-FRI *", command: [bin/a, b]}
  own: {service: web, schedule: "0 0 1 JAN *", concurrency: Forbid, parallelCount: 2, annotations: [a=b]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []manifest.Timer{
		{Name: "nightly", Line: 4, Service: "web", Schedule: "0 3 * * *", Command: []string{"bin/clean", "--all"}, Concurrency: manifest.Allow, Parallel: 1},
		{Name: "old", Line: 5, Service: "web", Schedule: "*/5 0 * * MON-FRI", Command: []string{"bin/a", "b"}, Concurrency: manifest.Allow, Parallel: 1},
		{Name: "own", Line: 6, Service: "web", Schedule: "0 0 1 JAN *", Concurrency: manifest.Forbid, Parallel: 2, Labels: map[string]string{"a": "b"}},
	}
	if d := cmp.Diff(want, m.Timers); d != "" {
		t.Error(d)
	}
}

// The app's labels are those of every service that has none of that name.
func TestLabelsOfTheApp(t *testing.T) {
	t.Parallel()
	s := only(t, "labels: {team: shop, tier: a}\nservices: {web: {image: a, labels: {tier: b}}}\n")
	if d := cmp.Diff(map[string]string{"team": "shop", "tier": "b"}, s.Labels); d != "" {
		t.Error(d)
	}
}
