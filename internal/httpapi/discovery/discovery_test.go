package discovery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/httpapi/apitest"
	"github.com/rackdns/rackdns/internal/httpapi/discovery"
	"github.com/rackdns/rackdns/internal/registry"
)

const tags = `{"az": "a", "region": "r", "instance_id": "i-1", "canary": false}`

// form is a registration, with changes: "-" takes a field away.
func form(changes ...string) url.Values {
	f := url.Values{"ip": {"10.0.5.1"}, "port": {"8080"}, "revision": {"abc"}, "tags": {tags}}
	for n := 0; n < len(changes); n += 2 {
		if changes[n+1] == "-" {
			f.Del(changes[n])
			continue
		}
		f.Set(changes[n], changes[n+1])
	}
	return f
}

// answer is what is read of a service.
type answer struct {
	Environment string           `json:"env"`
	Hosts       []map[string]any `json:"hosts"`
	Service     *string          `json:"service"`
	Repo        *string          `json:"service_repo_name"`
}

func read(t *testing.T, h http.Handler, target string) answer {
	t.Helper()
	w := apitest.Get(t, h, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Hosts == nil {
		t.Fatalf("%s: %v: %s", target, err, w.Body)
	}
	return a
}

// ends are the addresses of hosts, as they are listed.
func (a answer) ends() string {
	var all []string
	for _, h := range a.Hosts {
		all = append(all, fmt.Sprintf("%v:%v", h["ip_address"], h["port"]))
	}
	return strings.Join(all, " ")
}

func serve(t *testing.T, o discovery.Options, racks ...*apitest.Rack) http.Handler {
	t.Helper()
	return apitest.Server(t, true, []httpapi.Family{discovery.Family(o)}, racks...)
}

// weight is what Envoy takes a host's weight from.
func weight(host map[string]any) any {
	tags, _ := host["tags"].(map[string]any)
	return tags["load_balancing_weight"]
}

// post registers as service web, and fails the test if that isn't taken.
func post(t *testing.T, h http.Handler, f url.Values) {
	t.Helper()
	w := apitest.Post(t, h, http.MethodPost, "/v1/registration/web", apitest.Token, f)
	if w.Code != http.StatusOK || w.Body.String() != "{}\n" {
		t.Fatalf("%v: %d %s %v", f, w.Code, w.Body, w.Header())
	}
}

// What is registered is read at once, in the original's form, and answers nothing
// else.
func TestRegistration(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{Environment: "production"}, r)
	if a := read(t, h, "/v1/registration/web"); a.ends() != "" || a.Environment != "production" || *a.Service != "web" || a.Repo != nil {
		t.Errorf("before: %+v", a)
	}
	post(t, h, form("service_repo_name", "acme/web"))
	post(t, h, form("port", "8081", "ip", "10.0.5.1"))
	post(t, h, form("ip", "10.0.4.9"))
	post(t, h, form("tags", `{"az":"a","region":"r","instance_id":"i","app":"shop"}`))
	a := read(t, h, "/v1/registration/web")
	if got := a.ends(); got != "10.0.4.9:8080 10.0.5.1:8080 10.0.5.1:8080 10.0.5.1:8081" {
		t.Errorf("%s", got)
	}
	if got := read(t, h, "/v1/registration/web.shop").ends(); got != "10.0.5.1:8080" {
		t.Errorf("of app shop: %s", got)
	}
	one := a.Hosts[0]
	var keys []string
	for k := range one {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if got := strings.Join(keys, " "); got != "ip_address last_check_in port revision service service_repo_name tags" {
		t.Errorf("a host has the keys %s", got)
	}
	if at, _ := one["last_check_in"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$`).MatchString(at) {
		t.Errorf("last_check_in is %q", at)
	}
	if got := fmt.Sprint(one["tags"]); got != "map[az:a canary:false instance_id:i-1 load_balancing_weight:1 region:r]" {
		t.Errorf("tags are %s", got)
	}
	repo := read(t, h, "/v1/registration/repo/acme/web"[:len("/v1/registration/repo/")]+url.PathEscape("acme/web"))
	if repo.ends() != "10.0.5.1:8080" || repo.Service != nil || *repo.Repo != "acme/web" {
		t.Errorf("by the repository: %+v", repo)
	}
	// Omitted is empty.
	post(t, h, form())
	if got := read(t, h, "/v1/registration/repo/acme%2Fweb").ends(); got != "" {
		t.Errorf("after a registration without a repository: %s", got)
	}
}

// Every bad input is refused in the original's way, and nothing is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	r, etcd := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{}, r)
	for name, f := range map[string]url.Values{
		"no ip": form("ip", "-"), "a name for an ip": form("ip", "example.com"), "0.0.0.0": form("ip", "0.0.0.0"), "IPv6 of everybody": form("ip", "::"), "multicast": form("ip", "224.0.0.1"),
		"no port": form("port", "-"), "port of words": form("port", "abc"), "port 0": form("port", "0"), "port 70000": form("port", "70000"), "port 80.5": form("port", "80.5"),
		"no revision": form("revision", "-"), "no tags": form("tags", "-"), "null": form("tags", "null"), "a list": form("tags", "[]"), "no tag at all": form("tags", "{}"),
		"no az": form("tags", `{"region":"r","instance_id":"i"}`), "a number for az": form("tags", `{"az":1,"region":"r","instance_id":"i"}`),
		"a word for canary": form("tags", `{"az":"a","region":"r","instance_id":"i","canary":"no"}`),
		"weight 9001":       form("tags", `{"az":"a","region":"r","instance_id":"i","load_balancing_weight":9001}`),
		"weight 0":          form("tags", `{"az":"a","region":"r","instance_id":"i","load_balancing_weight":0}`),
		"weight 1.5":        form("tags", `{"az":"a","region":"r","instance_id":"i","load_balancing_weight":1.5}`),
		"weight in words":   form("tags", `{"az":"a","region":"r","instance_id":"i","load_balancing_weight":"5"}`),
		"a tag in a tag":    form("tags", `{"az":"a","region":"r","instance_id":"i","x":{}}`),
		"a bad app":         form("tags", `{"az":"a","region":"r","instance_id":"i","app":"a.b"}`),
		"auto_ip untold":    form("ip", "-", "auto_ip", "1"),
	} {
		w := apitest.Post(t, h, http.MethodPost, "/v1/registration/web", apitest.Token, f)
		if w.Code != http.StatusBadRequest || w.Body.String() != "{}\n" && !strings.HasPrefix(w.Body.String(), `{"error":"Invalid json`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Body.String() == "{}\n" && w.Header().Get(discovery.ReasonHeader) == "" {
			t.Errorf("%s: no reason is given", name)
		}
	}
	w := apitest.Post(t, h, http.MethodPost, "/v1/registration/web", apitest.Token, form("tags", "{"))
	if got := w.Body.String(); w.Code != http.StatusBadRequest || got != `{"error":"Invalid json supplied in tags"}`+"\n" {
		t.Errorf("tags that are no JSON: %d %s", w.Code, got)
	}
	// A JSON body, and parameters of the query, count as missing.
	q := apitest.Request(t, http.MethodPost, "/v1/registration/web?"+form().Encode(), apitest.Local, apitest.Token)
	q.Header.Set("Content-Type", "application/json")
	q.Body, q.ContentLength = http.NoBody, 0
	if w := apitest.Do(t, h, q); w.Code != http.StatusBadRequest || w.Body.String() != "{}\n" {
		t.Errorf("a query: %d %s", w.Code, w.Body)
	}
	for _, service := range []string{"-web", strings.Repeat("a", 64), "a%20b", "%2e%2e", "x%00"} {
		if w := apitest.Post(t, h, http.MethodPost, "/v1/registration/"+service, apitest.Token, form()); w.Code != http.StatusBadRequest {
			t.Errorf("service %s: %d %s", service, w.Code, w.Body)
		}
	}
	if w := apitest.Post(t, h, http.MethodPost, "/v1/registration/web", apitest.Token, form("tags", strings.Repeat("x", 64<<10))); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("65 KiB: %d", w.Code)
	}
	got, err := etcd.Client().Get(t.Context(), "/rackdns/v1/acme/instances/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || got.Count != 0 {
		t.Errorf("%d hosts are stored, %v", got.Count, err)
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{}, r)
	post(t, h, form())
	post(t, h, form("ip", "10.0.5.2"))
	set := func(target, weight string) *httptest.ResponseRecorder {
		f := url.Values{}
		if weight != "" {
			f.Set("load_balancing_weight", weight)
		}
		return apitest.Post(t, h, http.MethodPost, "/v1/loadbalancing/"+target, apitest.Token, f)
	}
	weights := func() string {
		var all []string
		for _, h := range read(t, h, "/v1/registration/web").Hosts {
			all = append(all, fmt.Sprint(weight(h)))
		}
		return strings.Join(all, " ")
	}
	for _, tt := range []struct {
		target, weight string
		status         int
		body           string
	}{
		{"web/10.0.5.1", "", 400, `{"error":"Required parameter 'weight' is missing."}`},
		{"web/10.0.5.1", "0", 400, `{"error":"Invalid load_balancing_weight. Supply an integer between 1 and 100."}`},
		{"web/10.0.5.1", "101", 400, `{"error":"Invalid load_balancing_weight. Supply an integer between 1 and 100."}`},
		{"web/10.0.5.1", "x", 400, `{"error":"Invalid load_balancing_weight. Supply an integer between 1 and 100."}`},
		// The weight is checked before the host.
		{"web/10.0.9.9", "x", 400, `{"error":"Invalid load_balancing_weight. Supply an integer between 1 and 100."}`},
		{"web/10.0.9.9", "5", 404, `{"error":"Host not found"}`},
		{"web/nonsense", "5", 404, `{"error":"Host not found"}`},
		{"other", "5", 404, `{"error":"Host not found"}`},
	} {
		if w := set(tt.target, tt.weight); w.Code != tt.status || w.Body.String() != tt.body+"\n" {
			t.Errorf("%s %q: %d %s", tt.target, tt.weight, w.Code, w.Body)
		}
	}
	if got := weights(); got != "1 1" {
		t.Errorf("after those: %s", got)
	}
	if w := set("web/10.0.5.1", "7"); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := weights(); got != "7 1" {
		t.Errorf("one of them: %s", got)
	}
	// A renewal keeps it, unless it brings one.
	post(t, h, form())
	post(t, h, form("revision", "def"))
	if got := weights(); got != "7 1" {
		t.Errorf("after a renewal: %s", got)
	}
	if w := set("web", "9"); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := weights(); got != "9 9" {
		t.Errorf("all of them: %s", got)
	}
	post(t, h, form("tags", `{"az":"a","region":"r","instance_id":"i","load_balancing_weight":3}`))
	if got := weights(); got != "3 9" {
		t.Errorf("with a weight of its own: %s", got)
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{}, r)
	post(t, h, form())
	post(t, h, form("port", "8081"))
	post(t, h, form("ip", "10.0.5.2"))
	for _, target := range []string{"web/10.0.9.9", "web/nonsense", "other/10.0.5.1"} {
		if w := apitest.Post(t, h, http.MethodDelete, "/v1/registration/"+target, apitest.Token, nil); w.Code != http.StatusBadRequest || w.Body.String() != "{}\n" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := apitest.Post(t, h, http.MethodDelete, "/v1/registration/web/10.0.5.1", apitest.Token, nil); w.Code != http.StatusOK || w.Body.String() != "{}\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := read(t, h, "/v1/registration/web").ends(); got != "10.0.5.2:8080" {
		t.Errorf("left: %s", got)
	}
	if w := apitest.Post(t, h, http.MethodDelete, "/v1/registration/web/10.0.5.1", apitest.Token, nil); w.Code != http.StatusBadRequest {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
}

// What has the same name in another app is left alone, unless it is named.
func TestDeletionInOneApp(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{}, r)
	in := func(app string) url.Values {
		return form("tags", `{"az":"a","region":"r","instance_id":"i","app":"`+app+`"}`)
	}
	post(t, h, form())
	post(t, h, in("shop"))
	post(t, h, in("blog"))
	for _, tt := range []struct {
		target string
		status int
		left   string
	}{
		{"web/10.0.5.1", 200, "blog shop"},
		{"web/10.0.5.1", 400, "blog shop"}, // which of the two?
		{"web.blog/10.0.5.1", 200, "shop"},
		{"web/10.0.5.1", 200, ""},
	} {
		w := apitest.Post(t, h, http.MethodDelete, "/v1/registration/"+tt.target, apitest.Token, nil)
		var left []string
		for _, app := range []string{"blog", "default", "shop"} {
			if read(t, h, "/v1/registration/web."+app).ends() != "" {
				left = append(left, app)
			}
		}
		if got := strings.Join(left, " "); w.Code != tt.status || got != tt.left {
			t.Errorf("%s: %d, %q is left; want %d, %q", tt.target, w.Code, got, tt.status, tt.left)
		}
	}
}

