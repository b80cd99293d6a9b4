package httpguard

import (
	"net/http"
	"time"
)

// How long a client may take, and what it may send before its request is known.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 10 * time.Second
	writeTimeout  = 10 * time.Second
	// idleTimeout is longer than monitors wait from one request to the next.
	idleTimeout    = 75 * time.Second
	maxHeaderBytes = 16 << 10
)

// NewServer returns a server of a guarded handler whose clients can't hold it up.
// How many they are is for its listener to bound.
func NewServer(hosts *Hosts, next http.Handler) *http.Server {
	return &http.Server{
		Handler:           Handler(hosts, next),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}
