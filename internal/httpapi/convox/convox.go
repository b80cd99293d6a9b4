// Package convox is the interface of a Convox rack, so far as its command-line
// client needs it to read, and to keep the environments of apps and the links of
// resources. What a plain Docker host has no counterpart for is refused in words
// that say what to do instead.
package convox

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/convox"
	"github.com/rackdns/rackdns/internal/httpapi"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
)

// Version is what Convox's client compares with the versions of its own racks: it
// is later than any that wants older routes.
const Version = "20260101000000"

// Options are what some routes need beyond a rack.
type Options struct {
	// Promote has an app that runs on this host run with its present environment.
	// Nil if this process has no engine.
	Promote func(ctx context.Context, rack, app string) error
	Logger  *slog.Logger
}

type service struct {
	Options

	mu sync.Mutex
	// promoting are the apps that are being changed, by rack and name.
	promoting map[[2]string]bool
}

// Family returns the routes.
func Family(o Options) httpapi.Family {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &service{Options: o, promoting: map[[2]string]bool{}}
	f := httpapi.Family{Name: "convox"}
	add := func(right httpapi.Right, pattern string, h httpapi.Handler) {
		f.Routes = append(f.Routes, httpapi.Route{Pattern: pattern, Right: right, Handler: h})
	}
	add(httpapi.ReadNames, "GET /system", system)
	add(httpapi.ReadNames, "GET /system/processes", systemProcesses)
	add(httpapi.ReadNames, "GET /racks", racks)
	add(httpapi.ReadNames, "GET /instances", instances)
	add(httpapi.ReadNames, "GET /apps", s.apps)
	add(httpapi.Write, "POST /apps", createApp)
	add(httpapi.ReadNames, "GET /apps/{app}", s.app)
	add(httpapi.ReadNames, "GET /apps/{app}/services", services)
	add(httpapi.ReadNames, "GET /apps/{app}/processes", processes)
	add(httpapi.ReadNames, "GET /apps/{app}/processes/{id}", process)
	add(httpapi.ReadSecrets, "GET /apps/{app}/releases", releases)
	add(httpapi.ReadSecrets, "GET /apps/{app}/releases/{release}", release)
	add(httpapi.Write, "POST /apps/{app}/releases", createRelease)
	add(httpapi.Write, "POST /apps/{app}/releases/{release}/promote", s.promote)
	add(httpapi.ReadNames, "GET /apps/{app}/resources", appResources)
	add(httpapi.ReadNames, "GET /apps/{app}/resources/{name}", appResource)
	add(httpapi.ReadNames, "GET /resources", rackResources)
	add(httpapi.ReadNames, "OPTIONS /resources", types)
	add(httpapi.ReadNames, "GET /resources/{name}", rackResource)
	add(httpapi.Write, "POST /resources/{name}/links", link)
	add(httpapi.Write, "DELETE /resources/{name}/links/{app}", unlink)
	for pattern, instead := range elsewhere {
		add(httpapi.Write, pattern, func(http.ResponseWriter, *httpapi.Request) error {
			return httpapi.Errorf(http.StatusNotImplemented, "%s", instead)
		})
	}
	return f
}

// elsewhere are routes that aren't served, and what to do instead.
var elsewhere = map[string]string{
	"DELETE /apps/{app}":                            "an app is removed where it runs: rackdns down --app APP",
	"PUT /apps/{app}/services/{service}":            "the number of instances stands in convox.yml (scale: count): change it and run rackdns up",
	"POST /apps/{app}/services/{service}/restart":   "a service is restarted where it runs: docker restart CONTAINER",
	"POST /apps/{app}/services/{service}/processes": "a process is run on a host: docker run --network rackdns-RACK IMAGE COMMAND",
	"DELETE /apps/{app}/processes/{id}":             "a container is stopped where it runs: docker stop CONTAINER",
	"GET /apps/{app}/processes/{id}/exec":           "a command is run where the container is: docker exec CONTAINER COMMAND",
	"GET /apps/{app}/logs":                          "logs are where the container runs: docker logs CONTAINER",
	"GET /system/logs":                              "rackdns logs to its standard error",
	"GET /proxy/{host}/{port}":                      "connect to the host and the port themselves",
	"GET /apps/{app}/builds":                        "rackdns up builds images where they run",
	"POST /apps/{app}/builds":                       "rackdns up builds images where they run",
	"POST /resources":                               "a resource is made where it is to run: rackdns resources create TYPE",
	"PUT /resources/{name}":                         "a resource is changed where it runs: rackdns resources update NAME",
	"DELETE /resources/{name}":                      "a resource is deleted where it runs: rackdns resources delete NAME",
	"DELETE /instances/{id}":                        "a Docker host isn't the rack's to end: rackdns node drain NODE takes it out",
	"GET /certificates":                             "a rack of Docker hosts has no certificates",
}

