package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/registry/etcdtest"
)

// What is set for an app in the rack reaches the services that list it, at the next
// up or at once with --promote, and no other container is touched; the app's own
// file wins over it, and a rollback brings back what there was.
func TestEnvironmentOfTheRack(t *testing.T) {
	t.Parallel()
	a := newApp(t, startRack(t, newBridge(t)))
	a.buildable("web")
	a.write("convox.yml", `services:
  web: {build: web, port: 3000, environment: ["COLOUR=none", "OWN=none"], scale: {count: 2}}
  other: {build: web, port: 3000}
`)
	colours := func() string {
		var all []string
		for _, c := range a.of("web") {
			all = append(all, c.environment("COLOUR")+"/"+c.environment("OWN"))
		}
		return strings.Join(all, " ")
	}
	if out := a.run("env", "set", "COLOUR=red"); !strings.HasPrefix(out, "Setting COLOUR... OK, R") {
		t.Errorf("%s", out)
	}
	a.run("up")
	if got := colours(); got != "red/none red/none" {
		t.Errorf("after up: %s", got)
	}
	other := a.one("other").id
	a.env = append(a.env, "OWN=a&b=?\"'")
	a.run("env", "set", "COLOUR=blue", "OWN", "--promote")
	a.env = nil
	if got := colours(); got != `blue/a&b=?"' blue/a&b=?"'` {
		t.Errorf("after a promotion: %s", got)
	}
	if a.one("other").id != other {
		t.Error("a service that doesn't list it was replaced")
	}
	if got := a.run("env", "get", "COLOUR"); got != "blue\n" {
		t.Errorf("get prints %q", got)
	}
	if got := a.run("env", "ls"); got != "COLOUR\nOWN\n" {
		t.Errorf("ls prints %q", got)
	}
	if got := a.run("env", "web"); !strings.Contains(got, "COLOUR=blue\n") {
		t.Errorf("env prints\n%s", got)
	}
	// The file beside the manifest wins, and goes on to when something is promoted.
	a.write(".env", "COLOUR=green\n")
	a.run("up")
	a.run("env", "unset", "OWN", "--promote")
	if got := colours(); got != "green/none green/none" {
		t.Errorf("with a file: %s", got)
	}
	if err := os.Remove(filepath.Join(a.dir, ".env")); err != nil {
		t.Fatal(err)
	}
	a.run("up")
	if got := colours(); got != "blue/none blue/none" {
		t.Errorf("without it: %s", got)
	}
	a.run("env", "set", "COLOUR=black", "--promote")
	a.run("rollback")
	if got := colours(); got != "blue/none blue/none" {
		t.Errorf("after a rollback: %s", got)
	}
	a.refused("variable \"NOTHING\": isn't set for app "+a.name, "env", "unset", "NOTHING")
	a.run("down")
	if got := a.run("env", "get", "COLOUR"); got != "black\n" {
		t.Errorf("after down: %q", got)
	}
}

// Convox's client sets an environment and promotes it: what runs on the server's
// host runs with it, without a command there.
func TestPromotionByHTTP(t *testing.T) {
	t.Parallel()
	at := etcdtest.FreeAddr(t)
	r := startRack(t, newBridge(t), "--http", at)
	a := newApp(t, r)
	a.buildable("web")
	a.write("convox.yml", "services:\n  web: {build: web, port: 3000, environment: [\"COLOUR=none\"]}\n")
	a.run("up")
	token, err := os.ReadFile(filepath.Join(r.data, "http-token"))
	if err != nil {
		t.Fatal(err)
	}
	say := func(path string, form url.Values, v any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for line := range strings.Lines(string(token)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				req.SetBasicAuth("convox", strings.Fields(line)[0])
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
	}
	var release struct{ ID string }
	say("/apps/"+a.name+"/releases", url.Values{"env": {"COLOUR=red"}}, &release)
	say("/apps/"+a.name+"/releases/"+release.ID+"/promote", nil, &struct{}{})
	eventually(t, "the container has the new environment", func() error {
		for _, c := range a.of("web") {
			if got := c.environment("COLOUR"); got != "red" {
				return fmt.Errorf("a container has COLOUR=%s", got)
			}
		}
		return nil
	})
}
