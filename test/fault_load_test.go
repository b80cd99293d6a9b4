package test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nxdomain is what load calls the answer that there is no such name.
const nxdomain = "NXDOMAIN"

// A question is asked again and again, one after the other. Each reply has to
// be the answer of now or the one announced to come next; then there is no way
// back.
type question struct {
	name string
	kind uint16

	mu      sync.Mutex
	answers []string
	now     int
	asked   int
	ttl     uint32
	faults  []string
	// counts are the faults by their kind.
	counts faultCounts
}

// then announces that the answer is going to change.
func (q *question) then(answer string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.answers = append(q.answers, answer)
}

// changed reports whether all announced changes were seen.
func (q *question) changed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if left := len(q.answers) - 1 - q.now; left > 0 {
		return fmt.Errorf("%s %s: still %q", q.name, dns.TypeToString[q.kind], q.answers[q.now])
	}
	return nil
}

func (q *question) lastTTL() uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ttl
}

func (q *question) take(m *dns.Msg, err error) {
	got := ""
	if err == nil {
		got = answerOf(m)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked++
	if err == nil && len(m.Answer) > 0 {
		q.ttl = m.Answer[0].Header().Ttl
	}
	switch {
	case err == nil && got == q.answers[q.now]:
	case err == nil && q.now+1 < len(q.answers) && got == q.answers[q.now+1]:
		q.now++
	default:
		q.counts.add(m, err, got)
		if err != nil {
			got = err.Error()
		}
		q.faults = append(q.faults, fmt.Sprintf("%s %s %s: %q, want %q", time.Now().Format("15:04:05.000"),
			q.name, dns.TypeToString[q.kind], got, q.answers[q.now:]))
	}
}

// faultCounts counts replies that should not have been: another answer than the
// right one, none or a failure, and the denial that there is anything.
type faultCounts struct{ wrong, failed, empty int }

func (c *faultCounts) add(m *dns.Msg, err error, got string) {
	switch {
	case err != nil, m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		c.failed++
	case got == "" || got == nxdomain:
		c.empty++
	default:
		c.wrong++
	}
}

// answerOf puts a reply into one comparable line.
func answerOf(m *dns.Msg) string {
	var all []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.SRV:
			all = append(all, fmt.Sprintf("%s:%d", rr.Target, rr.Port))
		default:
			all = append(all, rr.String())
		}
	}
	slices.Sort(all)
	switch {
	case m.Rcode != dns.RcodeSuccess:
		all = append([]string{dns.RcodeToString[m.Rcode]}, all...)
	case !m.Authoritative:
		all = append(all, "not authoritative")
	}
	return strings.Join(all, " ")
}

// load asks questions at a steady rate for as long as it is not ended.
type load struct {
	t         *testing.T
	questions []*question
	perSecond int
	begin     time.Time
	stop      chan struct{}
	done      sync.WaitGroup
	ended     bool
}

// startLoad asks a server all questions, perSecond in sum.
func startLoad(t *testing.T, server string, perSecond int, questions ...*question) *load {
	t.Helper()
	l := &load{t: t, questions: questions, perSecond: perSecond, begin: time.Now(), stop: make(chan struct{})}
	for _, q := range questions {
		l.done.Go(func() { l.ask(server, q) })
	}
	t.Cleanup(l.end)
	return l
}

func asking(name string, kind uint16, answer string) *question {
	return &question{name: name, kind: kind, answers: []string{answer}}
}

// ask keeps one socket for all of a question's queries.
func (l *load) ask(server string, q *question) {
	c := dns.Client{Timeout: 5 * time.Second, UDPSize: 4096}
	conn, err := c.Dial(server)
	if err != nil {
		q.take(nil, err)
		return
	}
	defer func() { _ = conn.Close() }()
	tick := time.NewTicker(time.Second * time.Duration(len(l.questions)) / time.Duration(l.perSecond))
	defer tick.Stop()
	for {
		m := new(dns.Msg)
		m.SetQuestion(q.name, q.kind)
		m.SetEdns0(4096, false)
		q.take(askOver(&c, m, conn))
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
	}
}

func askOver(c *dns.Client, m *dns.Msg, conn *dns.Conn) (*dns.Msg, error) {
	for {
		reply, _, err := c.ExchangeWithConn(m, conn)
		if errors.Is(err, dns.ErrId) {
			continue // a late reply to a query that was given up
		}
		return reply, err
	}
}

// end stops asking and tells what was wrong.
func (l *load) end() {
	l.t.Helper()
	if l.ended {
		return
	}
	l.ended = true
	close(l.stop)
	l.done.Wait()
	sum := 0
	for _, q := range l.questions {
		sum += q.asked
		for n, fault := range q.faults {
			if n == 5 {
				l.t.Errorf("... and %d more", len(q.faults)-n)
				break
			}
			l.t.Error(fault)
		}
	}
	took := time.Since(l.begin)
	rate := float64(sum) / took.Seconds()
	l.t.Logf("asked %d questions in %s, %.0f per second", sum, took.Round(time.Second), rate)
	if rate < float64(l.perSecond)/4 {
		l.t.Errorf("asked only %.0f questions per second, want %d", rate, l.perSecond)
	}
}

// settled waits until all announced changes were seen.
func (l *load) settled(limit time.Duration) {
	l.t.Helper()
	begin := time.Now()
	within(l.t, limit, "announced answers", func() error {
		for _, q := range l.questions {
			if err := q.changed(); err != nil {
				return err
			}
		}
		return nil
	})
	l.t.Logf("all answers had changed after %s", time.Since(begin).Round(time.Millisecond))
}

// healthy fails the test as soon as there was a fault.
func (l *load) healthy() error {
	for _, q := range l.questions {
		q.mu.Lock()
		faults := q.faults
		q.mu.Unlock()
		if len(faults) > 0 {
			return errors.New(faults[0])
		}
	}
	return nil
}
