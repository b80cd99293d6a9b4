package dockerclient

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config"
	dockercontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/client"
)

// remember makes a context as docker context create does.
func remember(t *testing.T, name, host string, tls *store.EndpointTLSData) {
	t.Helper()
	s := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(dockercontext.DockerEndpoint, func() any { return &dockercontext.EndpointMeta{} }),
	))
	err := s.CreateOrUpdate(store.Metadata{Name: name, Endpoints: map[string]any{dockercontext.DockerEndpoint: dockercontext.EndpointMeta{Host: host}}})
	if err == nil && tls != nil {
		err = s.ResetEndpointTLSMaterial(name, dockercontext.DockerEndpoint, tls)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// settings gives the test a docker command that nobody has configured.
func settings(t *testing.T) {
	t.Helper()
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"} {
		t.Setenv(name, "")
	}
	was := config.Dir()
	config.SetDir(t.TempDir())
	t.Cleanup(func() { config.SetDir(was) })
}

func TestFind(t *testing.T) {
	tests := []struct {
		name, flag, host, context, current string
		want, remote, source, err          string
	}{
		{name: "nothing", want: client.DefaultDockerHost},
		{name: "a flag", flag: "tcp://10.9.0.1:2375", host: "unix:///a", context: "far", want: "tcp://10.9.0.1:2375", remote: "10.9.0.1", source: "--docker"},
		{name: "DOCKER_HOST before contexts", host: "tcp://[fd00::1]:2375", context: "far", current: "far", want: "tcp://[fd00::1]:2375", remote: "fd00::1", source: "DOCKER_HOST"},
		{name: "DOCKER_CONTEXT", context: "far", current: "near", want: "tcp://engine.test:2376", remote: "engine.test", source: `docker context "far" of DOCKER_CONTEXT`},
		{name: "the present context", current: "near", want: "unix:///near.sock", source: "config.json"},
		{name: "the default context", context: "default", current: "far", want: client.DefaultDockerHost},
		{name: "none of that name", context: "gone", err: `docker context "gone" of DOCKER_CONTEXT: there is no such context`},
		{name: "over SSH", context: "ssh", err: "over SSH is not supported"},
		{name: "over SSH by the flag", flag: "ssh://me@far", err: "ssh://me@far (--docker)"},
		{name: "no address", host: "nonsense", err: "nonsense (DOCKER_HOST)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings(t)
			remember(t, "far", "tcp://engine.test:2376", nil)
			remember(t, "near", "unix:///near.sock", nil)
			remember(t, "ssh", "ssh://me@far", nil)
			t.Setenv("DOCKER_HOST", tt.host)
			t.Setenv("DOCKER_CONTEXT", tt.context)
			if tt.current != "" {
				if err := os.WriteFile(filepath.Join(config.Dir(), "config.json"), []byte(`{"currentContext": "`+tt.current+`"}`), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e, err := Find(tt.flag)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, %v; want an error with %q", e, err, tt.err)
				}
				return
			}
			if err != nil || e.Host != tt.want || e.Remote() != tt.remote || !strings.Contains(e.Source, tt.source) {
				t.Errorf("%s, remote %q, %v; want %s of %s, remote %q", e, e.Remote(), err, tt.want, tt.source, tt.remote)
			}
			c, err := e.Dial()
			if err != nil {
				t.Fatal(err)
			}
			if got := c.DaemonHost(); got != tt.want {
				t.Errorf("the client is of %s", got)
			}
			c.Close()
		})
	}
}

// A context's engine is trusted by the context's CA, and by nothing else.
func TestContextTLS(t *testing.T) {
	settings(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
	}))
	defer server.Close()
	host := "tcp://" + server.Listener.Addr().String()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	remember(t, "trusted", host, &store.EndpointTLSData{Files: map[string][]byte{"ca.pem": ca}})
	remember(t, "plain", host, nil)
	for name, works := range map[string]bool{"trusted": true, "plain": false} {
		t.Setenv("DOCKER_CONTEXT", name)
		c, err := Dial("")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ping(t.Context()); (err == nil) != works {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
}
