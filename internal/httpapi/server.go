package httpapi

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rackdns/rackdns/internal/connlimit"
	"github.com/rackdns/rackdns/internal/httpguard"
)

// Config says what a Server serves, and to whom.
type Config struct {
	// Hosts are the names by which it may be asked.
	Hosts *httpguard.Hosts
	// Racks are those that can be asked about. The first one is meant where none
	// is named.
	Racks    []*Rack
	Families []Family
	// Tokens are those that grant rights, nil if there are none.
	Tokens *Tokens
	// Certificate has it speak TLS, nil plain HTTP.
	Certificate *Certificate
	// Connections is how many there may be, the process's share of HTTP if 0.
	Connections int
	Logger      *slog.Logger
}

// Server serves families of routes.
type Server struct {
	hosts       *httpguard.Hosts
	racks       []*Rack
	families    []Family
	tokens      *Tokens
	certificate *Certificate
	connections int
	log         *slog.Logger
	mux         *http.ServeMux
	http        *http.Server
	// loopback says that only this host can reach the listener.
	loopback bool

	streams streams
	// blocked is how many reads wait.
	blocked atomic.Int64
	closing context.Context
	close   context.CancelFunc
	done    chan struct{}
}

// New returns a server that is yet to be started. An error says which routes can't
// be told apart.
func New(cfg Config) (*Server, error) {
	s := &Server{
		hosts: cfg.Hosts, racks: cfg.Racks, families: cfg.Families, tokens: cfg.Tokens, certificate: cfg.Certificate,
		connections: cmp.Or(cfg.Connections, connlimit.OfProcess().HTTP),
		log:         cfg.Logger, mux: http.NewServeMux(), done: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.closing, s.close = context.WithCancel(context.Background())
	for _, f := range s.families {
		for _, r := range f.Routes {
			if err := s.add(f, r); err != nil {
				return nil, err
			}
		}
	}
	s.http = httpguard.NewServer(s.hosts, http.HandlerFunc(s.serve))
	s.http.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	return s, nil
}

// add registers a route; the mux panics for one that it can't tell from another.
func (s *Server) add(f Family, r Route) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("route %q of family %s: %v", r.Pattern, f.Name, why)
		}
	}()
	s.mux.Handle(r.Pattern, s.routed(f, r))
	return nil
}

// Start serves a listener until [Server.Close]. Connections are limited together.
func (s *Server) Start(ln net.Listener) {
	s.loopback = isLoopback(ln.Addr())
	if !s.loopback && s.tokens != nil && s.certificate == nil {
		s.log.Warn("tokens for HTTP cross the network in the clear: give a certificate with --http-cert and --http-key, or have a proxy do TLS", "address", ln.Addr().String())
	}
	ln = connlimit.New("http", s.connections, s.log).Listener(ln)
	go func() {
		defer close(s.done)
		var err error
		if s.certificate != nil {
			s.http.TLSConfig = s.certificate.config()
			err = s.http.ServeTLS(ln, "", "")
		} else {
			err = s.http.Serve(ln)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("HTTP is not served any more", "error", err)
		}
	}()
}

// Close ends what waits and what streams, gives other answers a second to go, and
// closes the listener.
func (s *Server) Close() {
	s.close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // whoever still reads is cut off
	}
	<-s.done
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Handler returns what is served, for tests: as if to a loopback listener or not.
func (s *Server) Handler(loopback bool) http.Handler {
	s.loopback = loopback
	return s.http.Handler
}

// serve finds the route of a request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if why := badPath(r); why != "" {
		writeError(w, http.StatusBadRequest, why)
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.noRoute(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// longestPath is longer than any of ours: names have 253 characters.
const longestPath = 2048

// badPath says what is wrong with a request's path. The mux would lead it to
// another one, and clients follow that with what they meant for this one.
func badPath(r *http.Request) string {
	p := r.URL.Path
	switch {
	case p == "" || p[0] != '/':
		return "the request has no path"
	case len(p) > longestPath:
		return fmt.Sprintf("the path is longer than %d octets", longestPath)
	case strings.Contains(p, "//"):
		return "the path has an empty segment"
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return "the path has a segment that leads elsewhere"
		}
	}
	if strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0xfffd }) {
		return "the path has characters that no name has"
	}
	return ""
}

// noRoute answers what no route is for: 404, or 405 where there is another method.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	h, _ := s.mux.Handler(r)
	n := &notes{header: http.Header{}}
	h.ServeHTTP(n, r)
	if n.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", n.header.Get("Allow"))
		writeError(w, n.status, fmt.Sprintf("%s is not for this path: %s is", Quote(r.Method), n.header.Get("Allow")))
		return
	}
	writeError(w, http.StatusNotFound, "there is no such path")
}

// notes are what a handler would have answered.
type notes struct {
	header http.Header
	status int
}

func (n *notes) Header() http.Header         { return n.header }
func (n *notes) Write(p []byte) (int, error) { return len(p), nil }
func (n *notes) WriteHeader(status int)      { n.status = status }

