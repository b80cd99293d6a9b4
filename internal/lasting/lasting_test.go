package lasting_test

import (
	"bytes"
	"errors"
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

	if trouble.Over("works") || trouble.Lasts() || !trouble.Due() {
		t.Error("there is trouble before there is any")
	}
	for n := range 25 * 60 {
		due, said := trouble.Due(), trouble.Note("can't", err, "node", "n1")
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
	// The next one is another one, and turns into others.
	trouble.Note("can't", err)
	for range 2 {
		for _, kind := range []string{"password", "", "certificate"} {
			trouble.Turn(kind)
			trouble.Note("can't", err, "kind", kind)
		}
	}
	want := `level=WARN msg=can't error=refused node=n1
level=WARN msg=can't error=refused node=n1 since=2026-11-20T03:00:00.000Z lasted=10m0s
level=WARN msg=can't error=refused node=n1 since=2026-11-20T03:00:00.000Z lasted=20m0s
level=INFO msg=works lasted=25m0s node=n1
level=WARN msg=can't error=refused
level=WARN msg=can't error=refused kind=password since=2026-11-20T03:25:00.000Z lasted=0s
level=WARN msg=can't error=refused kind=certificate since=2026-11-20T03:25:00.000Z lasted=0s
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}