// A host that comes again as it was costs the registry no write, is told when it
// was heard of last, and goes when it stays away.
func TestRenewal(t *testing.T) {
	t.Parallel()
	r, etcd := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{TTL: 2 * time.Second}, r)
	post(t, h, form())
	before := fmt.Sprint(read(t, h, "/v1/registration/web").Hosts[0]["last_check_in"])
	revision := func() int64 {
		got, err := etcd.Client().Get(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		return got.Header.Revision
	}
	at := revision()
	// For longer than its TTL.
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		post(t, h, form())
		if got := read(t, h, "/v1/registration/web").ends(); got != "10.0.5.1:8080" {
			t.Fatalf("while it is renewed: %q", got)
		}
	}
	if now := revision(); now != at {
		t.Errorf("renewals were %d writes", now-at)
	}
	if after := fmt.Sprint(read(t, h, "/v1/registration/web").Hosts[0]["last_check_in"]); after <= before {
		t.Errorf("last_check_in was %s and is %s", before, after)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for read(t, h, "/v1/registration/web").ends() != "" {
		if time.Now().After(deadline) {
			t.Fatal("it stays though it isn't renewed")
		}
		time.Sleep(50 * time.Millisecond)
	}
	post(t, h, form())
	if got := read(t, h, "/v1/registration/web").ends(); got != "10.0.5.1:8080" {
		t.Errorf("when it is back: %q", got)
	}
}

