package resource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Dump returns what writes all data of a resource to its output, in its type's
// own format, as of one moment.
func (t *Type) Dump(a Account) (Command, error) {
	switch t.Name {
	case "postgres":
		return Command{
			Args: []string{"pg_dump", "-h", "127.0.0.1", "-U", a.User, "-d", a.Database, "--format=custom"},
			Env:  []string{"PGPASSWORD=" + a.Password},
		}, nil
	case "mysql", "mariadb":
		names := []string{"mariadb-dump", "mysqldump"}
		if t.Name == "mysql" {
			names = names[1:]
		}
		return Command{
			Args: mysqlClient(names, "--user=root", "--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", "--no-tablespaces", a.Database),
			Env:  []string{"MYSQL_PWD=" + a.Password},
		}, nil
	case "redis":
		return Command{Args: []string{"redis-cli", "--rdb", "-"}, Env: redisEnv(a)}, nil
	}
	return Command{}, t.noDump()
}

func redisEnv(a Account) []string {
	if a.Password == "" {
		return nil
	}
	return []string{"REDISCLI_AUTH=" + a.Password}
}

// noDump says that there is nothing to be kept.
func (t *Type) noDump() error {
	if t.Name == "memcached" {
		return errors.New("a memcached keeps nothing that could be backed up: what is in it is gone with its container anyway")
	}
	return fmt.Errorf("a resource of type %s is not run here: back it up where it is", t.Name)
}

// Load returns what reads a dump in this format back, in place of what the
// resource has of it. Redis has none: it reads a dump when it starts.
func (t *Type) Load(a Account, format Format) (Command, error) {
	switch {
	case t.Name == "postgres" && format.plain:
		return Command{
			Args: []string{"psql", "-X", "-q", "-h", "127.0.0.1", "-U", a.User, "-d", a.Database, "-v", "ON_ERROR_STOP=1", "--single-transaction"},
			Env:  []string{"PGPASSWORD=" + a.Password},
		}, nil
	case t.Name == "postgres":
		return Command{
			Args: []string{"pg_restore", "-h", "127.0.0.1", "-U", a.User, "-d", a.Database, "--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error"},
			Env:  []string{"PGPASSWORD=" + a.Password},
		}, nil
	case t.Name == "mysql" || t.Name == "mariadb":
		return Command{
			Args: mysqlClient(mysqlNames, "--user=root", "--batch", a.Database),
			Env:  []string{"MYSQL_PWD=" + a.Password},
		}, nil
	}
	return Command{}, t.noDump()
}

// AtOnce reports whether a dump is read back whole or not at all.
func (t *Type) AtOnce() bool { return t.Name == "postgres" }

// Setting returns what asks a Redis for one of its settings.
func (t *Type) Setting(a Account, name string) Command {
	return Command{Args: []string{"redis-cli", "CONFIG", "GET", name}, Env: redisEnv(a)}
}

// Ping returns what has a Redis answer PONG once it has read its data.
func (t *Type) Ping(a Account) Command {
	return Command{Args: []string{"redis-cli", "PING"}, Env: redisEnv(a)}
}

// RedisDump is the file in a Redis' volume that it reads when it starts.
const RedisDump = "dump.rdb"

// Format is what a dump is in.
type Format struct {
	// Type is that of the resource that it is of.
	Type string
	// plain says that it is SQL where the type's own format is another one.
	plain bool
	// end is what a dump that is complete has at its end.
	end string
}

var formats = []struct {
	begin string
	Format
}{
	{"PGDMP", Format{Type: "postgres"}},
	{"--\n-- PostgreSQL database dump", Format{Type: "postgres", plain: true, end: "PostgreSQL database dump complete"}},
	{"REDIS0", Format{Type: "redis"}},
	{"-- MySQL dump", Format{Type: "mysql", end: "-- Dump completed"}},
	{"-- MariaDB dump", Format{Type: "mariadb", end: "-- Dump completed"}},
	{"/*M!999999", Format{Type: "mariadb", end: "-- Dump completed"}},
}

const (
	longestBegin = 64
	// tailLength is how far before its end a dump says that it is complete.
	tailLength = 1 << 10
)

// CheckDump finds out what a file of that size is a dump of, and refuses one that
// isn't whole, as far as that is to be seen, or is of another type.
func (t *Type) CheckDump(file io.ReaderAt, size int64) (Format, error) {
	if _, err := t.Dump(Account{}); err != nil {
		return Format{}, err
	}
	head := make([]byte, min(size, longestBegin))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return Format{}, err
	}
	for _, f := range formats {
		if !bytes.HasPrefix(head, []byte(f.begin)) {
			continue
		}
		if f.Type != t.Name {
			return Format{}, fmt.Errorf("is a dump of a %s, and the resource is a %s", f.Type, t.Name)
		}
		tail := make([]byte, min(size, tailLength))
		if _, err := file.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
			return Format{}, err
		}
		if !bytes.Contains(tail, []byte(f.end)) {
			return Format{}, errors.New("is cut off: its end is missing")
		}
		return f.Format, nil
	}
	return Format{}, fmt.Errorf("is no dump of a %s", t.Name)
}
