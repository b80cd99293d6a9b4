package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/rackdns/rackdns/internal/agent"
	"github.com/rackdns/rackdns/internal/registry"
)

// dryRun prints what the agent would register.
func dryRun(ctx context.Context, cfg agent.Config, w io.Writer, out output) error {
	draft, err := agent.Plan(ctx, cfg)
	if err != nil {
		return err
	}
	if out.json {
		return printJSON(w, draft)
	}
	var in, left, remarks table
	in.add("INSTANCE", "NAME", "SERVING", "PORTS", "NETWORKS")
	for _, i := range draft.Instances {
		in.add(i.ID, i.Service+"."+i.Namespace, yesNo(i.Serving()), ports(i), networks(i))
	}
	if err := in.print(w, ""); err != nil {
		return err
	}
	left.add("LEFT OUT", "CONTAINER", "REASON", "WHY")
	for _, r := range draft.LeftOut {
		left.add(r.ID, orDash(r.Container), string(r.Reason), oneLine(r.Detail))
	}
	remarks.add("REMARK ON", "CONTAINER", "WHAT DOESN'T COUNT")
	for _, r := range draft.Remarks {
		remarks.add(r.ID, orDash(r.Container), oneLine(r.What))
	}
	if len(draft.LeftOut) > 0 {
		if err := printBelow(w, &left); err != nil {
			return err
		}
	}
	if len(draft.Remarks) > 0 {
		return printBelow(w, &remarks)
	}
	return nil
}

// printBelow prints a table below another one.
func printBelow(w io.Writer, t *table) error {
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return t.print(w, "")
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
		for n, b := range slices.Concat(p.Bindings, p.Loopback) {
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
