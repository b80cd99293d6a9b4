package resource

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"github.com/rackdns/rackdns/internal/registry"
)

// server is what to run for a type.
type server struct {
	port   uint16
	volume string
	// spec makes a Spec's environment, command and URL of options that are
	// complete and checked.
	spec func(options map[string]string) Spec
	// versions are files of the data that say which version has written them.
	versions []versionFile
	// precise series have two numbers, as 10.11; else one is enough, as 17.
	precise bool
	// same says that no other series reads the data, not even a newer one.
	same bool
}

// types are all types, by name.
var types = []*Type{
	{Name: "efs", app: true, ignored: []string{"Path", "Owner"}},
	{
		Name: "mariadb", app: true, ignored: instances,
		Options: database("app", "mariadb", "11.4", notRoot),
		server: &server{
			port: 3306, volume: "/var/lib/mysql",
			spec:     func(o map[string]string) Spec { return mysql("MARIADB_", o) },
			versions: mysqlVersions, precise: true,
		},
	},
	{
		Name: "memcached", app: true, rack: true, ignored: instances,
		Options: []Option{image("memcached"), open("at all of the host's addresses"), version("1.6")},
		server: &server{
			port: 11211,
			spec: func(o map[string]string) Spec {
				return Spec{url: url.URL{Scheme: "memcached"}, Probe: "memcached://:11211", Loopback: o[OptionOpen] != "true"}
			},
		},
	},
	{
		Name: "mysql", app: true, rack: true, ignored: instances,
		Options: database("app", "mysql", "8.4", notRoot),
		server: &server{
			port: 3306, volume: "/var/lib/mysql",
			spec:     func(o map[string]string) Spec { return mysql("MYSQL_", o) },
			versions: mysqlVersions, precise: true,
		},
	},
	{
		Name: "postgres", app: true, rack: true, ignored: instances,
		Options: database("postgres", "postgres", "17", nil),
		server: &server{
			port: 5432, volume: pgData, spec: postgres,
			versions: []versionFile{{"PG_VERSION", firstNumber}}, same: true,
		},
	},
	{
		Name: "redis", app: true, rack: true, ignored: instances,
		Options: []Option{
			{Name: OptionDatabase, Default: "0", Description: "Number of the database in the URL, 0 to 15", check: redisDatabase},
			image("redis"), open("without a password, at all of the host's addresses"),
			{Name: OptionPassword, Description: "Server password", Secret: true, Optional: true, check: redisPassword},
			version("7.4"),
		},
		server: &server{
			port: 6379, volume: "/data", spec: redis,
			versions: []versionFile{{"dump.rdb", redisVersion}}, precise: true,
		},
	},
	outside("s3", "URL of the bucket", "Topic", "Versioning"),
	outside("sns", "URL of the topic", "Queue"),
	outside("sqs", "URL of the queue", "MessageRetentionPeriod", "ReceiveMessageWaitTime", "VisibilityTimeout"),
	outside("syslog", "Syslog URL, e.g. tcp+tls://logs.example.com:6514", "Format"),
	outside("webhook", "Webhook URL"),
}

// instances are options of databases that are machines elsewhere.
var instances = []string{
	"AllocatedStorage", "AutoMinorVersionUpgrade", "AutomaticFailoverEnabled", "BackupRetentionPeriod", "Class",
	"DatabaseSnapshotIdentifier", "DeletionProtection", "Durable", "Encrypted", "Family", "InstanceType", "Iops",
	"MaxConnections", "MultiAZ", "Nodes", "NumCacheClusters", "NumCacheNodes", "Storage",
}

// outside is a type of which there are only ones elsewhere.
func outside(name, what string, ignored ...string) *Type {
	return &Type{
		Name: name, rack: true, ignored: ignored,
		Options: []Option{{Name: OptionURL, Description: what}},
	}
}

// database returns the options of a database server.
func database(user, imageName, tag string, checkUser func(string) error) []Option {
	return []Option{
		{Name: OptionDatabase, Default: "app", Description: "Name of the database", Fixed: true, check: identifier},
		image(imageName),
		{Name: OptionPassword, Description: "Server password", Secret: true, Fixed: true, check: password},
		{Name: OptionUsername, Default: user, Description: "Server username", Fixed: true, check: func(s string) error {
			if err := identifier(s); err != nil || checkUser == nil {
				return err
			}
			return checkUser(s)
		}},
		version(tag),
	}
}

func image(name string) Option {
	return Option{Name: OptionImage, Default: name, Description: "Image to run", check: func(s string) error {
		if _, err := reference.ParseNormalizedNamed(s); err != nil {
			return fmt.Errorf("%s is no image", registry.Quote(s))
		}
		return nil
	}}
}