// statusRunning is Convox's word for what is as it should be.
const statusRunning = "running"

func system(w http.ResponseWriter, r *httpapi.Request) error {
	s, err := r.Read(nil)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, map[string]any{
		"name": r.Rack.Name, "provider": "docker", "domain": r.Rack.Zone, "rack-domain": r.Rack.Zone, "region": "", "status": statusRunning,
		"type": "", "version": Version, "count": len(s.Nodes()),
		"parameters": map[string]string{"Node": r.Rack.Node, "Zone": r.Rack.Zone}, "outputs": map[string]string{},
	})
}

func racks(w http.ResponseWriter, r *httpapi.Request) error {
	all := []map[string]string{}
	for _, k := range r.Racks() {
		all = append(all, map[string]string{"name": k.Name, "status": statusRunning})
	}
	return httpapi.WriteJSON(w, http.StatusOK, all)
}

// instance is a Docker host: a machine, in Convox's words.
type instance struct {
	Agent     bool      `json:"agent"`
	CPU       float64   `json:"cpu"`
	ID        string    `json:"id"`
	Memory    float64   `json:"memory"`
	PrivateIP string    `json:"private-ip"`
	Processes int       `json:"processes"`
	PublicIP  string    `json:"public-ip"`
	Started   time.Time `json:"started"`
	Status    string    `json:"status"`
}

func instances(w http.ResponseWriter, r *httpapi.Request) error {
	s, err := r.Read(nil)
	if err != nil {
		return err
	}
	processes := map[string]int{}
	for a := range s.Apps() {
		for v := range s.Services(a) {
			for _, i := range v.Instances() {
				processes[i.Node()]++
			}
		}
	}
	all := []instance{}
	for name, n := range s.Nodes() {
		is := instance{Agent: true, ID: name, Processes: processes[name], Started: n.Started.UTC().Truncate(time.Second), Status: statusRunning}
		if len(n.Addresses) > 0 {
			is.PrivateIP = n.Addresses[0].String()
		}
		if s.Drained(name) != nil {
			is.Status = "draining"
		}
		all = append(all, is)
	}
	slices.SortFunc(all, func(x, y instance) int { return strings.Compare(x.ID, y.ID) })
	return httpapi.WriteJSON(w, http.StatusOK, all)
}

// app is an app in Convox's words.
type app struct {
	Generation string            `json:"generation"`
	Locked     bool              `json:"locked"`
	Name       string            `json:"name"`
	Parameters map[string]string `json:"parameters"`
	Release    string            `json:"release"`
	Router     string            `json:"router"`
	Status     string            `json:"status"`
}

