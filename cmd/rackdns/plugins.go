package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	// The plugins that we ship. They register themselves.
	_ "github.com/coredns/coredns/plugin/acl"
	_ "github.com/coredns/coredns/plugin/any"
	_ "github.com/coredns/coredns/plugin/autopath"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/chaos"
	_ "github.com/coredns/coredns/plugin/debug"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/dnstap"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/etcd"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/minimal"
	_ "github.com/coredns/coredns/plugin/multisocket"
	_ "github.com/coredns/coredns/plugin/nsid"
	_ "github.com/coredns/coredns/plugin/pprof"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/secondary"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/timeouts"
	_ "github.com/coredns/coredns/plugin/tls"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/view"
	_ "github.com/coredns/coredns/plugin/whoami"

	_ "github.com/rackdns/rackdns/plugin/bind" // in place of CoreDNS's
	_ "github.com/rackdns/rackdns/plugin/rack"
	_ "github.com/rackdns/rackdns/plugin/recursion"
	_ "github.com/rackdns/rackdns/plugin/shortname"
)

// directives are the plugins in the order in which a query meets them, which
// is CoreDNS's own with ours in their places: rack where etcd stands, shortname
// after autopath, whose last try is the bare name, and after acl, but before
// cache, since its answers depend on who asks. recursion comes after shortname,
// whose names are everybody's, and before cache, which keeps what was looked up.
var directives = []string{
	"root", "metadata", "timeouts", "multisocket", "reload", "nsid", "bufsize", "bind", "debug", "ready", "health",
	"pprof", "prometheus", "errors", "log", "dnstap", "any", "chaos", "loadbalance", "rewrite", "autopath", "acl",
	"shortname", "recursion", "cache", "dnssec", "tls", "minimal", "template", "transfer", "hosts", "file", "secondary", "rack", "etcd", "loop",
	"forward", "whoami", "view",
}

// setDirectives has to come before any Corefile is read.
func setDirectives() error { return dnsserver.SetDirectives(directives) }
