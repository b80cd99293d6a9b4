package test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/image"
)

// serverUser runs the servers of the images that are made here. Volumes get the
// owner of the directory that they are mounted at.
const serverUser = 999

// serverImage is an image with a server of Debian's packages.
type serverImage struct {
	name string
	// programs are with the libraries that they need, trees with all below them,
	// entrypoint is a file of testdata/servers, dirs belong to the server.
	programs, trees, dirs []string
	entrypoint            string
	changes               []string
}

// serverShell is what the entrypoints, and those who exec something, need.
var serverShell = []string{"/bin/sh", "/bin/cat", "/bin/hostname", "/bin/sleep", "/usr/bin/env"}

// build imports the image and returns its reference.
func (s serverImage) build() (string, error) {
	files := map[string]string{}
	for _, p := range slices.Concat(s.programs, serverShell) {
		files[strings.TrimPrefix(p, "/")] = p
		addLibraries(files, p)
	}
	for _, tree := range s.trees {
		err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
			if strings.Contains(path, "bitcode") || strings.Contains(path, "llvmjit") {
				// The compiler of queries is as large as all the rest.
				return err
			}
			if info, e := os.Stat(path); err == nil && e == nil && info.Mode().IsRegular() {
				files[strings.TrimPrefix(path, "/")] = path
				if strings.HasSuffix(path, ".so") {
					addLibraries(files, path)
				}
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	if s.entrypoint != "" {
		files["entrypoint.sh"] = filepath.Join(repository(), "test", "testdata", "servers", s.entrypoint)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	add := func(h *tar.Header, content []byte) error {
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	made := map[string]bool{".": true}
	parents := func(name string) error {
		parts := strings.Split(filepath.Dir(name), "/")
		for n := range parts {
			if dir := strings.Join(parts[:n+1], "/"); !made[dir] {
				made[dir] = true
				if err := add(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for name, from := range files {
		content, err := os.ReadFile(from)
		if err == nil {
			err = parents(name)
		}
		if err == nil {
			err = add(&tar.Header{Name: name, Mode: 0o755}, content)
		}
		if err != nil {
			return "", err
		}
	}
	for _, dir := range append(s.dirs, "/tmp") {
		name := strings.TrimPrefix(dir, "/")
		err := parents(name)
		if err == nil {
			err = add(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: serverUser, Gid: serverUser}, nil)
		}
		if err != nil {
			return "", err
		}
	}
	err := parents("etc/passwd")
	if err == nil {
		err = add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, fmt.Appendf(nil, "root:x:0:0::/:/bin/sh\nserver:x:%d:%d::/tmp:/bin/sh\n", serverUser, serverUser))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", err
	}
	cli, err := newEngine()
	if err != nil {
		return "", err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(runContext(), completion)
	defer cancel()
	ref := "rackdns-test-" + s.name + ":" + runID
	changes := append([]string{"LABEL " + label + "=" + runID, fmt.Sprintf("USER %d:%d", serverUser, serverUser)}, s.changes...)
	if s.entrypoint != "" {
		changes = append(changes, `ENTRYPOINT ["/bin/sh", "/entrypoint.sh"]`)
	}
	out, err := cli.ImageImport(ctx, image.ImportSource{Source: &archive, SourceName: "-"}, ref, image.ImportOptions{Changes: changes})
	if err != nil {
		return "", fmt.Errorf("importing %s: %w", ref, err)
	}
	defer out.Close()
	_, err = io.Copy(io.Discard, out)
	return ref, err
}

// postgresBin is the newest of the machine's PostgreSQL servers.
func postgresBin() string {
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is a good one
	if len(all) == 0 {
		return ""
	}
	return filepath.Dir(all[len(all)-1])
}

var postgresImage = sync.OnceValues(func() (string, error) {
	bin := postgresBin()
	if bin == "" {
		return "", exec.ErrNotFound
	}
	version := filepath.Base(filepath.Dir(bin))
	s := serverImage{
		name: "postgres", entrypoint: "postgres.sh",
		trees:   []string{filepath.Join(filepath.Dir(bin), "lib"), "/usr/share/postgresql/" + version},
		dirs:    []string{"/var/lib/postgresql/pgdata", "/var/run/postgresql"},
		changes: []string{"ENV PATH=" + bin + ":/usr/bin:/bin"},
	}
	for _, p := range []string{"postgres", "initdb", "psql", "pg_dump", "pg_restore"} {
		s.programs = append(s.programs, filepath.Join(bin, p))
	}
	return s.build()
})

var mariadbImage = sync.OnceValues(func() (string, error) {
	said, err := exec.Command("mariadbd", "--version").Output()
	if err != nil {
		return "", err
	}
	return serverImage{
		name: "mariadb", entrypoint: "mariadb.sh",
		programs: []string{"/usr/sbin/mariadbd", "/usr/bin/mariadb", "/usr/bin/mariadb-dump"},
		trees:    []string{"/usr/share/mysql/english", "/usr/share/mysql/charsets"},
		dirs:     []string{"/var/lib/mysql", "/run/mysqld"},
		changes:  []string{"ENV PATH=/usr/sbin:/usr/bin:/bin", "ENV SERVER_VERSION=" + regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(said))},
	}.withFiles("/usr/share/mysql/mysql_system_tables.sql", "/usr/share/mysql/mysql_performance_tables.sql", "/usr/share/mysql/mysql_system_tables_data.sql").build()
})

// withFiles adds single files.
func (s serverImage) withFiles(files ...string) serverImage {
	s.trees = append(s.trees, files...)
	return s
}

// redisServer has, unlike redisImage, what a resource with a password needs: a
// shell.
var redisServer = sync.OnceValues(func() (string, error) {
	return serverImage{
		name: "redis-server", programs: []string{"/usr/bin/redis-server", "/usr/bin/redis-cli"}, dirs: []string{"/data"},
		changes: []string{`CMD ["redis-server", "--protected-mode", "no"]`, "WORKDIR /data", "ENV PATH=/usr/bin:/bin"},
	}.build()
})

var memcachedImage = sync.OnceValues(func() (string, error) {
	return serverImage{
		name: "memcached", programs: []string{"/usr/bin/memcached"},
		changes: []string{`CMD ["memcached"]`, "ENV PATH=/usr/bin:/bin"},
	}.build()
})
