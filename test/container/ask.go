package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ask prints for each name what the server says of its addresses: its result
// and the addresses, sorted. It asks once: what a resolver would make good by
// asking again is to be seen. The server is ADDRESS:PORT.
func ask(server string, names []string) {
	c := dns.Client{Timeout: 5 * time.Second}
	for _, name := range names {
		q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
		m, _, err := c.Exchange(q, server)
		if err != nil {
			fmt.Println(name, err)
			continue
		}
		var addrs []string
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok {
				addrs = append(addrs, a.A.String())
			}
		}
		slices.Sort(addrs)
		fmt.Println(name, dns.RcodeToString[m.Rcode], strings.Join(addrs, " "))
	}
}
