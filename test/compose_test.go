package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/miekg/dns"
)

// Where there is only a Compose file, up says what to add to it; with that, what
// docker-compose starts asks by name and is found.
func TestCompose(t *testing.T) {
	t.Parallel()
	needTool(t, "docker-compose")
	image, err := testImage()
	if err != nil {
		t.Fatal(err)
	}
	r := startRack(t, newBridge(t))
	project := unique("shop")
	dir := filepath.Join(t.TempDir(), project)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "docker-compose.yml")
	write := func(more string) {
		t.Helper()
		text := "version: \"2.4\"\nservices:\n  web_app:\n    image: " + image + "\n    expose: [\"3000\"]\n" +
			"  worker:\n    image: " + image + "\n    links: [web_app]\n" + more
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	up := command(t, "up", "--rack", r.name, "--etcd", r.etcd, "--suffix", "convox")
	up.Dir = dir
	out, errOut, code := completed(t, up)
	if code != 2 || !strings.Contains(errOut, "docker-compose.yml is a Compose file: bring it up with docker compose up") {
		t.Fatalf("up: exit code %d\n%s%s", code, out, errOut)
	}
	_, lines, _ := strings.Cut(out, "needs these two lines:\n\n")
	lines, _, ok := strings.Cut(lines, "\n\n")
	if !ok || strings.Count(lines, "\n") != 1 {
		t.Fatalf("up has printed no two lines:\n%s", out)
	}
	write(lines + "\n")

	docker := func(args ...string) {
		t.Helper()
		cmd := exec.Command("docker-compose", append([]string{"-p", project}, args...)...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("docker-compose %v: %v\n%s", args, err, text)
		}
	}
	t.Cleanup(func() { docker("down", "--timeout", "0") })
	docker("up", "-d")
	name := r.service("web-app", project)
	eventually(t, name+" is found", func() error {
		_, err := found(r.dns, name, dns.TypeA)
		return err
	})
	worker := &instance{id: composeContainer(t, project, "worker"), cli: engine(t), net: &bridge{name: project + "_default"}, t: t}
	for _, asked := range []string{"web_app." + project, strings.TrimSuffix(name, ".")} {
		eventually(t, "the worker reaches "+asked, func() error {
			_, err := worker.connect("http", asked+":3000")
			return err
		})
	}
}

// composeContainer returns the ID of the only container of a service.
func composeContainer(t *testing.T, project, service string) string {
	t.Helper()
	list, err := engine(t).ContainerList(engineContext(t), container.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", "com.docker.compose.project="+project), filters.Arg("label", "com.docker.compose.service="+service))})
	if err != nil || len(list) != 1 {
		t.Fatalf("service %s has %d containers, %v; want one", service, len(list), err)
	}
	return list[0].ID
}
