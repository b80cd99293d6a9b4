package routes

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/registry"
)

// password is what no answer may have in it.
const password = "hunter2"

func ready() string { return "" }

// rack returns one with some of everything.
func rack(t testing.TB, name string) *apitest.Rack {
	t.Helper()
	web := apitest.Instance("3485248b1d18", "shop", "web", "node-1", "10.0.2.10", 40001)
	web.Command = "serve --password " + password
	web.Tags = map[string]string{"az": "a"}
	return apitest.NewRack(t, name,
		&registry.Node{Node: "node-1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}},
		web,
		apitest.Instance("8db3b9378db0", "shop", "api", "node-2", "10.0.3.87", 40002),
		&registry.Service{App: "shop", Service: "web", Namespace: "shop"},
		&registry.Resource{App: "shop", Name: "db", Type: "postgres", Host: "10.0.2.99", Port: 5432},
	)
}

var variables = map[string]string{
	"{rack}": "acme", "{app}": "shop", "{service}": "web", "{id}": "3485248b1d18", "{node}": "node-1", "{name}": "db", "{state}": "any",
}

var variable = regexp.MustCompile(`\{[^}]*\}`)

// path returns a path of a route, with what there is for its variables.
func path(pattern string) (method, target string) {
	method, target, _ = strings.Cut(pattern, " ")
	target = variable.ReplaceAllStringFunc(target, func(v string) string {
		if is := variables[v]; is != "" {
			return is
		}
		return "x"
	})
	if strings.HasSuffix(target, "/resolve") {
		target += "?name=web.shop"
	}
	return method, target
}

// Each route, without a token, with a wrong one and with the right one, at a
// listener on loopback and at another.
func TestRightsOfEachRoute(t *testing.T) {
	t.Parallel()
	tokens := map[httpapi.Right]string{httpapi.ReadNames: apitest.NamesToken, httpapi.Write: apitest.WriteToken, httpapi.ReadSecrets: apitest.SecretsToken}
	all := All(Options{Waits: ready})
	for _, loopback := range []bool{true, false} {
		h := apitest.Server(t, loopback, all, rack(t, "acme"))
		for _, f := range all {
			for _, route := range f.Routes {
				if route.Stream {
					continue // it goes on; its rights are found out before
				}
				method, target := path(route.Pattern)
				for token, refused := range map[string]bool{
					"":                       route.Right != httpapi.Public && (!loopback || route.Right != httpapi.ReadNames),
					"none-of-this-server's":  route.Right != httpapi.Public,
					apitest.Token:            false,
					tokens[route.Right] + "": route.Right != httpapi.Public && tokens[route.Right] == "" && !loopback,
				} {
					w := apitest.Do(t, h, apitest.Request(t, method, target, apitest.Outside, token))
					if got := w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden; got != refused {
						t.Errorf("%s, loopback %t, token %q: %d %s, want it refused: %t", route.Pattern, loopback, token, w.Code, w.Body, refused)
					}
					if strings.Contains(w.Body.String(), password) && !refused && route.Right == httpapi.ReadNames && token != apitest.Token {
						t.Errorf("%s shows a password: %s", route.Pattern, w.Body)
					}
				}
			}
		}
	}
}

// A browser that was led here by another name, or by another's page, gets nothing.
func TestNoBrowser(t *testing.T) {
	t.Parallel()
	all := All(Options{Waits: ready})
	h := apitest.Server(t, true, all, rack(t, "acme"))
	for _, f := range all {
		for _, route := range f.Routes {
			method, target := path(route.Pattern)
			for name, change := range map[string]func(*http.Request){
				"rebinding":    func(r *http.Request) { r.Host = "evil.example" },
				"another page": func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
				"another site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
			} {
				r := apitest.Request(t, method, target, apitest.Local, apitest.Token)
				change(r)
				if w := apitest.Do(t, h, r); w.Code != http.StatusForbidden {
					t.Errorf("%s, %s: %d", route.Pattern, name, w.Code)
				}
			}
		}
	}
}

// What has not been read is 503 everywhere, and never an empty list.
func TestNothingRead(t *testing.T) {
	t.Parallel()
	all := All(Options{Waits: ready})
	h := apitest.Server(t, true, all, apitest.Unread(t, "acme"))
	for _, f := range all {
		for _, route := range f.Routes {
			method, target := path(route.Pattern)
			if method != http.MethodGet || route.Right == httpapi.Public || strings.HasSuffix(target, "/racks") || strings.HasSuffix(target, "/datacenters") || strings.HasSuffix(target, "openapi.json") {
				continue
			}
			if w := apitest.Do(t, h, apitest.Request(t, method, target, apitest.Local, apitest.Token)); w.Code != http.StatusServiceUnavailable && w.Code != http.StatusNotImplemented {
				t.Errorf("%s: %d %s", route.Pattern, w.Code, w.Body)
			}
		}
	}
}

// The description of the interface has the routes that there are, with their
// parameters, and no other.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	all := All(Options{Waits: ready})
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	w := apitest.Get(t, apitest.Server(t, true, all, rack(t, "acme")), "/api/v1/openapi.json")
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	var described, there []string
	for p, methods := range doc.Paths {
		for m, op := range methods {
			described = append(described, strings.ToUpper(m)+" "+p)
			var in []string
			for _, param := range op.Parameters {
				if param.In == "path" {
					in = append(in, "{"+param.Name+"}")
				}
			}
			if want := variable.FindAllString(p, -1); !slices.Equal(in, want) {
				t.Errorf("%s: has the parameters %v, want %v", p, in, want)
			}
		}
	}
	for _, f := range all {
		if f.Name == "api" || f.Name == "prometheus" || f.Name == "operation" {
			for _, route := range f.Routes {
				there = append(there, route.Pattern)
			}
		}
	}
	slices.Sort(described)
	slices.Sort(there)
	if !slices.Equal(described, there) {
		t.Errorf("openapi.json describes\n%s\nthere are\n%s", strings.Join(described, "\n"), strings.Join(there, "\n"))
	}
	for _, name := range regexp.MustCompile(`"#/([^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		at := any(nil)
		if err := json.Unmarshal(w.Body.Bytes(), &at); err != nil {
			t.Fatal(err)
		}
		for key := range strings.SplitSeq(name[1], "/") {
			m, ok := at.(map[string]any)
			if at = m[key]; !ok || at == nil {
				t.Errorf("openapi.json refers to %s, which isn't there", name[1])
				break
			}
		}
	}
}

// FuzzRequest sends anything to all routes: none panics, every refusal is a
// sentence, and nothing shows what is secret.
func FuzzRequest(f *testing.F) {
	for _, s := range [][4]string{
		{"GET", "/api/v1/services/shop?index=1&wait=0s", "", ""},
		{"GET", "/api/v1/resolve?name=_http._tcp.web.shop&from=10.0.0.1", "acme/acme", ""},
		{"GET", "/sd/prometheus?app=shop&port=http", "", ""},
		{"GET", "/api/v1/instances/%00%2e%2e?node=x", "x/beta", ""},
		{"POST", "/v1/registration/web", "", "ip=10.0.0.1&port=80&revision=a&tags=%7B%7D"},
		{"PUT", "/apps/shop/services/web", "", "count=2"},
		{"DELETE", "/", "", ""},
		{"GET", "/v1/health/service/web-shop?passing&filter=Service.Port%3D%3D3000&near=_agent&tag=az%3Da", "", ""},
		{"GET", "/v1/registration/web.shop", "", ""},
		{"POST", "/v1/loadbalancing/web/10.0.0.1", "", "load_balancing_weight=5"},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	h := apitest.Server(f, true, All(Options{Waits: ready}), rack(f, "acme"), rack(f, "beta"))
	f.Fuzz(func(t *testing.T, method, target, header, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://rackdns.test"+target, strings.NewReader(body))
		if err != nil || r.URL.Host != "rackdns.test" || strings.Contains(target, "watch") || strings.Contains(target, "wait=") {
			return // not what a server could get, or what it does for long
		}
		r.RemoteAddr, r.RequestURI = apitest.Local, r.URL.RequestURI()
		r.Header.Set("Rack", header)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("convox", apitest.NamesToken)
		if strings.Contains(target, "index=") {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable && w.Code != http.StatusNotImplemented {
			t.Errorf("%s %q: %d %s", method, target, w.Code, got)
		}
		if strings.Contains(string(got), password) {
			t.Errorf("%s %q shows a password: %s", method, target, got)
		}
		if strings.Contains(w.Header().Get("Location"), "//") {
			t.Errorf("%s %q leads to %s", method, target, w.Header().Get("Location"))
		}
	})
}
