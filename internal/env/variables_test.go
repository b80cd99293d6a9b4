package env_test

import (
	"errors"
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/env"
)

// shop is an input for the service worker of an app, whose services are given.
// A map of nil is what web and worker are usually.
func shop(change func(*env.Input)) *env.Input {
	in := &env.Input{
		Rack: "acme", Suffix: "convox", App: "shop", Service: "worker", Release: "R1",
		Services: []env.Service{
			{Name: "worker", Links: []string{"web"}},
			{Name: "web", Port: 3000, Scheme: "http"},
		},
		Resources: []env.Resource{{Name: "main-db", Type: "postgres", URL: "postgres://app:s3cret@main-db.resource.shop.acme.convox:5432/app?sslmode=disable"}},
	}
	if change != nil {
		change(in)
	}
	return in
}

// The parts of a rule's name are what the user and the reference say of it.
func TestVariables(t *testing.T) {
	t.Parallel()
	const db = "postgres://app:s3cret@main-db.resource.shop.acme.convox:5432/app?sslmode=disable"
	worker := func(in *env.Input) *env.Service { return &in.Services[0] }
	web := func(in *env.Input) *env.Service { return &in.Services[1] }
	usesDB := func(env_ string) func(*env.Input) {
		return func(in *env.Input) {
			worker(in).Links, worker(in).Resources = nil, []env.ResourceRef{{Name: "main-db", Env: env_}}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*env.Input)
		// want leaves out RACK, APP, SERVICE and RELEASE, which are always there.
		want map[string]string
	}{
		{"a link gives one variable", nil, map[string]string{"WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"the port's scheme is the URL's", func(in *env.Input) { web(in).Port, web(in).Scheme = 3001, "https" },
			map[string]string{"WEB_URL": "https://web.shop.acme.convox:3001"}},
		{"a port without a scheme is http", func(in *env.Input) { web(in).Scheme = "" },
			map[string]string{"WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"the default port of http is left out", func(in *env.Input) { web(in).Port = 80 },
			map[string]string{"WEB_URL": "http://web.shop.acme.convox"}},
		{"the default port of https is left out", func(in *env.Input) { web(in).Port, web(in).Scheme = 443, "https" },
			map[string]string{"WEB_URL": "https://web.shop.acme.convox"}},
		{"80 is no default port of https", func(in *env.Input) { web(in).Port, web(in).Scheme = 80, "https" },
			map[string]string{"WEB_URL": "https://web.shop.acme.convox:80"}},
		{"the default port of wss is left out", func(in *env.Input) { web(in).Port, web(in).Scheme = 443, "wss" },
			map[string]string{"WEB_URL": "wss://web.shop.acme.convox"}},
		{"tcp has no default port", func(in *env.Input) { web(in).Port, web(in).Scheme = 80, "tcp" },
			map[string]string{"WEB_URL": "tcp://web.shop.acme.convox:80"}},
		{"dashes become underscores", func(in *env.Input) { web(in).Name = "my-web"; worker(in).Links = []string{"my-web"} },
			map[string]string{"MY_WEB_URL": "http://my-web.shop.acme.convox:3000"}},
		{"cycles and self-links are fine", func(in *env.Input) {
			worker(in).Port, worker(in).Links = 9000, []string{"worker", "web"}
			web(in).Links = []string{"worker"}
		}, map[string]string{
			"WEB_URL": "http://web.shop.acme.convox:3000", "WORKER_URL": "http://worker.shop.acme.convox:9000", "PORT": "9000",
		}},
		{"a suffix may have dots and capitals", func(in *env.Input) { in.Suffix = ".Rack.Example." },
			map[string]string{"WEB_URL": "http://web.shop.acme.rack.example:3000"}},

		{"the app's environment wins over a link", func(in *env.Input) { in.Given = map[string]string{"WEB_URL": "http://else/?a=b#$c"} },
			map[string]string{"WEB_URL": "http://else/?a=b#$c"}},
		{"the file's environment wins over a link", func(in *env.Input) {
			worker(in).Environment = []env.Variable{{Name: "WEB_URL", Value: "", Set: true}}
		}, map[string]string{"WEB_URL": ""}},
		{"the app's environment wins over the file's", func(in *env.Input) {
			worker(in).Environment = []env.Variable{{Name: "A", Value: "file", Set: true}, {Name: "B", Value: "file", Set: true}}
			in.Given = map[string]string{"A": "given"}
		}, map[string]string{"A": "given", "B": "file", "WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"the service's own environment wins over the common one", func(in *env.Input) {
			worker(in).Environment = []env.Variable{{Name: "A", Value: "common", Set: true}, {Name: "A", Value: "own", Set: true}}
		}, map[string]string{"A": "own", "WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"asking again for a variable does not unset it", func(in *env.Input) {
			worker(in).Environment = []env.Variable{{Name: "A", Value: "common", Set: true}, {Name: "A"}}
		}, map[string]string{"A": "common", "WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"a service gets only what it lists", func(in *env.Input) {
			in.Given = map[string]string{"A": "1", "SECRET": "2", "PORT": "80"}
			worker(in).Environment = []env.Variable{{Name: "A"}}
		}, map[string]string{"A": "1", "WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"an outside URL passes byte for byte to who lists it", func(in *env.Input) {
			in.Given = map[string]string{"AMQP_URL": "amqp://u:p%zz@h:1/?a=b&c=$d#e:f "}
			worker(in).Environment = []env.Variable{{Name: "AMQP_URL"}}
		}, map[string]string{"AMQP_URL": "amqp://u:p%zz@h:1/?a=b&c=$d#e:f ", "WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"what is listed may come from a link or the rack", func(in *env.Input) {
			worker(in).Environment = []env.Variable{{Name: "WEB_URL"}, {Name: "RACK"}}
		}, map[string]string{"WEB_URL": "http://web.shop.acme.convox:3000"}},
		{"the service may set what the rack gives", func(in *env.Input) {
			worker(in).Links, worker(in).Port = nil, 3000
			worker(in).Environment = []env.Variable{{Name: "PORT", Value: "5000", Set: true}}
		}, map[string]string{"PORT": "5000"}},

		{"a service that inherits all gets what was given, and the rack's own all the same", func(in *env.Input) {
			worker(in).Inherit, worker(in).Port = true, 9000
			worker(in).Environment = []env.Variable{{Name: "A", Value: "file", Set: true}, {Name: "B", Value: "file", Set: true}}
			in.Given = map[string]string{"A": "given", "C": "3", "PORT": "80", "RACK": "x"}
		}, map[string]string{"A": "given", "B": "file", "C": "3", "PORT": "9000", "WEB_URL": "http://web.shop.acme.convox:3000"}},

		{"full style adds six variables", func(in *env.Input) { in.Style = env.StyleFull }, map[string]string{
			"WEB_URL": "http://web.shop.acme.convox:3000", "WEB_SCHEME": "http", "WEB_HOST": "web.shop.acme.convox",
			"WEB_PORT": "3000", "WEB_PATH": "", "WEB_USERNAME": "", "WEB_PASSWORD": "",
		}},
		{"full style: tcp where there is no scheme", func(in *env.Input) { in.Style, web(in).Scheme = env.StyleFull, "" }, map[string]string{
			"WEB_URL": "tcp://web.shop.acme.convox:3000", "WEB_SCHEME": "tcp", "WEB_HOST": "web.shop.acme.convox",
			"WEB_PORT": "3000", "WEB_PATH": "", "WEB_USERNAME": "", "WEB_PASSWORD": "",
		}},
		{"full style: the target says how", func(in *env.Input) {
			in.Style = env.StyleFull
			in.Given = map[string]string{"LINK_PASSWORD": "p@ss/w"}
			web(in).Environment = []env.Variable{
				{Name: "LINK_SCHEME", Value: "https", Set: true}, {Name: "LINK_USERNAME", Value: "u", Set: true},
				{Name: "LINK_PASSWORD"}, {Name: "LINK_PORT", Value: "443", Set: true}, {Name: "LINK_PATH", Value: "v1/", Set: true},
			}
		}, map[string]string{
			"WEB_URL": "https://u:p%40ss%2Fw@web.shop.acme.convox/v1", "WEB_SCHEME": "https", "WEB_HOST": "web.shop.acme.convox",
			"WEB_PORT": "443", "WEB_PATH": "/v1/", "WEB_USERNAME": "u", "WEB_PASSWORD": "p@ss/w",
		}},
		{"full style: the user's URL is taken apart", func(in *env.Input) {
			in.Style, in.Given = env.StyleFull, map[string]string{"WEB_URL": "https://u:p@else/x"}
		}, map[string]string{
			"WEB_URL": "https://u:p@else/x", "WEB_SCHEME": "https", "WEB_HOST": "else",
			"WEB_PORT": "443", "WEB_PATH": "/x", "WEB_USERNAME": "u", "WEB_PASSWORD": "p",
		}},
		{"full style: what the target doesn't list is somebody else's", func(in *env.Input) {
			in.Style = env.StyleFull
			in.Given = map[string]string{"LINK_SCHEME": "ftp", "LINK_USERNAME": "u", "LINK_PASSWORD": "p", "LINK_PORT": "1", "LINK_PATH": "/x"}
		}, map[string]string{
			"WEB_URL": "http://web.shop.acme.convox:3000", "WEB_SCHEME": "http", "WEB_HOST": "web.shop.acme.convox",
			"WEB_PORT": "3000", "WEB_PATH": "", "WEB_USERNAME": "", "WEB_PASSWORD": "",
		}},
		{"full style: a port that nobody knows is not 0", func(in *env.Input) {
			in.Style, in.Given = env.StyleFull, map[string]string{"WEB_URL": "amqp://else/x"}
		}, map[string]string{
			"WEB_URL": "amqp://else/x", "WEB_SCHEME": "amqp", "WEB_HOST": "else",
			"WEB_PORT": "", "WEB_PATH": "/x", "WEB_USERNAME": "", "WEB_PASSWORD": "",
		}},
		{"full style: a URL that can't be taken apart has no parts", func(in *env.Input) {
			in.Style, in.Given = env.StyleFull, map[string]string{"WEB_URL": "unix:/run/web"}
		}, map[string]string{
			"WEB_URL": "unix:/run/web", "WEB_SCHEME": "", "WEB_HOST": "", "WEB_PORT": "", "WEB_PATH": "", "WEB_USERNAME": "", "WEB_PASSWORD": "",
		}},
		{"url style knows none of that", func(in *env.Input) {
			web(in).Environment = []env.Variable{{Name: "LINK_SCHEME", Value: "https", Set: true}}
		}, map[string]string{"WEB_URL": "http://web.shop.acme.convox:3000"}},

		{"by host", func(in *env.Input) {
			in.Via = env.ViaHost
			in.Endpoint = func(string) (netip.AddrPort, error) { return netip.MustParseAddrPort("10.0.2.10:47889"), nil }
		}, map[string]string{"WEB_URL": "http://10.0.2.10:47889"}},
		{"by host, over IPv6, at the default port", func(in *env.Input) {
			in.Via = env.ViaHost
			in.Endpoint = func(string) (netip.AddrPort, error) { return netip.MustParseAddrPort("[2001:db8::1]:80"), nil }
		}, map[string]string{"WEB_URL": "http://[2001:db8::1]"}},
		{"by the connect proxy", func(in *env.Input) {
			in.Via = env.ViaConnect
			in.Connect = func(string) (uint16, bool) { return 6000, true }
		}, map[string]string{"WEB_URL": "http://127.0.0.1:6000"}},
		{"nobody is asked for what the user has set", func(in *env.Input) {
			in.Via, in.Given = env.ViaHost, map[string]string{"WEB_URL": "http://else"}
		}, map[string]string{"WEB_URL": "http://else"}},

		{"a resource gives six variables", usesDB(""), map[string]string{
			"MAIN_DB_URL": db, "MAIN_DB_USER": "app", "MAIN_DB_PASS": "s3cret",
			"MAIN_DB_HOST": "main-db.resource.shop.acme.convox", "MAIN_DB_PORT": "5432", "MAIN_DB_NAME": "app",
		}},
		{"a variable of one's own is the URL", usesDB("DATABASE"), map[string]string{"DATABASE": db}},
		{"_URI is a URL", usesDB("DATABASE_URI"), map[string]string{"DATABASE_URI": db}},
		{"_USERNAME is a URL", usesDB("DATABASE_USERNAME"), map[string]string{"DATABASE_USERNAME": db}},
		{"_USER is the user", usesDB("DATABASE_USER"), map[string]string{"DATABASE_USER": "app"}},
		{"_PASS is the password", usesDB("DATABASE_PASS"), map[string]string{"DATABASE_PASS": "s3cret"}},
		{"_HOST is the host", usesDB("DATABASE_HOST"), map[string]string{"DATABASE_HOST": "main-db.resource.shop.acme.convox"}},
		{"_PORT is the port", usesDB("DATABASE_PORT"), map[string]string{"DATABASE_PORT": "5432"}},
		{"_NAME is the database", usesDB("DATABASE_NAME"), map[string]string{"DATABASE_NAME": "app"}},
		{"small letters are no such ending", usesDB("database_name"), map[string]string{"database_name": db}},
		{"a resource that isn't listed gives nothing", func(in *env.Input) { worker(in).Links = nil }, map[string]string{}},
		{"efs gives nothing", func(in *env.Input) {
			usesDB("")(in)
			in.Resources[0] = env.Resource{Name: "main-db", Type: "efs"}
		}, map[string]string{}},
		{"redis has a number for a name", func(in *env.Input) {
			usesDB("")(in)
			in.Resources[0] = env.Resource{Name: "main-db", Type: "redis", URL: "redis://h:6379/0"}
		}, map[string]string{
			"MAIN_DB_URL": "redis://h:6379/0", "MAIN_DB_USER": "", "MAIN_DB_PASS": "", "MAIN_DB_HOST": "h", "MAIN_DB_PORT": "6379", "MAIN_DB_NAME": "0",
		}},
		{"memcached has no name", func(in *env.Input) {
			usesDB("")(in)
			in.Resources[0] = env.Resource{Name: "main-db", Type: "memcached", URL: "memcached://h"}
		}, map[string]string{
			"MAIN_DB_URL": "memcached://h", "MAIN_DB_USER": "", "MAIN_DB_PASS": "", "MAIN_DB_HOST": "h", "MAIN_DB_PORT": "11211", "MAIN_DB_NAME": "",
		}},
		{"mariadb has the port of mysql", func(in *env.Input) {
			usesDB("DATABASE_PORT")(in)
			in.Resources[0] = env.Resource{Name: "main-db", Type: "mariadb", URL: "mysql://app:s3cret@h/app"}
		}, map[string]string{"DATABASE_PORT": "3306"}},
		{"an outside resource, with its parts", func(in *env.Input) {
			usesDB("")(in)
			in.Resources[0].URL = ""
			in.Given = map[string]string{"MAIN_DB_URL": "mysql://u:p%40@else:1/x?y&z", "MAIN_DB_PASS": "own"}
		}, map[string]string{
			"MAIN_DB_URL": "mysql://u:p%40@else:1/x?y&z", "MAIN_DB_USER": "u", "MAIN_DB_PASS": "own", "MAIN_DB_HOST": "else", "MAIN_DB_PORT": "1", "MAIN_DB_NAME": "x",
		}},
		{"an outside resource that can't be taken apart", func(in *env.Input) {
			usesDB("")(in)
			in.Given = map[string]string{"MAIN_DB_URL": "jdbc:mariadb://h:3306/DB?user=a&password=b"}
		}, map[string]string{"MAIN_DB_URL": "jdbc:mariadb://h:3306/DB?user=a&password=b"}},
		{"an outside resource by the variable asked for", func(in *env.Input) {
			usesDB("DATABASE_URL")(in)
			in.Given = map[string]string{"DATABASE_URL": "::: not a URL"}
		}, map[string]string{"DATABASE_URL": "::: not a URL"}},
		{"an outside resource by its default variable", func(in *env.Input) {
			usesDB("DATABASE_HOST")(in)
			in.Given = map[string]string{"MAIN_DB_URL": "mysql://else/x"}
		}, map[string]string{"DATABASE_HOST": "else"}},
		{"a part from outside", func(in *env.Input) {
			usesDB("DATABASE_HOST")(in)
			in.Resources[0].URL = ""
			in.Given = map[string]string{"DATABASE_HOST": "else"}
		}, map[string]string{"DATABASE_HOST": "else"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := shop(c.change).Variables()
			if err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(c.want)
			maps.Copy(want, map[string]string{"RACK": "acme", "APP": "shop", "SERVICE": "worker", "RELEASE": "R1"})
			values, last := map[string]string{}, ""
			for _, v := range got {
				if v.Name <= last || !v.Set {
					t.Errorf("%s after %s, set: %t", v.Name, last, v.Set)
				}
				values[v.Name], last = v.Value, v.Name
			}
			if d := cmp.Diff(want, values); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestVariablesErrors(t *testing.T) {
	t.Parallel()
	ref := func(name, variable string) []env.ResourceRef { return []env.ResourceRef{{Name: name, Env: variable}} }
	for _, c := range []struct {
		name   string
		change func(*env.Input)
		want   string
	}{
		{"no such service", func(in *env.Input) { in.Service = "www" }, `service "www": there is none in app shop; there are web and worker`},
		{"no service at all", func(in *env.Input) { in.Services = nil }, `service "worker": there is none in app shop, nor any other`},
		{"a link to nothing", func(in *env.Input) { in.Services[0].Links = []string{"db"} },
			`service worker links to a service that does not exist: db`},
		{"a link to what has no port", func(in *env.Input) { in.Services[1].Port = 0 },
			`service worker links to a service without a port: web`},
		{"two links", func(in *env.Input) { in.Services[0].Links = []string{"web", "web"} },
			`service worker: link web and link web both give WEB_URL`},
		{"a link and a resource", func(in *env.Input) { in.Services[0].Resources = ref("main-db", "WEB_URL") },
			`service worker: link web and resource main-db both give WEB_URL`},
		{"a link in full style and a resource", func(in *env.Input) {
			in.Style, in.Services[0].Resources = env.StyleFull, ref("main-db", "WEB_SCHEME")
		}, `service worker: link web and resource main-db both give WEB_SCHEME`},
		{"two resources", func(in *env.Input) {
			in.Services[0].Resources = append(ref("main-db", "A"), ref("main-db", "A")...)
		}, `service worker: resource main-db and resource main-db both give A`},
		{"the rack and a resource", func(in *env.Input) { in.Services[0].Resources = ref("main-db", "PORT") },
			`service worker: the rack and resource main-db both give PORT`},
		{"a resource that isn't there", func(in *env.Input) { in.Services[0].Resources = ref("cache", "") },
			`service worker references a resource that does not exist: cache`},
		{"a resource without a URL", func(in *env.Input) {
			in.Services[0].Resources, in.Resources[0].URL = ref("main-db", ""), ""
		}, `service worker: resource main-db has no URL`},
		{"what nobody has set", func(in *env.Input) {
			in.Services[0].Environment = []env.Variable{{Name: "A"}, {Name: "B", Set: true}, {Name: "C"}, {Name: "A"}}
		}, `service worker lists what neither the manifest nor the app's environment gives a value: A, C`},
		{"a port that isn't one", func(in *env.Input) {
			in.Style, in.Services[1].Environment = env.StyleFull, []env.Variable{{Name: "LINK_PORT", Value: "s3cret", Set: true}}
		}, `service web: LINK_PORT is not a port`},
		{"by host, nothing serves", func(in *env.Input) {
			in.Via = env.ViaHost
			in.Endpoint = func(string) (netip.AddrPort, error) { return netip.AddrPort{}, errors.New("no instance of it serves") }
		}, `service worker, link web: no instance of it serves`},
		{"by host, without a registry", func(in *env.Input) { in.Via = env.ViaHost },
			`service worker, link web: there is no registry to say where its instances are`},
		{"by a connect proxy that doesn't lead there", func(in *env.Input) { in.Via = env.ViaConnect },
			`service worker, link web: no port of its loopback leads there; give its containers a label connect.<port>=web`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := shop(c.change).Variables()
			if err == nil || err.Error() != c.want || got != nil {
				t.Errorf("%v, %v\nwant %s", got, err, c.want)
			}
		})
	}
	in := shop(func(in *env.Input) { in.Services[0].Resources, in.Resources[0].URL = ref("main-db", ""), "" })
	if _, err := in.Variables(); !errors.Is(err, env.ErrNoURL) {
		t.Errorf("%v, want ErrNoURL", err)
	}
}

// A resource is outside if the user has put something in its place wherever it
// is used.
func TestOutside(t *testing.T) {
	t.Parallel()
	two := func(a, b string) []env.Service {
		return []env.Service{
			{Name: "worker", Resources: []env.ResourceRef{{Name: "db", Env: a}}},
			{Name: "web", Resources: []env.ResourceRef{{Name: "db", Env: b}}},
		}
	}
	for _, c := range []struct {
		name     string
		services []env.Service
		kind     string
		given    map[string]string
		want     bool
		needs    int
	}{
		{"nothing given", two("", ""), "mysql", nil, false, 1},
		{"given", two("", ""), "mysql", map[string]string{"DB_URL": "x"}, true, 0},
		{"given as nothing", two("", ""), "mysql", map[string]string{"DB_URL": ""}, true, 0},
		{"given for one", two("MY_URL", ""), "mysql", map[string]string{"MY_URL": "x"}, false, 0},
		{"given for each", two("MY_URL", "DB_HOST"), "mysql", map[string]string{"MY_URL": "x", "DB_HOST": "h"}, true, 0},
		{"given for all", two("MY_URL", "DB_HOST"), "mysql", map[string]string{"DB_URL": "x"}, true, 0},
		{"a part isn't all", two("", ""), "mysql", map[string]string{"DB_HOST": "x"}, false, 1},
		{"not used, not given", nil, "mysql", nil, false, 0},
		{"not used, given", nil, "mysql", map[string]string{"DB_URL": "x"}, true, 0},
		{"efs", two("", ""), "efs", map[string]string{"DB_URL": "x"}, false, 0},
		{"set in the file for one", []env.Service{
			{Name: "worker", Resources: []env.ResourceRef{{Name: "db"}}, Environment: []env.Variable{{Name: "DB_URL", Value: "x", Set: true}}},
		}, "mysql", nil, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := &env.Input{Service: "worker", Services: c.services, Given: c.given, Resources: []env.Resource{{Name: "db", Type: c.kind}}}
			if got := in.Outside("db"); got != c.want {
				t.Errorf("outside: %t, want %t", got, c.want)
			}
			if got := in.Needs(); len(got) != c.needs {
				t.Errorf("needs: %v, want %d", got, c.needs)
			}
		})
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*env.Input)
		want   []string
	}{
		{"a link", nil, []string{"web.shop.acme.convox"}},
		{"a link and a resource, used twice", func(in *env.Input) {
			in.Services[0].Resources = []env.ResourceRef{{Name: "main-db"}, {Name: "main-db", Env: "A"}}
		}, []string{"web.shop.acme.convox", "main-db.resource.shop.acme.convox"}},
		{"elsewhere", func(in *env.Input) {
			in.Services[0].Resources = []env.ResourceRef{{Name: "main-db"}}
			in.Given = map[string]string{"WEB_URL": "http://else", "MAIN_DB_URL": "mysql://else"}
		}, nil},
		{"given as it is", func(in *env.Input) {
			in.Services[0].Resources = []env.ResourceRef{{Name: "main-db", Env: "X_URI"}}
			in.Given = map[string]string{"WEB_URL": "http://web.shop.acme.convox:3000", "X_URI": "jdbc:pg://main-db.resource.shop.acme.convox:1"}
		}, []string{"web.shop.acme.convox", "main-db.resource.shop.acme.convox"}},
		{"the rack's", func(in *env.Input) {
			in.Services[0] = env.Service{Name: "worker", Resources: []env.ResourceRef{{Name: "main-db"}}}
			in.Resources[0].OfRack = true
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, d := range shop(c.change).Dependencies() {
				got = append(got, d.Host)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
