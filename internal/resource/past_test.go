package resource_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/resource"
)

func TestNext(t *testing.T) {
	t.Parallel()
	const url = "postgres://me:old@db.example:5432/orders?sslmode=disable"
	for _, tc := range []struct {
		name, typ, url string
		data           bool
		options        map[string]string
		// want is the URL, former the password that the data may have.
		want, former string
		// fixed and err are what errors say.
		fixed, err string
	}{
		{name: "nothing said: all stays", typ: "postgres", url: url, data: true, want: url},
		{name: "the same said", typ: "postgres", url: url, data: true, options: map[string]string{"username": "me", "database": "orders", "password": "old"}, want: url},
		{name: "another user", typ: "postgres", url: url, data: true, options: map[string]string{"username": "you"}, fixed: "option Username: can't be changed any more, since the data were made with me"},
		{name: "another database", typ: "mysql", url: "mysql://me:old@db.example:3306/orders", data: true, options: map[string]string{"Database": "x"}, fixed: "option Database: can't be changed"},
		{name: "another user, without data", typ: "postgres", url: url, options: map[string]string{"username": "you"}, want: "postgres://you:old@db.example:5432/orders?sslmode=disable"},
		{name: "another password", typ: "postgres", url: url, data: true, options: map[string]string{"Password": "new"}, want: strings.Replace(url, "old", "new", 1), former: "old"},
		{name: "data without a password", typ: "postgres", data: true, fixed: "option Password: there are data, and the registry has no password for them"},
		{name: "data whose password is given", typ: "postgres", data: true, options: map[string]string{"Password": "pw"}, want: "postgres://postgres:pw@db.example:5432/app?sslmode=disable"},
		{name: "redis has none", typ: "redis", data: true, want: "redis://db.example:6379/0"},
		{name: "redis keeps its own", typ: "redis", data: true, url: "redis://:pw@db.example:6379/3", want: "redis://:pw@db.example:6379/3"},
		{name: "redis is told another", typ: "redis", data: true, url: "redis://:pw@db.example:6379/3", options: map[string]string{"password": "new"}, want: "redis://:new@db.example:6379/3"},
		{name: "redis is opened", typ: "redis", data: true, url: "redis://:pw@db.example:6379/0", options: map[string]string{"Open": "true"}, want: "redis://db.example:6379/0"},
		{name: "redis in quotes", typ: "redis", options: map[string]string{"password": "it's"}, err: "option Password: has a quote or a backslash"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			past, err := resource.PastOf(tc.url, tc.data)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := resource.Lookup(tc.typ).Next(tc.options, past)
			var fixed *resource.FixedError
			switch {
			case tc.fixed != "":
				if !errors.As(err, &fixed) || !strings.HasPrefix(err.Error(), tc.fixed) {
					t.Errorf("error %v, want %s", err, tc.fixed)
				}
				return
			case tc.err != "":
				if err == nil || errors.As(err, &fixed) || !strings.HasPrefix(err.Error(), tc.err) {
					t.Errorf("error %v, want %s", err, tc.err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			if got := spec.URL("db.example"); got != tc.want {
				t.Errorf("URL %s, want %s", got, tc.want)
			}
			if got := strings.Join(spec.Former, " "); got != tc.former {
				t.Errorf("former passwords %q, want %q", got, tc.former)
			}
		})
	}
}

func TestProtect(t *testing.T) {
	t.Parallel()
	spec := func(typ string, options map[string]string) resource.Spec {
		t.Helper()
		kind := resource.Lookup(typ)
		s, err := kind.Next(kind.Protect(options), resource.Past{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := spec("redis", nil); len(s.Account.Password) != 32 || s.Loopback {
		t.Errorf("redis: a password of %d characters, at loopback alone: %t", len(s.Account.Password), s.Loopback)
	}
	if s := spec("redis", map[string]string{"open": "true"}); s.Account.Password != "" || s.Loopback || s.Command != nil {
		t.Error("an open redis is not")
	}
	if s := spec("memcached", nil); !s.Loopback {
		t.Error("memcached is open")
	}
	if s := spec("memcached", map[string]string{"open": "true"}); s.Loopback {
		t.Error("an open memcached is not")
	}
	for _, word := range spec("redis", map[string]string{"password": "s3cret"}).Command {
		if strings.Contains(word, "s3cret") {
			t.Error("the password is an argument")
		}
	}
}

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		typ, data, server, want string
	}{
		{"postgres", "15", "15.18", ""},
		{"postgres", "17", "15.18", "was written by postgres 17, and 15 is older and would ruin it"},
		{"postgres", "15", "17.1", "was written by postgres 15, which 17 can't read"},
		{"mariadb", "10.11.19", "10.11.2", ""},
		{"mariadb", "11.4.2", "10.11.19", "was written by mariadb 11.4, and 10.11 is older"},
		{"mysql", "8.0.36", "8.4.1", ""},
		{"mysql", "8.4", "8.0.36", "was written by mysql 8.4, and 8.0 is older"},
		{"redis", "7.4.1", "7.0.15", "was written by redis 7.4, and 7.0 is older"},
		{"redis", "7.0.15", "7", ""},
		{"redis", "", "7", ""},
		{"postgres", "15", "", ""},
		{"memcached", "1", "2", ""},
	} {
		t.Run(tc.typ+" "+tc.data+" "+tc.server, func(t *testing.T) {
			t.Parallel()
			err := resource.Lookup(tc.typ).CheckVersion(tc.data, tc.server)
			if err == nil && tc.want != "" || err != nil && (tc.want == "" || !strings.HasPrefix(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestDataVersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ typ, file, content, want string }{
		{"postgres", "PG_VERSION", "15\n", "15"},
		{"mariadb", "mysql_upgrade_info", "10.11.19-MariaDB", "10.11.19"},
		{"mysql", "mysql_upgrade_history", `{"file_format":"1","upgrade_history":[{"date":"2024-05-01","version":"8.0.36"},{"date":"2025-01-02","version":"8.4.3","maturity":"LTS"}]}`, "8.4.3"},
		{"redis", "dump.rdb", "REDIS0010\xfa\tredis-ver\x067.0.15\xfa\nredis-bits", "7.0.15"},
		{"redis", "dump.rdb", "REDIS0010\xfa\tredis-ver\xff", ""},
		{"redis", "dump.rdb", "", ""},
	} {
		for _, f := range resource.Lookup(tc.typ).DataFiles() {
			if f.Type == tc.typ && f.Path == tc.file {
				if got := f.Version([]byte(tc.content)); got != tc.want {
					t.Errorf("%s %q: version %q, want %q", tc.file, tc.content, got, tc.want)
				}
			}
		}
	}
	for text, want := range map[string]string{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)": "15.18",
		"mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian":  "10.11.19",
		"/usr/sbin/mysqld  Ver 8.4.3 for Linux on x86_64":      "8.4.3",
		"Redis server v=7.0.15 sha=00000000:0":                 "7.0.15",
		"memcached 1.6.18":                                     "",
	} {
		if got := resource.SaidVersion(text); got != want {
			t.Errorf("%q says %q, want %q", text, got, want)
		}
	}
	if got := resource.Lookup("mariadb").ServerVersion([]string{"PATH=/bin", "MARIADB_VERSION=1:11.4.2+maria~ubu2404"}); got != "11.4.2" {
		t.Errorf("version %q", got)
	}
}
