package convox

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resource"
)

// shownResource is a resource in Convox's words. URL is empty for who may not read
// secrets.
type shownResource struct {
	Apps       []linkedApp       `json:"apps"`
	Name       string            `json:"name"`
	Parameters map[string]string `json:"parameters"`
	Status     string            `json:"status"`
	Type       string            `json:"type"`
	URL        string            `json:"url"`
}

type linkedApp struct {
	Name string `json:"name"`
}

// secretsOf are the URLs of the resources of an app, of the rack's if that is
// empty; none for who may not read them.
func secretsOf(ctx context.Context, r *httpapi.Request, app string) (map[string]string, error) {
	if !r.May(httpapi.ReadSecrets) {
		return nil, nil
	}
	c, err := r.Rack.Registry()
	if err != nil {
		return nil, err
	}
	d, err := c.Declared(ctx, app, true)
	if err != nil {
		return nil, away(err)
	}
	return d.Secrets, nil
}

func resourceOf(s *index.Snapshot, res *index.Resource, urls map[string]string) shownResource {
	is := shownResource{Apps: []linkedApp{}, Name: res.Name, Type: res.Type, Status: resource.Status(s, res), URL: urls[res.Name], Parameters: resource.ShownOptions(res.Resource)}
	for _, l := range res.Links {
		is.Apps = append(is.Apps, linkedApp{l})
	}
	return is
}

// list answers with resources, or with the one that the path names.
func list(w http.ResponseWriter, r *httpapi.Request, s *index.Snapshot, app string, all []*index.Resource) error {
	urls, err := secretsOf(r.Context(), r, app)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	name := r.PathValue("name")
	shown := []shownResource{}
	for _, res := range all {
		if name == "" {
			shown = append(shown, resourceOf(s, res, urls))
		} else if res.Name == httpapi.Fold(name) {
			return httpapi.WriteJSON(w, http.StatusOK, resourceOf(s, res, urls))
		}
	}
	if name != "" {
		return httpapi.Errorf(http.StatusNotFound, "there is no resource %s", httpapi.Quote(name))
	}
	return httpapi.WriteJSON(w, http.StatusOK, shown)
}

func appResources(w http.ResponseWriter, r *httpapi.Request) error {
	s, a, err := readApp(r)
	if err != nil {
		return err
	}
	return list(w, r, s, a.Name, slices.Collect(a.Resources()))
}

func appResource(w http.ResponseWriter, r *httpapi.Request) error { return appResources(w, r) }

func rackResources(w http.ResponseWriter, r *httpapi.Request) error {
	s, err := r.Read(nil)
	if err != nil {
		return err
	}
	return list(w, r, s, "", slices.Collect(s.Resources()))
}

func rackResource(w http.ResponseWriter, r *httpapi.Request) error { return rackResources(w, r) }

// shownType is a type of resources in Convox's words.
type shownType struct {
	Name       string        `json:"name"`
	Parameters []shownOption `json:"parameters"`
}

type shownOption struct {
	Default     string `json:"default"`
	Description string `json:"description"`
	Name        string `json:"name"`
}

func types(w http.ResponseWriter, _ *httpapi.Request) error {
	all := []shownType{}
	for _, t := range resource.Types(true) {
		is := shownType{Name: t.Name, Parameters: []shownOption{}}
		for _, o := range t.Options {
			is.Parameters = append(is.Parameters, shownOption{Name: o.Name, Default: o.ShownDefault(), Description: o.Description})
		}
		all = append(all, is)
	}
	return httpapi.WriteJSON(w, http.StatusOK, all)
}

func link(w http.ResponseWriter, r *httpapi.Request) error {
	form, err := r.Form()
	if err != nil {
		return err
	}
	return editLink(w, r, form.Get("app"), true)
}

func unlink(w http.ResponseWriter, r *httpapi.Request) error {
	return editLink(w, r, r.PathValue("app"), false)
}

// refusal is an error of an edit's own, else that the registry is away.
func refusal(err error) error {
	var own *httpapi.Error
	var unlinked *resource.NotLinkedError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &unlinked):
		return httpapi.Errorf(http.StatusConflict, "%v", err)
	}
	return away(err)
}

func editLink(w http.ResponseWriter, r *httpapi.Request, app string, is bool) error {
	app = httpapi.Fold(app)
	if err := registry.CheckApp("app", app); err != nil {
		return httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	c, err := r.Rack.Registry()
	if err != nil {
		return err
	}
	name := httpapi.Fold(r.PathValue("name"))
	var now *registry.Resource
	err = c.Edit(r.Context(), "", func(d *registry.Declared) error {
		res := d.Resources[name]
		if res == nil {
			return httpapi.Errorf(http.StatusNotFound, "the rack has no resource %s", httpapi.Quote(name))
		}
		now = res
		return resource.SetLink(res, app, is)
	})
	if err != nil {
		return refusal(err)
	}
	shown := shownResource{Apps: []linkedApp{}, Name: now.Name, Type: now.Type, Status: resource.StatusRunning, Parameters: map[string]string{}}
	for _, l := range now.Links {
		shown.Apps = append(shown.Apps, linkedApp{l})
	}
	return httpapi.WriteJSON(w, http.StatusOK, shown)
}