func open(how string) Option {
	return Option{Name: OptionOpen, Description: "true: run for the rack " + how, check: func(s string) error {
		if s != "true" && s != "false" && s != "" {
			return fmt.Errorf("%s: want true or false", registry.Quote(s))
		}
		return nil
	}}
}

func version(tag string) Option {
	return Option{Name: OptionVersion, Default: tag, Description: "Tag of the image"}
}

// setImage returns the image to run: that of the options, with the version as
// its tag. An image with a tag of its own takes no version.
func setImage(options map[string]string, given bool) (string, error) {
	named, err := reference.ParseNormalizedNamed(options[OptionImage])
	if err != nil {
		return "", fmt.Errorf("option %s: %w", OptionImage, err)
	}
	if !reference.IsNameOnly(named) {
		if given {
			return "", fmt.Errorf("option %s: image %s has a tag already", OptionVersion, options[OptionImage])
		}
		delete(options, OptionVersion)
		return reference.FamiliarString(named), nil
	}
	tagged, err := reference.WithTag(named, options[OptionVersion])
	if err != nil {
		return "", fmt.Errorf("option %s: %s is no tag of an image", OptionVersion, registry.Quote(options[OptionVersion]))
	}
	return reference.FamiliarString(tagged), nil
}

// pgData is the same for all versions of the image, whose own place for data
// is another one from version 18 on.
const pgData = "/var/lib/postgresql/pgdata"

func postgres(o map[string]string) Spec {
	return Spec{
		Env: []string{
			"PGDATA=" + pgData, "POSTGRES_DB=" + o[OptionDatabase],
			"POSTGRES_PASSWORD=" + o[OptionPassword], "POSTGRES_USER=" + o[OptionUsername],
		},
		url:   databaseURL("postgres", o, "sslmode=disable"),
		Probe: "postgres://" + o[OptionUsername] + "@:5432/" + o[OptionDatabase],
	}
}

// mysql sets root's password too: one that the image makes up is printed to
// the container's log.
func mysql(prefix string, o map[string]string) Spec {
	return Spec{
		Env: []string{
			prefix + "DATABASE=" + o[OptionDatabase], prefix + "PASSWORD=" + o[OptionPassword],
			prefix + "ROOT_PASSWORD=" + o[OptionPassword], prefix + "USER=" + o[OptionUsername],
		},
		url:   databaseURL("mysql", o, ""),
		Probe: "mysql://" + o[OptionUsername] + "@:3306/" + o[OptionDatabase],
	}
}

// redisCommand gives the server its password as a line of its configuration:
// among its arguments all users of the host would see it. The image's own
// entrypoint is run in between, if it has one.
var redisCommand = []string{"sh", "-c", `command -v docker-entrypoint.sh >/dev/null && set -- docker-entrypoint.sh "$@"
exec "$@" - <<END
requirepass '$REDIS_PASSWORD'
END
`, "sh", "redis-server"}

func redis(o map[string]string) Spec {
	s := Spec{url: url.URL{Scheme: "redis", Path: "/" + o[OptionDatabase]}, Probe: "redis://:6379"}
	password := o[OptionPassword]
	s.Loopback = password == "" && o[OptionOpen] != "true"
	if password != "" {
		s.url.User = url.UserPassword("", password)
		s.Env, s.Command = []string{"REDIS_PASSWORD=" + password}, redisCommand
	}
	return s
}

func databaseURL(scheme string, o map[string]string, query string) url.URL {
	return url.URL{
		Scheme: scheme, User: url.UserPassword(o[OptionUsername], o[OptionPassword]),
		Path: "/" + o[OptionDatabase], RawQuery: query,
	}
}

// identifier checks what servers and their clients take without quotes.
func identifier(s string) error {
	for n, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (n == 0 || c < '0' || c > '9') {
			return fmt.Errorf("%s: want letters, digits and underscores, and no digit first", registry.Quote(s))
		}
	}
	if s == "" || len(s) > 32 {
		return fmt.Errorf("%s: want 1 to 32 characters", registry.Quote(s))
	}
	return nil
}

// password's errors don't repeat it.
func password(s string) error {
	for _, c := range s {
		if c <= ' ' || c > '~' {
			return errors.New("has characters other than those of ASCII that can be seen")
		}
	}
	return nil
}

func redisPassword(s string) error {
	if strings.ContainsAny(s, `'\`) {
		return errors.New("has a quote or a backslash, which can't be written into its configuration")
	}
	return password(s)
}

func notRoot(user string) error {
	if user == "root" {
		return errors.New("root is there anyway, and has the same password")
	}
	return nil
}

func redisDatabase(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 0 || n > 15 || strconv.Itoa(n) != s {
		return fmt.Errorf("%s is not a number from 0 to 15", registry.Quote(s))
	}
	return nil
}
