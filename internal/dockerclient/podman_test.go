package dockerclient

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// engineSays returns the address of an engine that answers /version so.
func engineSays(t *testing.T, version string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("Api-Version", "1.41")
		case strings.HasSuffix(r.URL.Path, "/version") && version != "":
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(version))
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http://", "tcp://", 1)
}

func TestCheckEngine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, version string
		want          error
		// failed says that it is another error.
		failed bool
	}{
		{name: "Docker", version: `{"Platform":{"Name":"Docker Engine - Community"},"Components":[{"Name":"Engine","Version":"28.0.0"},{"Name":"containerd"}],"Version":"28.0.0"}`},
		{name: "Docker before it told of components", version: `{"Version":"17.05.0-ce"}`},
		{name: "Podman", version: `{"Components":[{"Name":"Podman Engine","Version":"4.3.1"},{"Name":"Conmon"}],"Version":"4.3.1"}`, want: ErrPodman},
		{name: "nothing", failed: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := Dial(engineSays(t, tc.version))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			err = CheckEngine(context.Background(), c)
			if tc.failed != (err != nil && !errors.Is(err, ErrPodman)) || !tc.failed && !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v, or another one: %v", err, tc.want, tc.failed)
			}
		})
	}
}
