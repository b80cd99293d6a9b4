package test

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// ask sends one question and returns the reply, whatever it says.
func ask(server, network, name string, kind uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	m.SetEdns0(4096, false)
	// The question's spelling must come back as it was, so it isn't changed.
	c := dns.Client{Net: network, Timeout: 2 * time.Second, UDPSize: 4096}
	reply, _, err := c.Exchange(m, server)
	if err != nil {
		return nil, fmt.Errorf("asking %s for %s %s over %s: %w", server, name, dns.TypeToString[kind], network, err)
	}
	return reply, nil
}

// found asks over UDP and demands an answer, or NODATA.
func found(server, name string, kind uint16) (*dns.Msg, error) {
	m, err := ask(server, "udp", name, kind)
	if err == nil && m.Rcode != dns.RcodeSuccess {
		err = fmt.Errorf("%s %s: %s", name, dns.TypeToString[kind], dns.RcodeToString[m.Rcode])
	}
	return m, err
}

// addresses are the addresses among records, sorted.
func addresses(records []dns.RR, owner string) []string {
	var all []string
	for _, rr := range records {
		if owner != "" && !strings.EqualFold(rr.Header().Name, owner) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.AAAA:
			all = append(all, rr.AAAA.String())
		}
	}
	slices.Sort(all)
	return all
}

// targets maps the target of each SRV record to its ports.
func targets(records []dns.RR) map[string][]string {
	all := map[string][]string{}
	for _, rr := range records {
		if srv, ok := rr.(*dns.SRV); ok {
			all[srv.Target] = append(all[srv.Target], strconv.Itoa(int(srv.Port)))
			slices.Sort(all[srv.Target])
		}
	}
	return all
}

// resolvesTo checks what the A records of a name say.
func resolvesTo(server, name string, want ...string) error {
	m, err := found(server, name, dns.TypeA)
	if err != nil {
		return err
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, addresses(m.Answer, "")); diff != "" {
		return fmt.Errorf("%s A (-want +got):\n%s", name, diff)
	}
	return nil
}

// servedBy checks what the SRV records of a name say: target -> ports.
func servedBy(server, name string, want map[string][]string) error {
	m, err := found(server, name, dns.TypeSRV)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(want, targets(m.Answer)); diff != "" {
		return fmt.Errorf("%s SRV (-want +got):\n%s", name, diff)
	}
	return nil
}

// endpoints are the host:port pairs that an SRV answer leads to, by target.
// The addresses come from the additional section, which must have them.
func endpoints(m *dns.Msg) (map[string]string, error) {
	all := map[string]string{}
	for target, ports := range targets(m.Answer) {
		glue := addresses(m.Extra, target)
		if len(glue) != 1 || len(ports) != 1 {
			return nil, fmt.Errorf("target %s: ports %v and addresses %v, want one of each", target, ports, glue)
		}
		all[target] = net.JoinHostPort(glue[0], ports[0])
	}
	return all, nil
}
