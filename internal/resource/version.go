package resource

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// versionFile is a file of the data that says which version has written them.
type versionFile struct {
	name string
	// read returns the version, "" if that can't be told.
	read func(content []byte) string
}

// headLength is how much of such a file is needed.
const headLength = 64 << 10

var number = regexp.MustCompile(`\d+(\.\d+)*`)

func firstNumber(content []byte) string { return string(number.Find(content)) }

// lastNumber is for a list of versions, of which the last one is the newest. It
// is JSON, in which dates have numbers too.
func lastNumber(content []byte) string {
	at := bytes.LastIndex(content, []byte(`"version"`))
	if at < 0 {
		return ""
	}
	return firstNumber(content[at:])
}

// mysqlVersions are the files of MySQL's and MariaDB's servers, new and old.
var mysqlVersions = []versionFile{
	{"mysql_upgrade_history", lastNumber},
	{"mariadb_upgrade_info", firstNumber},
	{"mysql_upgrade_info", firstNumber},
	// A server that has only just been set up may have written none of these.
	{"ibdata1", func([]byte) string { return "" }},
}

// redisVersion reads the first of a dump's remarks, which is its writer's version:
// its name and its value, each after its length.
func redisVersion(content []byte) string {
	const name = "redis-ver"
	_, rest, ok := bytes.Cut(content[:min(len(content), 64)], []byte(name))
	if !ok || len(rest) == 0 || len(rest) < 1+int(rest[0]) {
		return ""
	}
	return firstNumber(rest[1 : 1+int(rest[0])])
}

// DataFile is a file that tells that there are data, and of what.
type DataFile struct {
	// Path is where it is in the volume.
	Path string
	// Type is the only type whose data have it, "" where several may.
	Type string
	read func([]byte) string
}

// Head is how much of a [DataFile] its Version wants to see.
func (DataFile) Head() int64 { return headLength }

// Version returns which version of the server has written the data, by the
// beginning of the file, "" if that can't be told.
func (f DataFile) Version(head []byte) string { return f.read(head) }

// DataFiles are those by which data are known: the type's own first.
func (t *Type) DataFiles() []DataFile {
	var own, others []DataFile
	for _, other := range types {
		if other.server == nil {
			continue
		}
		for _, f := range other.server.versions {
			d := DataFile{Path: path.Clean(f.name), Type: other.Name, read: f.read}
			switch {
			case other == t:
				own = append(own, d)
			case t.server == nil || len(t.server.versions) == 0 || other.server.versions[0].name != t.server.versions[0].name:
				others = append(others, d)
			}
		}
	}
	return append(own, others...)
}

// ServerVersion finds the version of a server in the variables of its image, ""
// if they don't say. Images say it for all to see.
func (t *Type) ServerVersion(env []string) string {
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		switch name {
		case strings.ToUpper(t.Name) + "_VERSION", "PG_VERSION":
			if name == "PG_VERSION" && t.Name != "postgres" {
				continue
			}
			// The packages of some have an epoch: 1:11.4.2.
			if _, after, ok := strings.Cut(value, ":"); ok {
				value = after
			}
			return firstNumber([]byte(value))
		}
	}
	return ""
}

// VersionCommand is what a server is called with to say its version.
func (t *Type) VersionCommand() []string {
	program := map[string]string{"mariadb": "mariadbd", "mysql": "mysqld", "redis": "redis-server"}[t.Name]
	if program == "" {
		program = t.Name
	}
	return []string{program, "--version"}
}

var said = regexp.MustCompile(`(?:Ver |v=|PostgreSQL\) )(\d+(?:\.\d+)*)`)

// SaidVersion finds the version in what a server says of itself, "" if it isn't
// there.
func SaidVersion(text string) string {
	if m := said.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// CheckVersion refuses data for a server that is too old for them, or that can't
// read them for another reason. What isn't known is no reason.
func (t *Type) CheckVersion(data, server string) error {
	if t.server == nil || data == "" || server == "" {
		return nil
	}
	length := 1
	if t.server.precise {
		length = 2
	}
	was, is := series(data, length), series(server, length)
	switch c := compare(was, is); {
	case c > 0:
		return fmt.Errorf("was written by %s %s, and %s is older and would ruin it: %s", t.Name, was, is, t.migrate(was, is))
	case c < 0 && t.server.same:
		return fmt.Errorf("was written by %s %s, which %s can't read: %s", t.Name, was, is, t.migrate(was, is))
	}
	return nil
}

// migrate is the way from data of one series to a server of another.
func (t *Type) migrate(data, server string) string {
	return fmt.Sprintf("keep %[1]s %[2]s, or back the data up with it (rackdns backup) and restore them into a new resource of %[1]s %[3]s", t.Name, data, server)
}

// series returns the first numbers of a version.
func series(version string, length int) string {
	parts := strings.Split(version, ".")
	return strings.Join(parts[:min(len(parts), length)], ".")
}

// compare compares versions by their numbers; what one of them doesn't say is no
// difference.
func compare(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for n := range min(len(as), len(bs)) {
		x, _ := strconv.Atoi(as[n]) // digits, by how they are found
		y, _ := strconv.Atoi(bs[n])
		if x != y {
			return x - y
		}
	}
	return 0
}
