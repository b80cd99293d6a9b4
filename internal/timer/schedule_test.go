package timer

import (
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		t.Helper()
		v, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		schedule, minute string
		due              bool
		next             string
	}{
		{"* * * * *", "2026-11-28 06:30:00", true, "2026-11-28 06:31:00"},
		{"0 3 * * *", "2026-11-28 03:00:00", true, "2026-11-29 03:00:00"},
		{"0 3 * * *", "2026-11-28 03:00:59", true, "2026-11-29 03:00:00"}, // within its minute
		{"0 3 * * *", "2026-11-28 03:01:00", false, "2026-11-29 03:00:00"},
		{"*/15 * * * *", "2026-11-28 06:45:00", true, "2026-11-28 07:00:00"},
		{"30 2 * * SUN", "2026-03-29 02:30:00", true, "2026-04-05 02:30:00"}, // in UTC every hour exists
		{"0 0 29 2 *", "2028-02-29 00:00:00", true, "2032-02-29 00:00:00"},
	} {
		s, err := Parse(tc.schedule)
		if err != nil {
			t.Fatal(err)
		}
		minute := at(tc.minute)
		if due, next := s.Due(minute), s.Next(minute); due != tc.due || !next.Equal(at(tc.next)) {
			t.Errorf("%s at %s: due %t, next %s; want %t, %s", tc.schedule, tc.minute, due, next, tc.due, tc.next)
		}
		// Wherever the host is.
		if due := s.Due(minute.In(time.FixedZone("elsewhere", 5*3600+1800))); due != tc.due {
			t.Errorf("%s at %s, in another zone: due %t", tc.schedule, tc.minute, due)
		}
	}
	if s, err := Parse("0 0 30 2 *"); err != nil || !s.Next(at("2026-01-01 00:00:00")).IsZero() {
		t.Errorf("February 30 comes: %v", err)
	}
	if _, err := Parse("61 * * * *"); err == nil {
		t.Error("minute 61 is taken")
	}
}
