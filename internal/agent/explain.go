package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sys/unix"

	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/reach"
	"github.com/rackdns/rackdns/internal/registry"
)

// Explanation says what is published for a container and why, or why nothing
// is. It is what an agent on that engine decides, by the same code.
type Explanation struct {
	ID        string `json:"id"`
	Container string `json:"container"`
	Image     string `json:"image"`
	Status    string `json:"status"`
	// Instance is what is registered, nil if nothing is.
	Instance *registry.Instance `json:"instance,omitempty"`
	// Refusal says why nothing is.
	Refusal *Refusal `json:"refusal,omitempty"`
	// Serving says whether DNS hands it out, NotServing why it doesn't.
	Serving    bool   `json:"serving"`
	NotServing string `json:"not_serving,omitempty"`
	// Drained says that the node is, by an operator's word, which counts before
	// all else; nil if it isn't, or if nobody looked. [Explain] doesn't.
	Drained *registry.Drained `json:"drained,omitempty"`
	// AsksAs is the app as whose container it asks, where it is not registered
	// and is known all the same when it asks.
	AsksAs string `json:"asks_as,omitempty"`
	// Choices are the decisions, Remarks what didn't count.
	Choices []Choice `json:"choices,omitempty"`
	Remarks []string `json:"remarks,omitempty"`

	// node is the container's, as DNS servers know it.
	node *reach.Node
}

// Explain says what becomes of a container, given by its name or ID.
func Explain(ctx context.Context, cfg Config, nameOrID string) (Explanation, error) {
	a, err := newAgent(cfg)
	if err != nil {
		return Explanation{}, err
	}
	defer a.engine.close()
	e, err := a.engine.renew()
	if err != nil {
		return Explanation{}, err
	}
	if err := checkEngine(ctx, e); err != nil {
		return Explanation{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := a.info(ctx, e)
	if err != nil {
		return Explanation{}, err
	}
	if err := a.settleDown(ctx, e, info.ServerVersion); err != nil {
		return Explanation{}, err
	}
	node := a.describe(registry.Node{Node: cfg.Node})
	f, err := newInspector(e, cfg.ImageLabels, cfg.OnlyLabelled).inspect(ctx, nameOrID)
	switch {
	case cerrdefs.IsNotFound(err):
		return Explanation{}, fmt.Errorf("container %s: there is none of that name or ID on this engine; `docker ps -a` lists them", registry.Quote(nameOrID))
	case err != nil:
		return Explanation{}, fmt.Errorf("container %s: %w", registry.Quote(nameOrID), err)
	}
	d := a.judge(f)
	if d.instance != nil {
		d.instance.Draining, err = stopped(ctx, e, f, a.cfg.DrainGrace)
		if err != nil {
			d.note("the engine doesn't tell which signals it got, so it may be draining: %s", err)
		}
	}
	x := d.explain()
	x.node = index.NodeFacts(&node)
	return x, nil
}

// stopped reports whether a container was sent a signal that it is to end of, and
// has not proven to survive it, as [tracker.draining] does.
func stopped(ctx context.Context, e engine, f *facts, grace time.Duration) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now := time.Now()
	messages, errs := e.Events(ctx, events.ListOptions{
		Since: timestamp(f.started),
		Until: timestamp(now),
		Filters: filters.NewArgs(
			filters.Arg("type", string(events.ContainerEventType)),
			filters.Arg("event", string(events.ActionKill)),
			filters.Arg("container", f.id),
		),
	})
	// An engine whose clock is behind keeps the stream open until then.
	const patience = 200 * time.Millisecond
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	seen := entry{facts: f, kills: map[int]kill{}}
	draining := func() bool {
		last := seen.stopping()
		return !last.at.IsZero() && (now.Sub(last.at) < f.stopTimeout+grace || last.number == int(unix.SIGKILL) ||
			fateOf(f, f.stopSignal) != surviving)
	}
	for {
		select {
		case m := <-messages:
			if n, ok := parseSignal(m.Actor.Attributes["signal"]); ok {
				seen.kills[n] = kill{at: eventTime(m), number: n}
			}
		case <-timeout.C:
			return draining(), nil
		case err := <-errs:
			if err != nil && !errors.Is(err, io.EOF) {
				return draining(), err
			}
			return draining(), nil
		}
	}
}

func (d *decision) explain() Explanation {
	f := d.facts
	x := Explanation{
		ID:        shortID(f.id),
		Container: clean(f.name, maxText),
		Image:     clean(f.image, maxText),
		Status:    f.status,
		Instance:  d.instance,
		Refusal:   d.refusal,
		Choices:   d.choices,
		Remarks:   d.remarks(),
	}
	if d.hidden != nil {
		x.AsksAs = d.hidden.App
	}
	if x.Instance != nil {
		x.Serving = x.Instance.Serving()
		x.NotServing = notServing(x.Instance)
	}
	return x
}

// notServing says why DNS doesn't hand out an instance.
func notServing(i *registry.Instance) string {
	switch {
	case i.Serving():
		return ""
	case i.Status != registry.StatusRunning:
		return "it is " + i.Status
	case i.Draining:
		return "it was sent its stop signal, and has not proven to survive that"
	case i.Health == registry.HealthStarting:
		return "its health check has not succeeded yet"
	}
	return "its health check says " + i.Health
}

// On takes in an operator's word on the node, nil if there is none.
func (x *Explanation) On(d *registry.Drained) {
	if x.Drained = d; d != nil && x.Instance != nil {
		x.Serving, x.NotServing = false, fmt.Sprintf("its node %s is %s (rackdns node drain %[1]s --undo)", d.Node, d)
	}
}

// String returns the explanation for people.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "container %s (%s), image %s, %s\n", printable(x.Container), x.ID, printable(x.Image), x.Status)
	i := x.Instance
	switch {
	case i == nil && x.Refusal != nil:
		fmt.Fprintf(&b, "not registered (%s): %s\n", x.Refusal.Reason, x.Refusal.Detail)
		if x.AsksAs != "" {
			fmt.Fprintf(&b, "it asks as a container of app %s\n", x.AsksAs)
		}
	case i == nil:
		b.WriteString("not registered\n")
	case x.Serving:
		fmt.Fprintf(&b, "registered as %s.%s, in DNS\n", i.Service, i.Namespace)
	default:
		fmt.Fprintf(&b, "registered as %s.%s, but not in DNS: %s\n", i.Service, i.Namespace, x.NotServing)
	}
	if len(x.Choices) > 0 {
		b.WriteString("\nwhat was decided, and by what\n")
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, c := range x.Choices {
			line := "  " + c.Field + "\t" + printable(c.Value) + "\t" + c.Source
			if len(c.Overruled) > 0 {
				line += ", before " + strings.Join(c.Overruled, ", ")
			}
			fmt.Fprintln(w, line)
		}
		_ = w.Flush()
	}
	if i != nil {
		writeEndpoints(&b, i, x.node)
	}
	if len(x.Remarks) > 0 {
		b.WriteString("\nwhat doesn't count\n")
		for _, r := range x.Remarks {
			fmt.Fprintf(&b, "  %s\n", r)
		}
	}
	return b.String()
}

