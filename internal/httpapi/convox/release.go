package convox

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/registry"
)

// shownRelease is a release of an app's environment. Images and manifests are the
// hosts' own.
type shownRelease struct {
	App         string    `json:"app"`
	Build       string    `json:"build"`
	Created     time.Time `json:"created"`
	Description string    `json:"description"`
	Env         string    `json:"env"`
	ID          string    `json:"id"`
	Manifest    string    `json:"manifest"`
}

// appName is the app that the path names. It need not be there yet: an environment
// can be set before an app runs.
func appName(r *httpapi.Request) (string, error) {
	name := httpapi.Fold(r.PathValue("app"))
	s, err := r.Rack.Snapshot()
	if err != nil {
		return "", err
	}
	if a := s.App(name); a != nil {
		name = a.Name
	}
	if err := registry.CheckApp("app", name); err != nil {
		return "", httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return name, nil
}

// away is that the registry can't be read or written.
func away(err error) error {
	return &httpapi.Error{Status: http.StatusServiceUnavailable, Sentence: err.Error(), Header: http.Header{"Retry-After": {"1"}}}
}

// lines is an environment as Convox's client has it.
func lines(all map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(name + "=" + all[name] + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func show(ctx context.Context, c *registry.Client, r *registry.Release) (shownRelease, error) {
	env, err := c.Environment(ctx, r.App, r.Release)
	if err != nil {
		return shownRelease{}, away(err)
	}
	return shownRelease{App: r.App, Created: r.Created, Description: r.Description, Env: lines(env), ID: r.Release}, nil
}

func releases(w http.ResponseWriter, r *httpapi.Request) error {
	c, app, err := environmentOf(r)
	if err != nil {
		return err
	}
	all, err := c.EnvironmentReleases(r.Context(), app)
	if err != nil {
		return away(err)
	}
	most, err := limit(r, len(all))
	if err != nil {
		return err
	}
	list := []shownRelease{}
	for _, one := range all[:most] {
		is, err := show(r.Context(), c, one)
		if err != nil {
			return err
		}
		list = append(list, is)
	}
	w.Header().Set("Cache-Control", "no-store")
	return httpapi.WriteJSON(w, http.StatusOK, list)
}

func environmentOf(r *httpapi.Request) (*registry.Client, string, error) {
	c, err := r.Rack.Registry()
	if err != nil {
		return nil, "", err
	}
	app, err := appName(r)
	return c, app, err
}

// findRelease returns a release by its name.
func findRelease(ctx context.Context, c *registry.Client, app, name string) (*registry.Release, bool, error) {
	all, err := c.EnvironmentReleases(ctx, app)
	if err != nil {
		return nil, false, away(err)
	}
	at := slices.IndexFunc(all, func(o *registry.Release) bool { return strings.EqualFold(o.Release, name) })
	if at < 0 {
		return nil, false, httpapi.Errorf(http.StatusNotFound, "app %s has no release %s", app, httpapi.Quote(name))
	}
	return all[at], at == 0, nil
}

func release(w http.ResponseWriter, r *httpapi.Request) error {
	c, app, err := environmentOf(r)
	if err != nil {
		return err
	}
	one, _, err := findRelease(r.Context(), c, app, r.PathValue("release"))
	if err != nil {
		return err
	}
	is, err := show(r.Context(), c, one)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return httpapi.WriteJSON(w, http.StatusOK, is)
}

// createRelease sets the whole environment of an app.
func createRelease(w http.ResponseWriter, r *httpapi.Request) error {
	form, err := r.Form()
	if err != nil {
		return err
	}
	if !form.Has("env") {
		return httpapi.Errorf(http.StatusBadRequest, "env: is missing")
	}
	c, app, err := environmentOf(r)
	if err != nil {
		return err
	}
	env, err := registry.ParseEnvironment(form.Get("env"))
	if err != nil {
		return httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	one, err := set(r.Context(), c, app, form.Get("description"), env)
	if err != nil {
		return err
	}
	if one == nil { // there was none, and there is none now
		one = &registry.Release{App: app}
	}
	is := shownRelease{App: app, Created: one.Created, Description: one.Description, ID: one.Release}
	if r.May(httpapi.ReadSecrets) {
		is.Env = lines(env)
	}
	return httpapi.WriteJSON(w, http.StatusOK, is)
}

func set(ctx context.Context, c *registry.Client, app, description string, env map[string]string) (*registry.Release, error) {
	one, err := c.SetEnvironment(ctx, app, description, func(all map[string]string) error {
		clear(all)
		maps.Copy(all, env)
		return nil
	})
	switch {
	case errors.Is(err, registry.ErrTooLarge):
		return nil, httpapi.Errorf(http.StatusRequestEntityTooLarge, "the environment is larger than %d KiB", registry.MaxValue>>10)
	case err != nil:
		return nil, away(err)
	}
	return one, nil
}

// promote makes a release the present one, and has what runs on this host run with
// it. Other hosts take it up at their next rackdns up.
func (c *service) promote(w http.ResponseWriter, r *httpapi.Request) error {
	client, app, err := environmentOf(r)
	if err != nil {
		return err
	}
	one, present, err := findRelease(r.Context(), client, app, r.PathValue("release"))
	if err != nil {
		return err
	}
	s, err := r.Rack.Snapshot()
	if err != nil {
		return err
	}
	if a := s.App(app); a != nil {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				if i.Node() != r.Rack.Node && i.Node() != registry.NodeAPI {
					return httpapi.Errorf(http.StatusNotImplemented, "app %s runs on %s, too: run rackdns env set %[1]s NAME=VALUE --promote there", app, i.Node())
				}
			}
		}
		if c.Promote == nil {
			return httpapi.Errorf(http.StatusNotImplemented, "this server has no Docker Engine: run rackdns env set %s NAME=VALUE --promote where the app runs", app)
		}
	}
	if !present {
		env, err := client.Environment(r.Context(), app, one.Release)
		if err != nil {
			return away(err)
		}
		if _, err := set(r.Context(), client, app, "brings back "+one.Release, env); err != nil {
			return err
		}
	}
	if s.App(app) != nil {
		c.start(r.Rack.Name, app)
	}
	return httpapi.WriteJSON(w, http.StatusOK, struct{}{})
}

// start has an app changed behind the client's back, which asks for its status.
func (c *service) start(rack, app string) {
	key := [2]string{rack, app}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.promoting[key] {
		return // the one that goes on waits for nothing, and the next up does the rest
	}
	c.promoting[key] = true
	go func() {
		// It outlives the request, and takes as long as the containers do.
		err := c.Promote(context.Background(), rack, app)
		if err != nil {
			c.Logger.Error("an app's environment was not promoted", "rack", rack, "app", app, "error", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.promoting, key)
	}()
}