func (c *service) appOf(r *httpapi.Request, s *index.Snapshot, a *index.App) app {
	is := app{Generation: "2", Name: a.Name, Parameters: map[string]string{}, Status: statusRunning}
	var newest time.Time
	for v := range s.Services(a) {
		for _, i := range v.Instances() {
			if d := i.Started(); d.After(newest) {
				newest, is.Release = d, i.Release()
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.promoting[[2]string{r.Rack.Name, a.Name}] {
		is.Status = "updating"
	}
	return is
}

func (c *service) apps(w http.ResponseWriter, r *httpapi.Request) error {
	s, err := r.Read(nil)
	if err != nil {
		return err
	}
	return httpapi.WriteList(w, func(yield func(app) bool) {
		for a := range s.Apps() {
			if !yield(c.appOf(r, s, a)) {
				return
			}
		}
	})
}

func (c *service) app(w http.ResponseWriter, r *httpapi.Request) error {
	s, a, err := readApp(r)
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, http.StatusOK, c.appOf(r, s, a))
}

// readApp returns the app that the path names.
func readApp(r *httpapi.Request) (*index.Snapshot, *index.App, error) {
	s, err := r.Read(httpapi.App(r.PathValue("app")))
	if err != nil {
		return nil, nil, err
	}
	a, err := r.App(s, r.PathValue("app"))
	return s, a, err
}

// createApp has nothing to make: an app is there when something of it is.
func createApp(w http.ResponseWriter, r *httpapi.Request) error {
	form, err := r.Form()
	if err != nil {
		return err
	}
	name := httpapi.Fold(form.Get("name"))
	if err := registry.CheckApp("name", name); err != nil {
		return httpapi.Errorf(http.StatusBadRequest, "%v", err)
	}
	return httpapi.WriteJSON(w, http.StatusOK, app{Generation: "2", Name: name, Parameters: map[string]string{}, Status: statusRunning})
}

// shownService is a service in Convox's words.
type shownService struct {
	Count  int           `json:"count"`
	CPU    int           `json:"cpu"`
	Domain string        `json:"domain"`
	Memory int           `json:"memory"`
	Name   string        `json:"name"`
	NLB    []struct{}    `json:"nlb"`
	Ports  []servicePort `json:"ports"`
}

type servicePort struct {
	Balancer    int    `json:"balancer"`
	Certificate string `json:"certificate"`
	Container   int    `json:"container"`
}

func services(w http.ResponseWriter, r *httpapi.Request) error {
	s, a, err := readApp(r)
	if err != nil {
		return err
	}
	all := []shownService{}
	for _, v := range convox.Services(s, a, r.Rack.Zone) {
		is := shownService{Domain: v.Domain, Name: v.Name, NLB: []struct{}{}, Ports: []servicePort{}}
		if of := s.ServiceOf(a.Name, v.Name); of != nil {
			is.Count = len(of.Instances())
		}
		for _, p := range v.Ports {
			is.Ports = append(is.Ports, servicePort{Balancer: p.Balancer, Container: p.Container})
		}
		all = append(all, is)
	}
	return httpapi.WriteJSON(w, http.StatusOK, all)
}

func processes(w http.ResponseWriter, r *httpapi.Request) error {
	q, err := r.Query()
	if err != nil {
		return err
	}
	s, a, err := readApp(r)
	if err != nil {
		return err
	}
	// The commands may have secrets among their arguments.
	all := convox.Processes(s, a, convox.Filter{Service: httpapi.Fold(q.Get("service")), Release: q.Get("release")})
	return httpapi.WriteList(w, func(yield func(convox.Process) bool) {
		for n := range all {
			if !yield(shown(r, all[n])) {
				return
			}
		}
	})
}

// shown is a process without what its reader may not know.
func shown(r *httpapi.Request, p convox.Process) convox.Process {
	if !r.May(httpapi.ReadSecrets) {
		p.Command = ""
	}
	return p
}

func process(w http.ResponseWriter, r *httpapi.Request) error {
	s, a, err := readApp(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	for _, p := range convox.Processes(s, a, convox.Filter{}) {
		if p.ID == id {
			return httpapi.WriteJSON(w, http.StatusOK, shown(r, p))
		}
	}
	return httpapi.Errorf(http.StatusNotFound, "app %s has no process %s", a.Name, httpapi.Quote(id))
}

// systemProcesses are those of the rack's own resources: what else is of the rack
// runs on the hosts themselves.
func systemProcesses(w http.ResponseWriter, r *httpapi.Request) error {
	s, err := r.Read(nil)
	if err != nil {
		return err
	}
	all := []convox.Process{}
	for res := range s.Resources() {
		for _, i := range res.Instances() {
			if a := s.App(i.App()); a != nil {
				for _, p := range convox.Processes(s, a, convox.Filter{Service: i.Service()}) {
					if p.ID == i.ID() {
						all = append(all, shown(r, p))
					}
				}
			}
		}
	}
	return httpapi.WriteJSON(w, http.StatusOK, all)
}

// limit is the parameter that says how much of a list is wanted at most.
func limit(r *httpapi.Request, all int) (int, error) {
	q, err := r.Query()
	if err != nil {
		return 0, err
	}
	text := q.Get("limit")
	if text == "" {
		return all, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, httpapi.Errorf(http.StatusBadRequest, "limit %s: want a number", httpapi.Quote(text))
	}
	return min(n, all), nil
}