func writeEndpoints(b *strings.Builder, i *registry.Instance, node *reach.Node) {
	b.WriteString("\nwhere it is reached\n")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, n := range i.Networks {
		where := "from the same network on this node"
		if n.Scope != registry.ScopeLocal {
			where = "from the same network on any node"
		}
		for _, a := range []netip.Addr{n.IPv4, n.IPv6} {
			if a.IsValid() {
				fmt.Fprintf(w, "  network %s\t%s\t%s\n", printable(n.Name), a, where)
			}
		}
	}
	for _, p := range i.Ports {
		name := fmt.Sprintf("  port %d/%s", p.Container, p.Protocol)
		if p.Name != "" {
			name += " " + p.Name
		}
		bindings := slices.Concat(p.Bindings, p.Loopback)
		if len(bindings) == 0 {
			fmt.Fprintf(w, "%s\tnot published\tonly by those who reach the container itself\n", name)
		}
		for _, bind := range bindings {
			fmt.Fprintf(w, "%s\t%s\t%s\n", name, netip.AddrPortFrom(bind.IP, bind.Port), reachedFrom(i, &p, bind, node))
		}
	}
	if len(i.Ports) == 0 {
		fmt.Fprintln(w, "  no port\t\tA and AAAA only, no SRV: EXPOSE one, or label it rackdns.port.<n>")
	}
	_ = w.Flush()
}

// reachedFrom says who is told where a port is published, by the rules by which
// DNS tells it.
func reachedFrom(i *registry.Instance, p *registry.Port, b registry.Binding, node *reach.Node) string {
	at := reach.Instance{
		Node: node, Limit: reach.HostOnly,
		Ports: []reach.Port{{Number: p.Container, Protocol: p.Protocol}},
	}
	at.Ports[0].Add(netip.AddrPortFrom(b.IP, b.Port), b.Mesh)
	for _, n := range i.Networks {
		at.Attachments = append(at.Attachments, reach.Attachment{Network: n.ID, Local: n.Scope == registry.ScopeLocal, V4: n.IPv4, V6: n.IPv6})
	}
	told := func(c *reach.Client) bool { return reach.Evaluate(c, &at, &reach.Options{})[0].Reached() }
	switch {
	case told(&reach.Client{}):
		return "from anywhere"
	case told(&reach.Client{Kind: reach.Container, Node: node}):
		return "from this host and its containers"
	case told(&reach.Client{Kind: reach.Self, Node: node}):
		return "from this host"
	}
	return "from nowhere: without docker-proxy (userland-proxy: false) the engine leads nobody there"
}
