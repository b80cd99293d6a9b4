// Package doctor looks for what is wrong with a rack, as far as it can be seen
// from one host, and says what to do next. It changes nothing.
//
// Each check is a function with a name. It looks by itself at what it is about:
// what can't be seen from here, or without root, is said to be skipped, and never
// to have passed. The page docs/doctor.md has a section for each.
package doctor

import (
	"context"
	"fmt"
	"strings"
)

// Outcome is what became of a check.
type Outcome string

// The outcomes of checks.
const (
	Passed Outcome = "passed"
	// Warned is what works and will not for long, or not for all.
	Warned Outcome = "warned"
	Failed Outcome = "failed"
	// Skipped is a check that can't be made from here.
	Skipped Outcome = "skipped"
)

// Result is one finding of a check, which has several where several things are
// wrong.
type Result struct {
	Check   string  `json:"check"`
	Outcome Outcome `json:"result"`
	// What is one line that says what is so, of which thing.
	What string `json:"what"`
	// Next is one line that says what to do, empty if there is nothing to do.
	Next string `json:"next,omitempty"`
}

// check is one of the checks.
type check struct {
	name string
	run  func(context.Context, *scene) []Result
}

// checks are all of them, in the order in which they are reported: a cause before
// what it causes.
var checks = []check{
	{"registry", checkRegistry},
	{"registry-members", checkMembers},
	{"registry-alarms", checkAlarms},
	{"registry-version", checkVersion},
	{"registry-latency", checkLatency},
	{"registry-protection", checkProtection},
	{"registry-roles", checkRoles},
	{"registry-certificates", checkCertificates},
	{"registry-entries", checkEntries},
	{"clock", checkClock},
	{"nodes", checkNodes},
	{"node-versions", checkNodeVersions},
	{"node-identity", checkIdentity},
	{"node-address", checkAddresses},
	{"drained", checkDrained},
	{"namespaces", checkNamespaces},
	{"aliases", checkAliases},
	{"services", checkServices},
	{"engine", checkEngine},
	{"containers", checkContainers},
	{"labels", checkLabels},
	{"folded", checkFolded},
	{"registered", checkRegistered},
	{"processes", checkProcesses},
	{"picture", checkPicture},
	{"dns-server", checkServer},
	{"dns-answers", checkAnswers},
	{"dns-others", checkOthers},
	{"hidden-clients", checkHidden},
	{"ports", checkPorts},
	{"resolv-conf", checkResolvConf},
	{"forwarder", checkForwarder},
	{"forwarder-clients", checkForwarderClients},
	{"daemon-dns", checkDaemonDNS},
	{"container-dns", checkContainerDNS},
}

// Names returns the names of all checks, in their order.
func Names() []string {
	all := make([]string, len(checks))
	for n, c := range checks {
		all[n] = c.name
	}
	return all
}

// most is how many findings of a kind are told one by one.
const most = 5

// Run makes all checks. An error is one of the configuration, or ctx's.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	s, err := newScene(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.run(ctx)
}

func (s *scene) run(ctx context.Context) ([]Result, error) {
	var all []Result
	for _, c := range checks {
		found := c.run(ctx, s)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, r := range found {
			r.Check, r.What, r.Next = c.name, oneLine(r.What), oneLine(r.Next)
			all = append(all, r)
		}
	}
	return all, nil
}

// Count returns how many checks, not findings, had each outcome: the worst one of
// each.
func Count(all []Result) map[Outcome]int {
	worst := map[string]Outcome{}
	for _, r := range all {
		if badness[r.Outcome] >= badness[worst[r.Check]] {
			worst[r.Check] = r.Outcome
		}
	}
	count := map[Outcome]int{}
	for _, o := range worst {
		count[o]++
	}
	return count
}

var badness = map[Outcome]int{Passed: 1, Skipped: 2, Warned: 3, Failed: 4}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func passed(format string, args ...any) []Result {
	return []Result{{Outcome: Passed, What: fmt.Sprintf(format, args...)}}
}

func skipped(format string, args ...any) []Result {
	return []Result{{Outcome: Skipped, What: fmt.Sprintf(format, args...)}}
}

func warned(next, format string, args ...any) Result {
	return Result{Outcome: Warned, What: fmt.Sprintf(format, args...), Next: next}
}

func failed(next, format string, args ...any) Result {
	return Result{Outcome: Failed, What: fmt.Sprintf(format, args...), Next: next}
}

// orPassed returns the findings, the last of many in sum, or that all is well if
// there are none.
func orPassed(found []Result, format string, args ...any) []Result {
	if len(found) == 0 {
		return passed(format, args...)
	}
	if len(found) <= most {
		return found
	}
	rest := found[most:]
	sum := Result{Outcome: Warned, What: fmt.Sprintf("and %d more", len(rest)), Next: "mend these first"}
	for _, r := range rest {
		if badness[r.Outcome] > badness[sum.Outcome] {
			sum.Outcome = r.Outcome
		}
	}
	return append(found[:most:most], sum)
}

// several is "1 node", or "3 nodes".
func several(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		what = strings.TrimSuffix(what, "y") + "ie"
	case strings.HasSuffix(what, "s"):
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// some names the first of many.
func some(all []string) string {
	if len(all) > most {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, ", ")
}