// A registry that is away is 503, what is known is still told, and renewals go on
// with the connection that comes after it.
func TestAway(t *testing.T) {
	t.Parallel()
	r, etcd := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{}, r)
	post(t, h, form())
	post(t, h, form())
	etcd.Kill()
	if w := apitest.Post(t, h, http.MethodPost, "/v1/registration/web", apitest.Token, form()); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a renewal: %d %s", w.Code, w.Body)
	}
	if got := read(t, h, "/v1/registration/web").ends(); got != "10.0.5.1:8080" {
		t.Errorf("what is known: %q", got)
	}
	etcd.Start()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		w := apitest.Post(t, h, http.MethodPost, "/v1/registration/web", apitest.Token, form())
		if w.Code == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after it is back: %d %s", w.Code, w.Body)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Containers are told where the client reaches them, by the name of their app's
// service, and by a bare one where that is app default's.
func TestContainers(t *testing.T) {
	t.Parallel()
	plain := apitest.Instance("3485248b1d18", "default", "web", "node-1", "10.0.2.10", 40001)
	plain.Release, plain.Tags, plain.Weight = "R1", map[string]string{"az": "b", "canary": "true"}, 5
	plain.Ports = append(plain.Ports, registry.Port{Protocol: registry.UDP, Container: 53, Bindings: []registry.Binding{{IP: plain.Host, Port: 40002}}})
	idle := apitest.Instance("3485248b1d19", "default", "web", "node-1", "10.0.2.10", 40003)
	idle.Weight = 0
	lone := apitest.Instance("3485248b1d20", "default", "api", "node-1", "10.0.2.10", 40004)
	lone.Weight = 0
	host := registry.HostInstance("other", "web", netip.MustParseAddrPort("10.0.7.7:80"))
	host.Weight = 1
	h := serve(t, discovery.Options{}, apitest.NewRack(t, "acme",
		plain, idle, lone, &host, apitest.Instance("8db3b9378db0", "shop", "web", "node-2", "10.0.3.87", 40005)))
	for target, want := range map[string]string{
		"web": "10.0.2.10:40001 10.0.7.7:80", "WEB": "10.0.2.10:40001 10.0.7.7:80", "web.shop": "10.0.3.87:40005", "web.default": "10.0.2.10:40001", "api": "10.0.2.10:40004", "web.none": "", "nothing": "",
	} {
		if got := read(t, h, "/v1/registration/"+target).ends(); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	one := read(t, h, "/v1/registration/web").Hosts[0]
	if got := fmt.Sprintf("%v %v", one["tags"], one["revision"]); got != "map[az:b canary:true instance_id:3485248b1d18 load_balancing_weight:5 region:] R1" {
		t.Errorf("%s", got)
	}
	// Envoy takes no weight of 0.
	if got := fmt.Sprint(weight(read(t, h, "/v1/registration/api").Hosts[0])); got != "1" {
		t.Errorf("weight %s", got)
	}
}

// auto_ip is the word of a proxy that is trusted, and of no other.
func TestAutoIP(t *testing.T) {
	t.Parallel()
	r, _ := apitest.Live(t, "acme")
	h := serve(t, discovery.Options{}, r)
	for _, tt := range []struct {
		from, forwarded string
		status          int
	}{
		{apitest.Local, "203.0.113.1, 192.168.7.8", 200},
		{apitest.Local, "192.168.7.8, 203.0.113.1", 400},
		{apitest.Local, "", 400},
		{apitest.Local, "nonsense", 400},
		{apitest.Outside, "192.168.7.8", 400},
	} {
		q := apitest.Request(t, http.MethodPost, "/v1/registration/auto", tt.from, apitest.Token)
		body := form("ip", "-", "auto_ip", "yes").Encode()
		q.Body, q.ContentLength = http.MaxBytesReader(nil, readCloser{strings.NewReader(body)}, 1<<20), int64(len(body))
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if tt.forwarded != "" {
			q.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if w := apitest.Do(t, h, q); w.Code != tt.status {
			t.Errorf("%+v: %d %s", tt, w.Code, w.Header().Get(discovery.ReasonHeader))
		}
	}
	if got := read(t, h, "/v1/registration/auto").ends(); got != "192.168.7.8:8080" {
		t.Errorf("%s", got)
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// What can't be read yet is 503.
func TestUnread(t *testing.T) {
	t.Parallel()
	h := serve(t, discovery.Options{}, apitest.Unread(t, "acme"))
	for _, target := range []string{"/v1/registration/web", "/v1/registration/repo/x"} {
		if w := apitest.Get(t, h, target); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}
