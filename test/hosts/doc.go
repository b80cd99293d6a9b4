// Package hosts makes real Docker hosts on one machine, so that a test can dial
// what a rule says is reachable, from where it was asked, and see who answers.
//
// A [Lab] has LANs (a bridge in a namespace of its own), machines and hosts on
// them. A [Machine] is a network namespace with addresses and routes; a [Host]
// is one that also has a Docker Engine of its own (package dockertest), with the
// packet filter, docker0 and docker-proxy, as Docker comes or as its daemon.json
// says. Containers run the program in test/container, which answers at its ports
// with the container's name, HOST/NAME. Machines and containers are a [Client]
// each: what they dial and ask is dialled and asked from inside their namespace,
// by a thread of the test's, without their help.
//
//	lab := hosts.New(t)
//	lan := lab.LAN(t, "lan", "192.0.2.0/24", "fd00:2::/64")
//	alpha := lab.Host(t, "alpha", hosts.On(lan, "192.0.2.2"), hosts.Address("100.64.0.7/32", "lo"))
//	beta := lab.Host(t, "beta", hosts.On(lan, "192.0.2.3"), hosts.Engine(`{"userland-proxy": false}`))
//	stranger := lab.Machine(t, "stranger", hosts.On(lan, "192.0.2.9"))
//	alpha.Network(t, hosts.NetworkSpec{Name: "app"})
//	web := alpha.Run(t, hosts.Spec{Name: "web", Networks: []string{"app"}, TCP: []uint16{80}, Publish: []string{"8080:80"}})
//	who, err := stranger.Dial("tcp", netip.MustParseAddrPort("192.0.2.2:8080")) // "alpha/web"
//	for _, fact := range lab.Facts([]*hosts.Client{&stranger.Client, &beta.Client}, web.Endpoints(t)) { … }
//
// Networks are bridges, internal ones, macvlan, ipvlan and overlay ([Swarm]
// comes first; [Lab.Missing] says what the kernel lacks), and as a container's
// only one host, none and container:NAME.
//
// A server under test runs in a host's namespace or in a container's; [Client.Command]
// starts a program there. [Client.Whoami] is a DNS server that answers
// with the address that it sees its client at, and Forward a dnsmasq in front of
// another server.
//
// [Lab.Draw] makes networks, containers and publications at random, and returns
// a [Fact] for each client and endpoint beside the [View] that an agent has of
// each host: rules are right if they say of each fact what was dialled.
//
// [Lab.Rack] runs rackdns: a registry, and an agent and a DNS server on each
// host. [Rack.Told] is what a client is told of one port of a container, and
// Resolved what `rackdns resolve` says of that. A row of told_test.go states both
// and has what is told dialled; of scenes drawn at random all is judged: what is
// told must answer, and what is left out must not.
//
// # A new kind of host
//
// What is a matter of addresses, routes or the engine's configuration is an
// [Option] beside the others in machine.go: a function that is given the machine
// when its namespace is there and its engine isn't. What is a network's is a
// field of [NetworkSpec] and a case in draw.go, and what is a container's one of
// [Spec]. Then the statements about it go as rows into reach_test.go and
// asks_test.go, and into rules_test.go what they have in common.
//
// # Costs
//
// An engine takes two seconds, a container more than one, and an address that
// doesn't answer [Patience]: so a test makes one lab and has subtests share it.
// What is made with the lab's own *testing.T goes with the lab, and what is made
// with a subtest's goes with that. All of it goes also when the test is killed.
// Nothing but the names of the namespaces, which are random, is the machine's.
//
// It takes root, dockerd, containerd, nsenter, ip and pgrep, and dnsmasq for
// Forward. Without, tests are skipped, unless RACKDNS_REQUIRE_DOCKER is 1.
package hosts
