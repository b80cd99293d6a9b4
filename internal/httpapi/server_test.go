package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
)

// patience is how long anything may take that is certain to happen.
const patience = 2 * time.Minute

// family has a route for each right, and others that show what the base does.
func family() httpapi.Family {
	says := func(w http.ResponseWriter, _ *httpapi.Request) error {
		return httpapi.WriteJSON(w, http.StatusOK, "ok")
	}
	return httpapi.Family{Name: "test", Routes: []httpapi.Route{
		{Pattern: "GET /public", Right: httpapi.Public, Handler: says},
		{Pattern: "GET /names", Right: httpapi.ReadNames, Handler: says},
		{Pattern: "GET /secrets", Right: httpapi.ReadSecrets, Handler: says},
		{Pattern: "POST /write", Right: httpapi.Write, Handler: func(w http.ResponseWriter, r *httpapi.Request) error {
			f, err := r.Form()
			if err != nil {
				return err
			}
			return httpapi.WriteJSON(w, http.StatusOK, f)
		}},
		{Pattern: "GET /rack", Right: httpapi.ReadNames, Handler: rackName},
		{Pattern: "GET /racks/{rack}/rack", Right: httpapi.ReadNames, Handler: rackName},
		{Pattern: "GET /service/{service}", Right: httpapi.ReadNames, Handler: func(w http.ResponseWriter, r *httpapi.Request) error {
			s, err := r.Read(httpapi.Service("shop", r.PathValue("service")))
			if err != nil {
				return err
			}
			return httpapi.WriteJSON(w, http.StatusOK, len(s.Lookup(r.PathValue("service")+".shop", r.Client(s)).Endpoints))
		}},
		{Pattern: "GET /fails", Right: httpapi.ReadNames, Handler: func(http.ResponseWriter, *httpapi.Request) error {
			return errors.New("redis://:hunter2@cache is away")
		}},
		{Pattern: "GET /panics", Right: httpapi.ReadNames, Handler: func(http.ResponseWriter, *httpapi.Request) error {
			panic("hunter2")
		}},
		{Pattern: "GET /breaks", Right: httpapi.ReadNames, Handler: func(w http.ResponseWriter, _ *httpapi.Request) error {
			if _, err := w.Write([]byte("[1,")); err != nil {
				return err
			}
			return errors.New("the rest is gone")
		}},
		{Pattern: "GET /stream", Right: httpapi.ReadNames, Stream: true, Handler: func(_ http.ResponseWriter, r *httpapi.Request) error {
			if err := r.Flush([]byte("begin\n")); err != nil {
				return err
			}
			<-r.Context().Done()
			return nil
		}},
	}}
}

func rackName(w http.ResponseWriter, r *httpapi.Request) error {
	return httpapi.WriteJSON(w, http.StatusOK, r.Rack.Name)
}

func server(t *testing.T, loopback bool, racks ...*apitest.Rack) http.Handler {
	t.Helper()
	if len(racks) == 0 {
		racks = []*apitest.Rack{apitest.NewRack(t, "acme"), apitest.NewRack(t, "beta")}
	}
	return apitest.Server(t, loopback, []httpapi.Family{family()}, racks...)
}

// refuses demands that an answer is the sentence of a refusal.
func refuses(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body) != 1 || body["error"] == "" || strings.Contains(body["error"], "\n") {
		t.Errorf("%d %q: want {\"error\": \"one sentence\"}", w.Code, w.Body)
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	routes := []struct {
		method, path string
		right        httpapi.Right
		token        string // the one that has this right alone
	}{
		{"GET", "/public", httpapi.Public, ""},
		{"GET", "/names", httpapi.ReadNames, apitest.NamesToken},
		{"POST", "/write", httpapi.Write, apitest.WriteToken},
		{"GET", "/secrets", httpapi.ReadSecrets, apitest.SecretsToken},
	}
	for _, loopback := range []bool{true, false} {
		h := server(t, loopback)
		for _, route := range routes {
			for _, token := range []string{"", "not-one-of-ours-at-all", apitest.Token, apitest.NamesToken, apitest.WriteToken, apitest.SecretsToken} {
				want := http.StatusForbidden
				switch {
				case route.right == httpapi.Public, token == apitest.Token, token != "" && token == route.token:
					want = http.StatusOK
				case token == "" && loopback && route.right == httpapi.ReadNames:
					want = http.StatusOK
				case token == "", strings.HasPrefix(token, "not-"):
					want = http.StatusUnauthorized
				}
				for _, how := range []string{"Basic", "Bearer"} {
					r := apitest.Request(t, route.method, route.path, apitest.Local, "")
					switch {
					case token == "":
					case how == "Basic":
						r.SetBasicAuth("anybody", token)
					default:
						r.Header.Set("Authorization", "bearer "+token)
					}
					w := apitest.Do(t, h, r)
					if w.Code != want {
						t.Errorf("loopback %t, %s, token %q by %s: %d, want %d", loopback, route.path, token, how, w.Code, want)
					}
					if want != http.StatusOK {
						refuses(t, w)
					}
					if (want == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") != "") {
						t.Errorf("%d with %q", w.Code, w.Header())
					}
				}
			}
		}
	}
}

