package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/index"
)

func checkRegistry(_ context.Context, s *scene) []Result {
	at := strings.Join(s.registry.Endpoints(), ", ")
	if err := s.reached(); err != nil {
		return []Result{failed("mend that first: DNS servers go on with what they knew, and learn nothing new; is it the right etcd (--etcd, RACKDNS_ETCD)?", "%s", err)}
	}
	snapshot, err := s.picture()
	if err != nil {
		return []Result{failed("look at the load of etcd, and at what else is in it", "%s: %s", at, err)}
	}
	if isEmpty(snapshot) {
		return []Result{warned("is it the right rack (--rack, RACKDNS_RACK) and prefix (--etcd-prefix)? If so, start an agent", "%s: has nothing of a rack %s", at, s.rack())}
	}
	return passed("%s: read rack %s at revision %d", at, s.rack(), snapshot.Revision())
}

func checkMembers(_ context.Context, s *scene) []Result {
	all, err := s.members()
	if err != nil {
		return skipped("etcd's members: %s", err)
	}
	var found []Result
	for _, m := range all {
		switch {
		case m.Err != nil:
			found = append(found, warned("start it again, or replace it (etcdctl member remove, then add): one more that fails may be the end of the quorum; if it runs, let this host reach that address",
				"member %s at %s doesn't answer: %s", name(m.Name), cmp.Or(m.Endpoint, "no URL"), m.Err))
		case m.Learner:
			found = append(found, warned("promote it (etcdctl member promote) once it has caught up", "member %s is a learner, which has no vote", name(m.Name)))
		}
	}
	return orPassed(found, "%s, all answer", several(len(all), "member"))
}

// name is a name, or that there is none.
func name(s string) string { return cmp.Or(s, "(without a name)") }

// nearlyFull is the share of its quota from which on a database is a warning.
const nearlyFull = 0.8

func checkAlarms(ctx context.Context, s *scene) []Result {
	if s.reached() != nil {
		return skipped("etcd's alarms: %s", errUnread)
	}
	alarms, err := s.registry.Alarms(ctx)
	if err != nil {
		return skipped("etcd's alarms: %s", err)
	}
	next := map[string]string{
		"NOSPACE": "compact and defragment it (etcdctl compact, defrag), then etcdctl alarm disarm; --quota-backend-bytes is its limit",
		"CORRUPT": "find the member that differs (etcdctl endpoint hashkv --cluster), replace it, then etcdctl alarm disarm",
	}
	var found []Result
	for _, a := range alarms {
		found = append(found, failed(cmp.Or(next[a.Kind], "see etcd's log"), "member %s has the alarm %s", a.Member, a.Kind))
	}
	members, _ := s.members() // without them there is nothing more to say
	for _, m := range members {
		if m.Err == nil && m.Quota > 0 && float64(m.Size) > nearlyFull*float64(m.Quota) {
			found = append(found, warned("compact and defragment it (etcdctl compact, defrag), find out what fills it, or raise --quota-backend-bytes: full, it takes no writes",
				"the database of member %s has %d of the %d MB that it may have, %d in use", name(m.Name), m.Size>>20, m.Quota>>20, m.InUse>>20))
		}
	}
	return orPassed(found, "none")
}

// The minor versions of etcd 3 that are supported; see docs/etcd.md.
const (
	firstSupported = 4
	lastTested     = 7
)

func checkVersion(_ context.Context, s *scene) []Result {
	members, err := s.members()
	if err != nil {
		return skipped("etcd's version: %s", err)
	}
	var found []Result
	versions := map[string][]string{}
	last := ""
	for _, m := range members {
		if m.Err != nil {
			continue
		}
		last = m.Version
		versions[m.Version] = append(versions[m.Version], name(m.Name))
		switch ok, newer := supported(m.Version); {
		case newer:
			found = append(found, warned("docs/etcd.md says which versions are tested", "member %s is etcd %s, which is newer than what was tested", name(m.Name), m.Version))
		case !ok:
			found = append(found, failed("upgrade etcd: docs/etcd.md says which versions are supported", "member %s is etcd %s, which is not supported", name(m.Name), m.Version))
		}
	}
	if len(versions) == 0 {
		return skipped("etcd's version: no member says it")
	}
	if len(versions) > 1 {
		found = append(found, warned("bring the upgrade to its end", "etcd's members differ: %s", sides(versions)))
	}
	return orPassed(found, "etcd %s", last)
}

// supported reports whether a version of etcd is, and whether it is later than all
// that are known.
func supported(version string) (ok, newer bool) {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err := strconv.Atoi(major)
	n, err2 := strconv.Atoi(minor)
	if err != nil || err2 != nil {
		return false, false
	}
	return m == 3 && n >= firstSupported && n <= lastTested, m > 3 || m == 3 && n > lastTested
}

const (
	slowRegistry    = 100 * time.Millisecond
	tooSlowRegistry = time.Second
)

func checkLatency(ctx context.Context, s *scene) []Result {
	if s.reached() != nil {
		return skipped("the registry's latency: %s", errUnread)
	}
	took, err := s.registry.Latency(ctx)
	if err != nil {
		return []Result{failed("look at the load of etcd and at the network", "%s", err)}
	}
	const next = "look at etcd's disk (etcd_disk_wal_fsync_duration_seconds), at its load and at the network: each start and stop of a container waits for it"
	switch {
	case took > tooSlowRegistry:
		return []Result{failed(next, "a read takes %s", took.Round(time.Millisecond))}
	case took > slowRegistry:
		return []Result{warned(next, "a read takes %s", took.Round(time.Millisecond))}
	}
	return passed("a read takes %s", took.Round(10*time.Microsecond))
}

