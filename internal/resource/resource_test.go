package resource_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rackdns/rackdns/internal/resource"
)

func TestTypes(t *testing.T) {
	t.Parallel()
	names := func(rack bool) string {
		var all []string
		for _, typ := range resource.Types(rack) {
			all = append(all, typ.Name)
			if resource.Lookup(typ.Name) != typ {
				t.Errorf("%s is not found", typ.Name)
			}
			if !slices.IsSortedFunc(typ.Options, func(a, b resource.Option) int { return strings.Compare(a.Name, b.Name) }) {
				t.Errorf("the options of %s are not sorted", typ.Name)
			}
		}
		return strings.Join(all, " ")
	}
	if got, want := names(false), "efs mariadb memcached mysql postgres redis"; got != want {
		t.Errorf("an app's types are %s, want %s", got, want)
	}
	if got, want := names(true), "memcached mysql postgres redis s3 sns sqs syslog webhook"; got != want {
		t.Errorf("the rack's types are %s, want %s", got, want)
	}
	if resource.Lookup("oracle") != nil {
		t.Error("oracle is a type")
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, typ string
		options   map[string]string
		want      resource.Spec
		url       string
	}{
		{
			name: "postgres", typ: "postgres",
			want: resource.Spec{
				Image: "postgres:17", Port: 5432, Volume: "/var/lib/postgresql/pgdata",
				Env:     []string{"PGDATA=/var/lib/postgresql/pgdata", "POSTGRES_DB=app", "POSTGRES_PASSWORD=pw", "POSTGRES_USER=postgres"},
				Options: map[string]string{"Database": "app", "Image": "postgres", "Username": "postgres", "Version": "17"},
			},
			url: "postgres://postgres:pw@db.example:5432/app?sslmode=disable",
		},
		{
			name: "names in any case, and those of other racks", typ: "postgres",
			options: map[string]string{"engineversion": "12", "username": "me", "MultiAZ": "true", "storage": "50"},
			want: resource.Spec{
				Image: "postgres:12", Port: 5432, Volume: "/var/lib/postgresql/pgdata",
				Env:     []string{"PGDATA=/var/lib/postgresql/pgdata", "POSTGRES_DB=app", "POSTGRES_PASSWORD=pw", "POSTGRES_USER=me"},
				Options: map[string]string{"Database": "app", "Image": "postgres", "Username": "me", "Version": "12"},
			},
			url: "postgres://me:pw@db.example:5432/app?sslmode=disable",
		},
		{
			name: "a password with everything in it", typ: "mysql",
			options: map[string]string{"Password": "a/b@c:d?e#f%g"},
			want: resource.Spec{
				Image: "mysql:8.4", Port: 3306, Volume: "/var/lib/mysql",
				Env: []string{
					"MYSQL_DATABASE=app", "MYSQL_PASSWORD=a/b@c:d?e#f%g", "MYSQL_ROOT_PASSWORD=a/b@c:d?e#f%g", "MYSQL_USER=app",
				},
				Options: map[string]string{"Database": "app", "Image": "mysql", "Username": "app", "Version": "8.4"},
			},
			url: "mysql://app:a%2Fb%40c%3Ad%3Fe%23f%25g@db.example:3306/app",
		},
		{
			name: "mariadb", typ: "mariadb", options: map[string]string{"version": "10.6"},
			want: resource.Spec{
				Image: "mariadb:10.6", Port: 3306, Volume: "/var/lib/mysql",
				Env:     []string{"MARIADB_DATABASE=app", "MARIADB_PASSWORD=pw", "MARIADB_ROOT_PASSWORD=pw", "MARIADB_USER=app"},
				Options: map[string]string{"Database": "app", "Image": "mariadb", "Username": "app", "Version": "10.6"},
			},
			url: "mysql://app:pw@db.example:3306/app",
		},
		{
			name: "redis, with an image of one's own", typ: "redis",
			options: map[string]string{"image": "registry.example:5000/cache/redis", "version": "6", "Database": "3"},
			want: resource.Spec{
				Image: "registry.example:5000/cache/redis:6", Port: 6379, Volume: "/data",
				Options: map[string]string{"Database": "3", "Image": "registry.example:5000/cache/redis", "Version": "6"},
			},
			url: "redis://db.example:6379/3",
		},
		{
			name: "memcached, with an image that has a tag", typ: "memcached",
			options: map[string]string{"image": "example/memcached:1.5"},
			want: resource.Spec{
				Image: "example/memcached:1.5", Port: 11211,
				Options: map[string]string{"Image": "example/memcached:1.5"},
			},
			url: "memcached://db.example:11211",
		},
		{name: "efs", typ: "efs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			spec, err := resource.Lookup(tc.typ).New(tc.options, "pw")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, spec, cmpopts.IgnoreUnexported(resource.Spec{}), cmpopts.IgnoreFields(resource.Spec{}, "Probe", "Loopback", "Account"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got := spec.URL("db.example"); got != tc.url {
				t.Errorf("URL is %s, want %s", got, tc.url)
			}
			if s := fmt.Sprintf("%v %+v %#v", spec, spec, spec); strings.Contains(s, "pw") || strings.Contains(s, "PASS") {
				t.Errorf("prints its password: %s", s)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, typ string
		options   map[string]string
		want      string
	}{
		{"unknown", "redis", map[string]string{"Colour": "red"}, `option "Colour": type redis has none of that name`},
		{"twice", "redis", map[string]string{"version": "1", "Version": "2"}, "option Version: is there twice"},
		{"no image", "redis", map[string]string{"Image": "No Image"}, `option Image: "No Image" is no image`},
		{"no tag", "redis", map[string]string{"Version": "a b"}, `option Version: "a b" is no tag of an image`},
		{"empty tag", "redis", map[string]string{"Version": ""}, `option Version: "" is no tag of an image`},
		{"two tags", "redis", map[string]string{"Image": "redis:6", "Version": "7"}, "option Version: image redis:6 has a tag already"},
		{"number", "redis", map[string]string{"Database": "16"}, `option Database: "16" is not a number from 0 to 15`},
		{"user", "postgres", map[string]string{"Username": "a b"}, `option Username: "a b": want letters, digits and underscores, and no digit first`},
		{"empty user", "postgres", map[string]string{"Username": ""}, `option Username: "": want 1 to 32 characters`},
		{"root", "mysql", map[string]string{"Username": "root"}, "option Username: root is there anyway, and has the same password"},
		{"password", "mysql", map[string]string{"Password": "pass\nword"}, "option Password: has characters other than those of ASCII that can be seen"},
		{"only elsewhere", "s3", nil, "a resource of type s3 can't be run on a Docker host: it needs the URL of one that is there"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := resource.Lookup(tc.typ).New(tc.options, "pw"); err == nil || err.Error() != tc.want {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
	if _, err := resource.Lookup("mysql").New(nil, ""); err == nil {
		t.Error("goes without a password")
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	p := resource.NewPassword()
	if p == resource.NewPassword() || len(p) != 32 || url.QueryEscape(p) != p {
		t.Errorf("password %q", p)
	}
	spec, err := resource.Lookup("postgres").New(nil, "p/w")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := resource.AccountOf(spec.URL("db")); got != (resource.Account{User: "postgres", Password: "p/w", Database: "app"}) || err != nil {
		t.Errorf("account %q, %v", got.Password, err)
	}
	if _, err := resource.AccountOf("postgres://a:secret@%zz"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		url, host string
		port      uint16
	}{
		{"jdbc:mariadb://db.example.com:3306/DB?user=me&password=p:w@x/", "db.example.com", 3306},
		{"jdbc:sqlserver://db.example.com:1433;databaseName=x;user=me", "db.example.com", 1433},
		{"postgres://me:p@ss@Db.example.com/app", "db.example.com", 5432},
		{"postgresql://me@10.0.2.7/app", "10.0.2.7", 5432},
		{"redis://:pw@[2001:db8::7]:6380/0", "2001:db8::7", 6380},
		{"memcached://cache", "cache", 11211},
		{"https://hooks.example.com/T0/B0", "hooks.example.com", 443},
		{"tcp+tls://logs.example.com:6514", "logs.example.com", 6514},
		{"sqs://KEY:SECRET@sqs.example.com/1/q", "sqs.example.com", 0},
		{"s3://KEY:SECRET@bucket", "", 0},
		{"sns://KEY:SECRET@arn:aws:sns:region:1:topic", "", 0},
		{"jdbc:oracle:thin:@db.example.com:1521:x", "", 0},
		{"mongodb://a:1,b:2/app", "", 0},
		{"redis://127.0.0.1:6379", "", 0},
		{"redis://localhost:6379", "", 0},
		{"redis://[::1", "", 0},
		{"redis://db:99999", "", 0},
		{"redis://:6379", "", 0},
		{"no URL", "", 0},
		{"", "", 0},
	} {
		t.Run(tc.url, func(t *testing.T) {
			t.Parallel()
			if host, port := resource.Locate(tc.url); host != tc.host || port != tc.port {
				t.Errorf("%s port %d, want %s port %d", host, port, tc.host, tc.port)
			}
		})
	}
}