func TestRackIsChosen(t *testing.T) {
	t.Parallel()
	h := server(t, true)
	for _, tt := range []struct {
		path, header string
		code         int
		want         string
	}{
		{"/rack", "", 200, `"acme"`},
		{"/rack", "org/beta", 200, `"beta"`},
		{"/rack", "beta", 200, `"beta"`},
		{"/rack", "Org/BETA", 200, `"beta"`},
		{"/rack", "org/", 200, `"acme"`},
		{"/racks/beta/rack", "", 200, `"beta"`},
		{"/racks/beta/rack", "org/acme", 200, `"beta"`},
		{"/rack", "org/gamma", 404, "acme, beta"},
		{"/racks/gamma/rack", "", 404, "acme, beta"},
		{"/rack", strings.Repeat("x", 300), 404, "acme, beta"},
	} {
		r := apitest.Request(t, "GET", tt.path, apitest.Local, "")
		r.Header.Set("Rack", tt.header)
		w := apitest.Do(t, h, r)
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s, Rack %.20q: %d %s, want %d %s", tt.path, tt.header, w.Code, w.Body, tt.code, tt.want)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	h := server(t, true)
	for target, want := range map[string]int{
		"/names":                               200,
		"/names?":                              200,
		"/nothing":                             404,
		"/":                                    404,
		"/names/":                              404,
		"//names":                              400,
		"/racks//rack":                         400,
		"/x/../names":                          400,
		"/x/%2e%2e/names":                      400,
		"/./names":                             400,
		"/service/%2e%2e":                      400,
		"/service/%00":                         400,
		"/service/%0d%0aX:%20y":                400,
		"/service/%ff":                         400,
		"/service/..%2f..%2fnames":             400,
		"/service/" + strings.Repeat("x", 300): 200,
		"/" + strings.Repeat("x/", 2000):       400,
	} {
		w := apitest.Get(t, h, target)
		if w.Code != want {
			t.Errorf("%.60s: %d %s, want %d", target, w.Code, w.Body, want)
		}
		if want != 200 {
			refuses(t, w)
		}
	}
	w := apitest.Do(t, h, apitest.Request(t, "DELETE", "/names", apitest.Local, apitest.Token))
	if allow := w.Header().Get("Allow"); w.Code != http.StatusMethodNotAllowed || allow != "GET, HEAD" {
		t.Errorf("another method: %d, Allow %q", w.Code, allow)
	}
	refuses(t, w)
}

func TestBodies(t *testing.T) {
	t.Parallel()
	h := server(t, true)
	const form = "application/x-www-form-urlencoded"
	multipart := func(field string) string {
		return "--b\r\nContent-Disposition: form-data; " + field + "\r\n\r\nv\r\n--b--\r\n"
	}
	for name, tt := range map[string]struct {
		kind, body string
		chunked    bool
		code       int
		want       string
	}{
		"nothing":             {form, "", false, 200, "{}"},
		"a form":              {form, "a=1&b=%3F%26", false, 200, `{"a":["1"],"b":["?&"]}`},
		"a multipart form":    {"multipart/form-data; boundary=b", multipart(`name="a"`), false, 200, `{"a":["v"]}`},
		"a file":              {"multipart/form-data; boundary=b", multipart(`name="a"; filename="x"`), false, 400, "file"},
		"JSON":                {"application/json", "{}", false, 415, "form"},
		"no type":             {"", "a=1", false, 415, "form"},
		"64 KiB":              {form, "a=" + strings.Repeat("x", 64<<10-2), false, 200, "xxx"},
		"64 KiB and one":      {form, "a=" + strings.Repeat("x", 64<<10-1), false, 413, "64 KiB"},
		"the same, in chunks": {form, "a=" + strings.Repeat("x", 64<<10-1), true, 413, "64 KiB"},
		"many fields":         {form, strings.Repeat("a=&", 2000), false, 400, "fields"},
		"many names":          {form, "a" + strings.Repeat("&a", 5000), false, 400, "fields"},
		"a NUL":               {form, "a=%00", false, 400, "NUL"},
		"no escape":           {form, "a=%zz", false, 400, "no form"},
		"cut off":             {"multipart/form-data; boundary=b", "--b\r\nContent-", false, 400, "no form"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/write", strings.NewReader(tt.body))
			if tt.chunked {
				r.ContentLength = -1
			}
			r.Host = "localhost"
			r.Header.Set("Content-Type", tt.kind)
			r.SetBasicAuth("convox", apitest.Token)
			w := apitest.Do(t, h, r)
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%d %.200s, want %d %s", w.Code, w.Body, tt.code, tt.want)
			}
		})
	}
}

// What went wrong is for the log alone, and half an answer is none.
func TestFailures(t *testing.T) {
	t.Parallel()
	h := server(t, true)
	for _, path := range []string{"/fails", "/panics"} {
		w := apitest.Get(t, h, path)
		if refuses(t, w); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := apitest.Get(t, h, "/breaks"); w.Code != 0 {
		t.Errorf("an answer that breaks off has status %d and isn't cut off", w.Code)
	}
}

// Two routes that can't be told apart are an error of the program's.
func TestSameRoutes(t *testing.T) {
	t.Parallel()
	same := httpapi.Family{Name: "other", Routes: []httpapi.Route{{Pattern: "GET /{x}", Handler: rackName}, {Pattern: "GET /{y}", Handler: rackName}}}
	if _, err := httpapi.New(httpapi.Config{Families: []httpapi.Family{same}}); err == nil || !strings.Contains(err.Error(), "family other") {
		t.Errorf("%v, want an error that names the family", err)
	}
}