func checkProtection(_ context.Context, s *scene) []Result {
	if s.reached() != nil {
		return skipped("who else gets into the registry: %s", errUnread)
	}
	switch a := s.registry.Access(); {
	case a.Socket:
		return passed("its socket is its owner's alone")
	case a.User != "" && !a.TLS:
		return []Result{warned("serve it by https (--cert-file, --key-file of etcd)", "user %s and the password go over the network as they are: etcd is reached without TLS", a.User)}
	case a.User == "" && !a.TLS:
		return []Result{warned("have etcd want a certificate (--client-cert-auth) or users (rackdns etcd-roles): loopback keeps out neither web pages nor other users nor containers on the host's network",
			"whoever reaches etcd reads all credentials and writes any name: it wants neither a certificate nor a user")}
	case a.User != "":
		return passed("by TLS, as user %s", a.User)
	}
	return passed("by TLS")
}

func checkRoles(ctx context.Context, s *scene) []Result {
	a := s.registry.Access()
	user := a.User
	switch {
	case s.reached() != nil:
		return skipped("the roles of etcd's user: %s", errUnread)
	case user == "" && a.TLS:
		return skipped("the roles of etcd's user: if it knows one by our certificate, it doesn't say which")
	case user == "":
		return passed("etcd wants no user")
	}
	admin, err := s.registry.Layout().Admin()
	if err != nil {
		return skipped("the roles of etcd's user: %s", err)
	}
	lacking, err := s.registry.Lacking(ctx, admin)
	if err != nil {
		return skipped("the roles of etcd's user: %s", err)
	}
	var found []Result
	for _, p := range lacking {
		may := "read"
		if p.Write {
			may = "write"
		}
		found = append(found, warned("grant it the role "+admin.Name+" (rackdns etcd-roles makes it): "+admin.For, "user %s may not %s what is below %s, so some commands fail", user, may, p.Key))
	}
	return orPassed(found, "user %s has what commands need", user)
}

const (
	// endsSoon is how long before its end a certificate is a warning.
	endsSoon = 14 * 24 * time.Hour
)

func checkCertificates(ctx context.Context, s *scene) []Result {
	if !s.registry.Access().TLS {
		return passed("none: etcd is reached without TLS")
	}
	all, err := s.registry.Certificates(ctx)
	var found []Result
	for _, c := range all {
		ends := c.Ends.UTC().Format(time.RFC3339)
		switch left := time.Until(c.Ends); {
		case left <= 0:
			found = append(found, failed("replace the file: it is read again when it changes", "the certificate of %s ended at %s", c.Where, ends))
		case left < endsSoon:
			found = append(found, warned("replace the file: it is read again when it changes", "the certificate of %s ends at %s, in %d days", c.Where, ends, int(left.Hours()/24)))
		}
	}
	if err != nil {
		found = append(found, skipped("%s", err)...)
	}
	return orPassed(found, "%s, none ends within %d days", several(len(all), "certificate"), int(endsSoon.Hours()/24))
}

func checkEntries(_ context.Context, s *scene) []Result {
	snapshot, err := s.picture()
	if err != nil {
		return skipped("entries of the registry: %s", err)
	}
	var found []Result
	for _, e := range snapshot.InvalidEntries() {
		found = append(found, warned("mend or delete it by whoever wrote it, or by etcdctl del: it is skipped until then", "%s: %s", e.Key, e.Why))
	}
	return orPassed(found, "all can be used")
}

// clockTolerance is by how much clocks may differ: propagation is measured by them,
// and who had a name first.
const clockTolerance = 2 * time.Second

func checkClock(ctx context.Context, s *scene) []Result {
	if s.reached() != nil {
		return skipped("clocks: %s", errUnread)
	}
	const next = "have the clocks kept (chrony, systemd-timesyncd): who had a name first is told by them"
	var found []Result
	told := "no node's is ahead of ours"
	switch ahead, at, err := s.registry.ClockAhead(ctx); {
	case err != nil:
		told += "; " + err.Error()
	case ahead.Abs() > clockTolerance:
		found = append(found, warned(next, "the clock of etcd at %s is %s", at, apart(ahead)))
	default:
		told += ", and etcd's is ours"
	}
	nodes, err := s.nodes()
	if err != nil && !errors.Is(err, errUnread) {
		return append(found, skipped("%s", err)...)
	}
	for _, n := range nodes {
		if ahead := time.Until(n.Started); ahead > clockTolerance {
			found = append(found, warned(next, "the clock of node %s is %s at least: its agent has yet to start by it", n.Node.Node, apart(ahead)))
		}
	}
	return orPassed(found, "%s", told)
}

// apart says how far a clock is from ours.
func apart(ahead time.Duration) string {
	if ahead < 0 {
		return fmt.Sprintf("%s behind ours", (-ahead).Round(time.Second))
	}
	return fmt.Sprintf("%s ahead of ours", ahead.Round(time.Second))
}

// isEmpty reports whether there is nothing of the rack.
func isEmpty(s *index.Snapshot) bool {
	for range s.Apps() {
		return false
	}
	return len(s.Nodes()) == 0 && s.Invalid() == 0
}