// routed is what the mux calls for a route.
func (s *Server) routed(f Family, route Route) http.Handler {
	refuse := f.Error
	if refuse == nil {
		refuse = writeError
	}
	count := requests.MustCurryWith(map[string]string{"family": f.Name})
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		w := &response{ResponseWriter: plain}
		defer func() { count.WithLabelValues(w.class()).Inc() }()
		err := s.answer(w, r, f, route)
		if err == nil {
			return
		}
		told, hidden := asError(err)
		// A connection that is closed meanwhile is one that had to give way, or the
		// client's own.
		gone := errors.Is(err, errGone) || errors.Is(err, net.ErrClosed) || r.Context().Err() != nil
		if hidden && !gone && !w.taken {
			s.log.Error("HTTP request failed", "route", route.Pattern, "error", err)
		}
		if w.status != 0 || gone {
			// Nobody is to take a part for the whole.
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), told.Header)
		if told.Status == http.StatusNotModified {
			w.WriteHeader(told.Status)
			return
		}
		for _, h := range []string{"ETag", "Content-Length", IndexHeader} {
			w.Header().Del(h)
		}
		if told.Status == http.StatusRequestEntityTooLarge {
			w.Header().Set("Connection", "close")
		}
		refuse(w, told.Status, told.Sentence)
	})
}

// answer checks what all routes have in common, and has the route answer.
func (s *Server) answer(w *response, r *http.Request, f Family, route Route) (err error) {
	rights, err := s.rights(r, f, route.Right)
	if err != nil {
		return err
	}
	rack, err := s.rackOf(r)
	if err != nil {
		return err
	}
	if r.ContentLength > maxBody {
		return errTooLarge
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if route.Stream {
		from := remoteAddr(r)
		if !s.streams.take(from) {
			return &Error{Status: http.StatusTooManyRequests, Sentence: fmt.Sprintf("this address has %d streams open, which is the most", mostStreams), Header: retrySoon}
		}
		defer s.streams.give(from)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.closing, cancel)()
		r = r.WithContext(ctx)
		if err := undated(w); err != nil {
			return err
		}
	}
	defer func() {
		if why := recover(); why != nil {
			if why == http.ErrAbortHandler { //nolint:errorlint // it is what the standard library compares with
				panic(why)
			}
			err = fmt.Errorf("panic: %v\n%s", why, debug.Stack())
		}
	}()
	return route.Handler(w, &Request{Request: r, Rack: rack, server: s, rights: rights, w: w})
}

// rights finds out what a client may do. The error is a 401 or a 403 if that isn't
// what the route needs.
func (s *Server) rights(r *http.Request, f Family, needed Right) (Right, error) {
	said, has := tokenOf(r)
	if !has && f.Token != nil {
		said = f.Token(r)
		has = said != ""
	}
	var granted Right
	switch rights, ok := s.tokens.rightsOf(said); {
	case needed == Public:
		return Public, nil
	case has && !ok:
		return 0, unauthorized("the token is none of this server's")
	case has:
		granted = rights
	case s.loopback:
		granted = ReadNames
	}
	switch {
	case granted.has(needed):
		return granted, nil
	case has:
		return 0, Errorf(http.StatusForbidden, "the token doesn't grant this: it has the right %s, and this needs %s", granted, needed)
	}
	return 0, unauthorized(fmt.Sprintf("this needs a token with the right %s: rackdns rack-url says which, on the server's host", needed))
}

func unauthorized(sentence string) error {
	return &Error{Status: http.StatusUnauthorized, Sentence: sentence, Header: http.Header{"Www-Authenticate": {`Basic realm="rackdns"`, `Bearer realm="rackdns"`}}}
}

// tokenOf returns the token of a request: the password of any user, or a bearer's.
func tokenOf(r *http.Request) (string, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token), true
	}
	return "", r.Header.Get("Authorization") != ""
}

// rackOf finds the rack that a request is about: by its path, else by the header
// Rack, whose part after the slash is the rack's name, else the default one. The
// error is a 404 that says which there are.
func (s *Server) rackOf(r *http.Request) (*Rack, error) {
	if len(s.racks) == 0 {
		return nil, nil
	}
	asked := r.PathValue("rack")
	if asked == "" {
		asked = r.Header.Get("Rack")
		asked = asked[strings.LastIndexByte(asked, '/')+1:]
	}
	if asked == "" {
		return s.racks[0], nil
	}
	if n := slices.IndexFunc(s.racks, func(k *Rack) bool { return strings.EqualFold(k.Name, asked) }); n >= 0 {
		return s.racks[n], nil
	}
	names := make([]string, len(s.racks))
	for n, k := range s.racks {
		names[n] = k.Name
	}
	slices.Sort(names)
	return nil, Errorf(http.StatusNotFound, "this server has no rack %s: it has %s", Quote(asked), strings.Join(names, ", "))
}

// response remembers whether anything was written.
type response struct {
	http.ResponseWriter

	status int
	// taken says that the connection is the handler's.
	taken bool
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController, which finds the rest by it.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker, for WebSockets.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.taken, w.status = true, http.StatusSwitchingProtocols
	}
	return c, rw, err
}

// class is the first digit of the status, for metrics.
func (w *response) class() string {
	if w.status == 0 {
		return "none"
	}
	return string(rune('0'+w.status/100)) + "xx"
}

var _ interface {
	http.ResponseWriter
	http.Hijacker
} = (*response)(nil)
