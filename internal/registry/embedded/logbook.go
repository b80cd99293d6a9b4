package embedded

import (
	"log/slog"
	"time"
)

// settling is how long an entry of etcd's log is held back: what comes right
// before its end is told by the line about that.
const settling = 300 * time.Millisecond

// untold are entries that need nobody's attention: etcd tries to set the
// version of a new member's storage before there is any, and then again.
var untold = map[string]bool{"failed to update storage version": true}

// logbook passes on what etcd has to say while it runs. What it says of its own
// start, which may fail again and again, is the start's error.
type logbook struct {
	log     *slog.Logger
	entries chan entry
	// told says when an entry was passed on last, which may come for ever.
	told map[string]time.Time
}

// run ends when entries are closed.
func (b *logbook) run(ready <-chan struct{}) {
	var pending []entry
	var due <-chan time.Time
	for {
		select {
		case e, more := <-b.entries:
			if !more {
				return
			}
			select {
			case <-ready:
			default:
				continue
			}
			pending = append(pending, e)
			if due == nil {
				due = time.After(settling)
			}
		case <-due:
			for _, e := range pending {
				b.tell(e)
			}
			pending, due = nil, nil
		}
	}
}

func (b *logbook) tell(e entry) {
	const most = 100
	if untold[e.Message] || time.Since(b.told[e.Message]) < reminder {
		return
	}
	if b.told == nil || len(b.told) >= most {
		b.told = map[string]time.Time{}
	}
	b.told[e.Message] = time.Now()
	b.log.Warn("etcd: " + e.String())
}
