package lasting_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rackdns/rackdns/internal/lasting"
)

func TestTrouble(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	now := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	trouble := lasting.NewClock(log, func() time.Time { return now })
	err := errors.New("refused")

	if trouble.Over("works") || trouble.Lasts() || !trouble.Due(err) {
		t.Error("there is trouble before there is any")
	}
	for n := range 25 * 60 {
		due, said := trouble.Due(err), trouble.Note("can't", err, "node", "n1")
		if due != said || said != (n%600 == 0) {
			t.Errorf("after %d s: due %t, said %t", n, due, said)
		}
		now = now.Add(time.Second)
	}
	if since := trouble.Since(); !since.Equal(time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)) || !trouble.Lasts() {
		t.Errorf("since %s", since)
	}
	if !trouble.Over("works", "node", "n1") || trouble.Over("works") || trouble.Lasts() {
		t.Error("it is over, once")
	}
	// The next one is another one. It is told why it lasts, though not for ever.
	trouble.Note("can't", err)
	for n := range 6 {
		other := fmt.Errorf("port %d", n)
		for again := range 2 {
			due, said := trouble.Due(other), trouble.Note("can't", other)
			if want := n < 3 && again == 0; said != want || n < 3 && due != want {
				t.Errorf("reason %d, %d times before: due %t, said %t", n, again, due, said)
			}
		}
	}
	want := `level=WARN msg=can't error=refused node=n1
level=WARN msg=can't error=refused node=n1 since=2026-11-20T03:00:00.000Z lasted=10m0s
level=WARN msg=can't error=refused node=n1 since=2026-11-20T03:00:00.000Z lasted=20m0s
level=INFO msg=works lasted=25m0s node=n1
level=WARN msg=can't error=refused
level=WARN msg=can't error="port 0" since=2026-11-20T03:25:00.000Z lasted=0s
level=WARN msg=can't error="port 1" since=2026-11-20T03:25:00.000Z lasted=0s
level=WARN msg=can't error="port 2" since=2026-11-20T03:25:00.000Z lasted=0s
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}
