package convox

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/rackdns/rackdns/internal/index"
)

// Process is an instance of an app. The order of the fields is that of the
// keys in Convox's answers.
type Process struct {
	App string `json:"app"`
	// Command is empty if it is the image's.
	Command string `json:"command"`
	// CPU and Memory are always 0: what an instance uses is not registered.
	CPU int `json:"cpu"`
	// Host is the address of the node at which Ports are published, the
	// node's own where none is.
	Host string `json:"host"`
	ID   string `json:"id"`
	// Image is as it was given to Docker.
	Image string `json:"image"`
	// Instance is the name of the node: the machine, in Convox's words.
	Instance string `json:"instance"`
	Memory   int    `json:"memory"`
	// Name is the service's.
	Name string `json:"name"`
	// Aliases are its other names, Restarts how often the engine started it again.
	// Convox has neither.
	Aliases  []string `json:"-"`
	Restarts int      `json:"-"`
	// Ports are "HOST:CONTAINER", and never null. They are those at which the
	// instance can be dialled at Host now, whoever asks: an instance that
	// doesn't serve has none, nor has one of weight 0 while others of its
	// service serve, nor a port that isn't published beyond loopback.
	Ports   []string `json:"ports"`
	Release string   `json:"release"`
	// Started is in UTC and whole seconds.
	Started time.Time `json:"started"`
	// Status is "running" for an instance that serves, else "draining",
	// "starting", "unhealthy" or Docker's status.
	Status string `json:"status"`
}

// Filter chooses processes. What is empty lets all pass.
type Filter struct{ Service, Release string }

func (f Filter) match(i *index.Instance) bool {
	return (f.Service == "" || f.Service == i.Service()) && (f.Release == "" || f.Release == i.Release())
}

// Processes returns the instances of an app of the snapshot that f lets pass,
// sorted by service and ID, and never nil.
func Processes(s *index.Snapshot, app *index.App, f Filter) []Process {
	all := []Process{}
	for v := range s.Services(app) {
		for _, i := range v.Instances() {
			if f.match(i) {
				all = append(all, process(v, i))
			}
		}
	}
	slices.SortStableFunc(all, func(x, y Process) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID), cmp.Compare(x.Instance, y.Instance))
	})
	return all
}

func process(v *index.Service, i *index.Instance) Process {
	var aliases []string
	for _, a := range i.Aliases() {
		if !slices.Contains(aliases, a.Name) {
			aliases = append(aliases, a.Name)
		}
	}
	d := i.Details()
	at, numbers := i.Published()
	return Process{
		Aliases:  aliases,
		Restarts: d.Restarts,
		App:      i.App(),
		Command:  d.Command,
		Host:     host(i, at),
		ID:       i.ID(),
		Image:    d.Image,
		Instance: i.Node(),
		Name:     i.Service(),
		Ports:    published(v, i, numbers),
		Release:  d.Release,
		Started:  i.Started().Truncate(time.Second),
		Status:   i.State(),
	}
}

// host returns where the ports are, else where the node is, if that is known.
func host(i *index.Instance, at netip.Addr) string {
	if at.IsValid() {
		return at.String()
	}
	if node := i.Host(); node.IsValid() {
		return node.String()
	}
	return ""
}

// published returns each published port once: the format tells TCP and UDP not
// apart.
func published(v *index.Service, i *index.Instance, numbers []uint16) []string {
	all := []string{}
	if !v.InTurn(i) {
		return all
	}
	for n, p := range i.Ports() {
		s := fmt.Sprintf("%d:%d", numbers[n], p.Container)
		if numbers[n] != 0 && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
