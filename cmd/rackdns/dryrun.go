package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/registry"
)

// draft is what an agent would register, and what not.
type draft struct {
	Instances []*registry.Instance `json:"instances"`
	LeftOut   []agent.Refusal      `json:"left_out"`
}

// dryRun prints what the agent would register.
func dryRun(ctx context.Context, cfg agent.Config, w io.Writer, out output) error {
	instances, refusals, err := agent.Plan(ctx, cfg)
	if err != nil {
		return err
	}
	if out.json {
		// Empty lists, rather than none.
		return printJSON(w, draft{append([]*registry.Instance{}, instances...), append([]agent.Refusal{}, refusals...)})
	}
	var in, left table
	in.add("INSTANCE", "NAME", "SERVING", "PORTS", "NETWORKS")
	for _, i := range instances {
		in.add(i.ID, i.Service+"."+i.Namespace, yesNo(i.Serving()), ports(i), networks(i))
	}
	if err := in.print(w, ""); err != nil || len(refusals) == 0 {
		return err
	}
	left.add("LEFT OUT", "CONTAINER", "REASON", "WHY")
	for _, r := range refusals {
		left.add(r.ID, orDash(r.Container), string(r.Reason), oneLine(r.Detail))
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return left.print(w, "")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ports writes each port with where it is published, such as
// http:3000=10.0.2.10:47889, 53/udp.
func ports(i *registry.Instance) string {
	all := make([]string, 0, len(i.Ports))
	for _, p := range i.Ports {
		s := fmt.Sprint(p.Container)
		if p.Name != "" {
			s = p.Name + ":" + s
		}
		if p.Protocol != registry.TCP {
			s += "/" + p.Protocol
		}
		for n, b := range p.Bindings {
			separator := "+"
			if n == 0 {
				separator = "="
			}
			s += separator + netip.AddrPortFrom(b.IP, b.Port).String()
		}
		all = append(all, s)
	}
	return orDash(strings.Join(all, ", "))
}

func networks(i *registry.Instance) string {
	all := make([]string, 0, len(i.Networks))
	for _, n := range i.Networks {
		s := n.Name
		if n.IPv4.IsValid() {
			s += "=" + n.IPv4.String()
		}
		if n.IPv6.IsValid() {
			s += "=" + n.IPv6.String()
		}
		all = append(all, s)
	}
	return orDash(strings.Join(all, ", "))
}
