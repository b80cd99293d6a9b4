package timer

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when a timer is due: five fields of cron, in UTC.
type Schedule struct{ times cron.Schedule }

// Parse reads a schedule of five fields: minute, hour, day, month, weekday.
func Parse(s string) (Schedule, error) {
	times, err := cron.ParseStandard(s)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", s, err)
	}
	return Schedule{times}, nil
}

// Due reports whether a full minute is one of the schedule's.
func (s Schedule) Due(minute time.Time) bool {
	minute = minute.UTC().Truncate(time.Minute)
	return s.times.Next(minute.Add(-time.Second)).Equal(minute)
}

// Next returns the first time after t, in UTC; the zero time if there is none, as
// of February 30.
func (s Schedule) Next(t time.Time) time.Time { return s.times.Next(t.UTC()) }
