package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/index"
	"github.com/rackdns/rackdns/internal/registry"
	"github.com/rackdns/rackdns/internal/resolve"
	"github.com/rackdns/rackdns/internal/terminal"
	"github.com/rackdns/rackdns/plugin/rack"
	"github.com/rackdns/rackdns/plugin/shortname"
)

// addressAuto is the value of --address that means: whichever can be reached.
const addressAuto = "auto"

// resolver is the command resolve.
type resolver struct {
	zoneFlags
	from, node, docker string
	// app is whose bare names are meant, if not the asker's own.
	app        string
	address    choice
	routable   []string
	forwarders []string
	// anyNode says that no node was given.
	anyNode bool
}

func resolveCommand() *cobra.Command {
	r := &resolver{address: choice{value: addressAuto, of: []string{addressAuto, registry.AddressHost, registry.AddressContainer}}}
	var out output
	cmd := &cobra.Command{
		Use:   "resolve NAME",
		Short: "Say which endpoints an asker is told for a name, and why",
		Long: `Say which endpoints an asker is told for a name, and of each other instance why
it is left out. It is what the DNS server on the asker's node answers from the
same registry.

NAME is a full name, a short one (web.shop), or one of the asker's own app, or
that of --app (web). The asker is an address, a container, by its ID or its name,
or a service (worker.shop): its instances, which may be told different things
where they are on different nodes or networks; then each answer is shown, and with
-o json there is a list of them. Without --from it is a stranger, as any other
host is. Give --address and --routable as they are in the Corefile.`,
		Example: `  rackdns resolve web.shop.acme.convox
  rackdns resolve web.shop --from 127.0.0.1
  rackdns resolve web --from shop-worker-1
  rackdns resolve web --from worker.shop
  rackdns resolve _http._tcp.web.shop --from 9f2c61d0a7be -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("%s takes one name; see %[1]s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// The environment says which node this host is, a flag which is meant.
			r.anyNode = r.node == os.Getenv(environment("node"))
			name := args[0]
			if r.app != "" && !strings.Contains(strings.TrimSuffix(name, "."), ".") {
				name = strings.TrimSuffix(name, ".") + "." + r.app
			}
			answers, ofService, err := r.run(cmd.Context(), name)
			switch {
			case err != nil:
				return err
			case out.json && ofService:
				return printJSON(cmd.OutOrStdout(), answers)
			case out.json:
				return printJSON(cmd.OutOrStdout(), answers[0].Result)
			}
			return printAnswers(cmd.OutOrStdout(), answers, r.remark(args[0]))
		},
	}
	cmd.ValidArgsFunction = completeArgs(knownNames)
	r.add(cmd.Flags())
	appFlag(cmd.Flags(), &r.app, "", "the app of a bare name (default the asker's own)")
	cmd.Flags().StringVar(&r.from, "from", "", "who asks: an address, a container's ID or name, or a service such as worker.shop (default a stranger)")
	cmd.Flags().StringVar(&r.node, "node", "", "node whose DNS server is asked (default the container's, else this host)")
	cmd.Flags().StringVar(&r.docker, "docker", "", "address of the Docker Engine that knows the container's name (default as for the docker command)")
	cmd.Flags().Var(&r.address, "address", "endpoints that the server hands out")
	cmd.Flags().StringSliceVar(&r.routable, "routable", nil, "networks that everybody can reach, by name or ID")
	cmd.Flags().StringSliceVar(&r.forwarders, "forwarders", nil, "networks of DNS servers that ask on behalf of others, as in the Corefile")
	out.add(cmd.Flags())
	return cmd
}

// run returns what the asker is told, and whether it is a service, whose instances
// may be told different things.
func (r *resolver) run(ctx context.Context, name string) (answers []resolve.Answer, ofService bool, err error) {
	zone, err := r.zone()
	if err != nil {
		return nil, false, err
	}
	node, err := nodeName(r.node)
	if err != nil {
		return nil, false, err
	}
	if err := checkDocker(r.docker); err != nil {
		return nil, false, err
	}
	rack, err := r.rackAt(ctx, node, zone)
	if err != nil {
		return nil, false, err
	}
	if r.from == "" {
		return one(rack.Resolve(name, rack.Stranger()))
	}
	if ip, err := netip.ParseAddr(r.from); err == nil {
		return one(rack.Resolve(name, rack.At(ip)))
	}
	from := r.from
	if r.app != "" && !strings.Contains(from, ".") && rack.Snapshot.ServiceOf(r.app, strings.ToLower(from)) != nil {
		from += "." + r.app
	}
	instances, noService := rack.Service(from)
	if len(instances) > 0 {
		answers, err = r.ofService(ctx, rack, name, instances)
		return answers, true, err
	}
	i, err := r.container(ctx, rack)
	switch {
	case err != nil && noService != nil:
		return nil, false, fmt.Errorf("--from: %w", noService)
	case err != nil:
		return nil, false, fmt.Errorf("--from: %w", err)
	case i == nil:
		return one(rack.Resolve(name, rack.Unregistered(r.from)))
	}
	res, err := r.of(ctx, rack, name, i)
	return one(res, err)
}

func one(r resolve.Result, err error) ([]resolve.Answer, bool, error) {
	return []resolve.Answer{{Result: r}}, false, err
}

// of says what an instance is told: it asks the server of its own node, unless
// another one was given.
func (r *resolver) of(ctx context.Context, rack resolve.Rack, name string, i *index.Instance) (_ resolve.Result, err error) {
	if i.Node() != rack.Node && i.Node() != registry.NodeAPI && r.anyNode {
		if rack, err = r.rackAt(ctx, i.Node(), rack.Zone); err != nil {
			return resolve.Result{}, err
		}
	}
	return rack.Resolve(name, rack.Of(i))
}

// mostStandpoints is from how many nodes and networks a service is looked from:
// each node is another reading of the registry.
const mostStandpoints = 8

// ofService says what the instances of a service are told, each answer once.
func (r *resolver) ofService(ctx context.Context, rack resolve.Rack, name string, instances []*index.Instance) ([]resolve.Answer, error) {
	asking, alike := resolve.Standpoints(instances)
	if left := len(asking) - mostStandpoints; left > 0 {
		asking = asking[:mostStandpoints]
		fmt.Fprintf(os.Stderr, "rackdns: %s asks from %d nodes and networks, of which %d are looked at; give one of its containers with --from for another\n", terminal.Text(r.from), left+mostStandpoints, mostStandpoints)
	}
	var all []resolve.Answer
	for _, i := range asking {
		res, err := r.of(ctx, rack, name, i)
		if err != nil {
			return nil, err
		}
		all = append(all, resolve.Answer{Result: res, Also: alike[i.ID()]})
	}
	return resolve.Merge(all), nil
}

// rackAt returns the rack as the server of a node sees it.
func (r *resolver) rackAt(ctx context.Context, node, zone string) (resolve.Rack, error) {
	forwarders, err := rack.ParseForwarders(r.forwarders)
	if err != nil {
		return resolve.Rack{}, usagef("--forwarders: %v", err)
	}
	o := index.Options{Forwarders: forwarders, Node: node, Address: r.address.value, Routable: r.routable}
	if o.Address == addressAuto {
		o.Address = registry.AddressAuto
	}
	s, err := r.snapshot(ctx, o)
	return resolve.Rack{Snapshot: s, Node: node, Name: r.Rack, Zone: zone}, err
}

// container returns the instance that --from names, nil for a container that is
// not registered.
func (r *resolver) container(ctx context.Context, rack resolve.Rack) (*index.Instance, error) {
	if i, err := rack.Instance(r.from); i != nil || err != nil {
		return i, err
	}
	// Alone, since an ID is all that is wanted and no address for others.
	x, err := agent.Explain(ctx, agent.Config{DockerHost: r.docker, Node: rack.Node, Alone: true, Logger: setUpLog()}, r.from)
	if err != nil {
		return nil, fmt.Errorf("neither an address, nor the ID of an instance, nor a service as in worker.shop; %w", err)
	}
	return rack.Instance(x.ID)
}

// remark says what there is to know of a short name.
func (r *resolver) remark(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	namespace := name[strings.LastIndexByte(name, '.')+1:]
	if namespace == name || strings.HasSuffix(name, "."+cleanSuffix(r.suffix)) || !shortname.NeedsListing(namespace) {
		return ""
	}
	return fmt.Sprintf("The world has names in %s., too, so a server answers %s. only where that namespace is listed.", namespace, name)
}

// printAnswers prints what each asker is told.
func printAnswers(w io.Writer, all []resolve.Answer, remark string) error {
	for n := range all {
		if n > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		last := ""
		if n == len(all)-1 {
			last = remark
		}
		if err := printResult(w, &all[n], last); err != nil {
			return err
		}
	}
	return nil
}

func printResult(w io.Writer, res *resolve.Answer, remark string) error {
	alias := ""
	if len(res.AliasOf) > 0 {
		alias = ", an alias of " + strings.Join(res.AliasOf, " and ")
	}
	also := ""
	if len(res.Also) > 0 {
		also = "; told the same: " + strings.Join(res.Also, ", ")
	}
	if _, err := fmt.Fprintf(w, "%s%s, asked %s%s\n", terminal.Text(res.Name), alias, terminal.Text(res.Asker.String()), terminal.Text(also)); err != nil {
		return err
	}
	var t table
	for _, i := range res.Instances {
		addInstance(&t, &i)
	}
	switch h := res.Host; {
	case h != nil && h.CNAME != "":
		t.add("told", "CNAME "+h.CNAME, portOf(h.Port), "is the outside host that was declared")
	case h != nil:
		t.add("told", h.Address.String(), portOf(h.Port), "is the address that was declared")
	case res.Remark != "":
		t.add("nothing: " + res.Remark)
	}
	if err := t.print(w, "  "); err != nil {
		return err
	}
	if res.Answers > 0 {
		if _, err := fmt.Fprintf(w, "\nA reply has %d of these addresses (rackdns.answers), for each client others.\n", res.Answers); err != nil {
			return err
		}
	}
	if remark == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s\n", terminal.Text(remark))
	return err
}

// shownNode is a node for people: what was registered by hand has none.
func shownNode(name string) string {
	if name == registry.NodeAPI {
		return orDash("")
	}
	return name
}

func portOf(port uint16) string {
	if port == 0 {
		return "no port"
	}
	return fmt.Sprintf("port %d", port)
}

// addInstance adds a row for each endpoint.
func addInstance(t *table, i *resolve.Instance) {
	if !i.Told {
		t.add("left", i.ID, shownNode(i.Node), "", "", i.Why)
		return
	}
	why := i.Why
	for _, p := range i.Unreachable {
		why += ", but for " + p.Port + ", which " + p.Why
	}
	for _, e := range i.Endpoints {
		where, port := e.Address.String(), e.Protocol
		if e.Port == 0 {
			port = "no port"
		} else {
			where = net.JoinHostPort(where, fmt.Sprint(e.Port))
		}
		if e.Name != "" {
			port += " (" + e.Name + ")"
		}
		t.add("told", i.ID, shownNode(i.Node), where, port, why)
	}
}
