package registry

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reasons why etcd refuses us, or we etcd, as the metrics have them. They last
// until somebody changes something, so attempts become rare.
const (
	refusedPassword    = "password"    // the user's name or password is wrong
	refusedToken       = "token"       // what a login gave isn't valid, or not any more
	refusedUser        = "user"        // etcd wants a user, and none is configured
	refusedPermission  = "permission"  // the user has no role for that
	refusedCertificate = "certificate" // theirs isn't accepted, or ours isn't
)

// refusedError is a refusal that was found before a call reached etcd.
type refusedError struct {
	reason string
	// where is the endpoint.
	where string
	err   error
}

// Error returns one line.
func (e *refusedError) Error() string {
	if e.where != "" {
		return e.where + ": " + e.err.Error()
	}
	return e.err.Error()
}

// Unwrap returns what is behind it.
func (e *refusedError) Unwrap() error { return e.err }

// reasonOf returns why a call was refused, or nothing if it wasn't.
func reasonOf(err error) string {
	var refused *refusedError
	if errors.As(err, &refused) {
		return refused.reason
	}
	said := rpctypes.Error(err)
	is := func(known ...error) bool {
		return slices.ContainsFunc(known, func(e error) bool { return errors.Is(said, e) })
	}
	switch {
	case err == nil:
		return ""
	case is(rpctypes.ErrAuthFailed):
		return refusedPassword
	case is(rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision), status.Code(err) == codes.Unauthenticated:
		return refusedToken
	case is(rpctypes.ErrUserEmpty):
		return refusedUser
	case is(rpctypes.ErrPermissionDenied, rpctypes.ErrPermissionNotGranted):
		return refusedPermission
	}
	return ""
}

// refusals counts what is refused, and what still is.
type refusals struct {
	rack string
	mu   sync.Mutex
	// now has for each reason what is refused for it.
	now map[string]map[string]bool
}

func newRefusals(rack string) *refusals {
	// There from the start: an alert on a series that isn't never fires.
	for _, reason := range []string{refusedPassword, refusedToken, refusedUser, refusedPermission, refusedCertificate} {
		refusalsTotal.WithLabelValues(rack, reason)
		refusedNow.WithLabelValues(rack, reason)
	}
	return &refusals{rack: rack, now: map[string]map[string]bool{}}
}

func (r *refusals) note(reason, what string) {
	refusalsTotal.WithLabelValues(r.rack, reason).Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.now[reason]) == 0 {
		r.now[reason] = map[string]bool{}
		refusedNow.WithLabelValues(r.rack, reason).Inc()
	}
	r.now[reason][what] = true
}

func (r *refusals) over(reason, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.now[reason][what] {
		return
	}
	if delete(r.now[reason], what); len(r.now[reason]) == 0 {
		refusedNow.WithLabelValues(r.rack, reason).Dec()
	}
}

// end forgets what is refused to a client that ends.
func (r *refusals) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, what := range r.now {
		if len(what) > 0 {
			refusedNow.WithLabelValues(r.rack, reason).Dec()
		}
	}
	clear(r.now)
}

// An attempt that was refused is repeated after firstHold, and then after twice
// as long each time, up to maxHold: each one costs etcd something (a login
// hashes a password), and a 1,000 nodes make them.
const (
	firstHold = time.Second
	maxHold   = time.Minute
)

// holdOff keeps an attempt that was refused from being repeated, until its time
// has come or a file that it is made with has changed.
type holdOff struct {
	mu    sync.Mutex
	err   error
	until time.Time
	wait  time.Duration
	files stamp
}

// holds returns the refusal that is still to be taken for an answer.
func (h *holdOff) holds(files stamp) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || !time.Now().Before(h.until) || !h.files.same(files) {
		return nil
	}
	return h.err
}

// last returns the refusal that was the last that is known of the attempt.
func (h *holdOff) last() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// refuse notes that an attempt made with the files was refused.
func (h *holdOff) refuse(err error, files stamp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wait == 0 || !h.files.same(files) {
		h.wait = firstHold
	} else {
		h.wait = min(2*h.wait, maxHold)
	}
	h.err, h.files, h.until = err, files, time.Now().Add(h.wait)
}

// lift notes that an attempt went well.
func (h *holdOff) lift() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.wait = nil, 0
}

// stamp is by what a change of files is noticed: their inode, size and time.
// Symbolic links are followed, since that is how certificates are often swapped.
type stamp []fs.FileInfo

func stampOf(files ...string) stamp {
	s := make(stamp, len(files))
	for n, file := range files {
		if file == "" {
			continue
		}
		if info, err := os.Stat(file); err == nil {
			s[n] = info
		}
	}
	return s
}

func (s stamp) same(o stamp) bool {
	return slices.EqualFunc(s, o, func(a, b fs.FileInfo) bool {
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
}

// maxDenied bounds the wait for a permission. To ask for it costs little, and
// nothing here tells that it was given.
const maxDenied = 10 * time.Second

// Patience returns how long to wait after err, where wait would do for a
// trouble that passes by itself. A refusal doesn't: the longer it lasts already,
// since that time or not at all if it is zero, the longer.
func Patience(err error, since time.Time, wait time.Duration) time.Duration {
	switch reasonOf(err) {
	case refusedPermission, refusedUser, refusedToken:
		lasted := time.Duration(0)
		if !since.IsZero() {
			lasted = time.Since(since)
		}
		return max(wait, min(max(lasted/4, firstHold), maxDenied))
	}
	// Those with files to look at hold off by themselves, and look at them.
	return wait
}
