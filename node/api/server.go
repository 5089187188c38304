package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/ipfs/go-log/v2"

	"bdtnode/internal/origin"
	"bdtnode/node/loglimit"
)

var logger = log.Logger("bdt/api")

// outside writes log lines that clients can cause, so their number is bounded.
var outside = loglimit.New(logger)

// Config configures a server. Zero values mean the defaults.
type Config struct {
	Version    string        // program version for the API description
	Log        LogBackend    // the log of a shard that orders opaque payloads; nil in a network of payments
	Metrics    http.Handler  // serves GET /metrics; without it the path does not exist
	Hosts      []string      // host names under which clients reach the replica, besides IP addresses and localhost
	Origins    []string      // origins whose web pages may use the API, such as "https://wallet.example"; none by default
	MaxBody    int64         // largest request body, in bytes; default 4 MiB
	MaxBodies  int64         // total bytes of the bodies that arrive and of the transactions that wait; default 32 MiB
	MaxWaiting int           // number of submissions in progress or waiting; default 1,024
	MaxAnswers int64         // total bytes of large answers that clients are reading; default 32 MiB
	MaxConns   int           // number of connections, beyond which an old one is closed for a new one; default 4,096
	BodyGrace  time.Duration // time for a body before BodyRate applies; default 2 s
	BodyRate   int64         // least rate at which a body must arrive, bytes a second; default 128 KiB
	MaxReaders int           // number of streams of events; default 512, at most half of MaxConns
	LogReaders int           // number of streams of the log, each with up to 1 MiB in memory; default 64, at most half of MaxConns
	EventTime  time.Duration // time for a reader to take a part of a stream of events; default 20 s
	EventPause time.Duration // time without an event after which a reader gets its cursor; default 15 s
	AnswerTime time.Duration // time for a client to read an answer, from its first byte; default 20 s
	Grace      time.Duration // time for answers in progress after the context of Run ends; default 5 s
}

// Bounds of a connection between requests and before the first.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
)

// Server is the HTTP API of a replica. Create it with [New] and serve one listener with [Server.Run].
type Server struct {
	cfg     Config
	backend Backend
	routes  *http.ServeMux
	spec    []byte                          // OpenAPI 3.1, JSON
	params  map[string]map[string]paramKind // by pattern of the mux and name: the query parameters of each route
	intake  *intake
	outlet  *outlet
	readers *outlet // places of readers of events

	logReaders *outlet // places of readers of the log
	audits     auditor
	broken     chan error            // the first panic of the backend
	open       atomic.Pointer[conns] // of Run
}

// New creates a server and starts nothing.
func New(cfg Config, b Backend) *Server {
	setDefault(&cfg.MaxBody, 4<<20)
	setDefault(&cfg.MaxBodies, 32<<20)
	setDefault(&cfg.MaxAnswers, 32<<20)
	setDefault(&cfg.MaxWaiting, 1024)
	setDefault(&cfg.MaxConns, 4096)
	setDefault(&cfg.MaxReaders, 512)
	cfg.MaxReaders = max(1, min(cfg.MaxReaders, cfg.MaxConns/readersOfConns))
	setDefault(&cfg.LogReaders, 64)
	cfg.LogReaders = max(1, min(cfg.LogReaders, cfg.MaxConns/readersOfConns))
	setDefault(&cfg.EventTime, 20*time.Second)
	setDefault(&cfg.EventPause, 15*time.Second)
	setDefault(&cfg.BodyGrace, 2*time.Second)
	setDefault(&cfg.BodyRate, 128<<10)
	setDefault(&cfg.AnswerTime, 20*time.Second)
	setDefault(&cfg.Grace, 5*time.Second)
	if cfg.Version == "" {
		cfg.Version = "unknown"
	}
	cfg.MaxBodies = max(cfg.MaxBodies, cfg.MaxBody)
	s := &Server{
		cfg: cfg, backend: b, routes: http.NewServeMux(), broken: make(chan error, 1),
		intake: newIntake(cfg.MaxWaiting, cfg.MaxBodies, cfg.MaxBody), outlet: newOutlet(cfg.MaxAnswers),
		readers: newReaders(cfg.MaxReaders), logReaders: newReaders(cfg.LogReaders),
	}
	// The library's own description, documentation and schema paths are off: it builds its description on first use
	// without a lock, and its documentation page loads scripts from other hosts.
	h := huma.DefaultConfig("bdtnode", cfg.Version)
	h.Info.Description = "A replica of a shard: submit transactions, query their states, read the ledger."
	h.OpenAPIPath, h.DocsPath, h.SchemasPath, h.CreateHooks = "", "", "", nil
	a := humago.New(s.routes, h)
	s.register(a)
	s.raw(a, "/v1/openapi.json", "get-description", "This description", specType, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", specType)
		_, _ = w.Write(s.spec) // fails only if the client has left
	})
	if cfg.Metrics != nil {
		s.raw(a, "/metrics", "get-metrics", "Metrics in the text format of Prometheus", "text/plain", cfg.Metrics.ServeHTTP)
	}
	s.spec, s.params = describe(a.OpenAPI())
	return s
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// ServeHTTP answers one request. [Server.Run] serves this handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &outgoing{ResponseWriter: w, limit: s.cfg.AnswerTime, outlet: s.outlet, client: origin.Of(r.RemoteAddr)}
	out.conn, _ = r.Context().Value(connKey{}).(*conn)
	defer out.giveBack()
	s.serve(out, r)
	out.end()
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 {
		// Only submissions read a body. Without a deadline the server would wait without bound for the rest of an
		// unread body before it answers.
		_ = setDeadline(http.NewResponseController(w).SetReadDeadline, time.Now().Add(s.cfg.BodyGrace))
	}
	if answered := s.admitOrigin(w, r); answered {
		return
	}
	if r.ContentLength != 0 && r.Method != http.MethodPost {
		// The connection is not closed at once, because the client would reconnect at once. Until then it counts as
		// idle, so its place is available to others.
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			c.conns.changed(c, http.StateIdle)
		}
		write(w, problem(http.StatusBadRequest, fmt.Sprintf("a %s request must have no body here", r.Method)))
		return
	}
	if _, pattern := s.routes.Handler(r); pattern != "" {
		if p := checkQuery(r.URL.RawQuery, s.params[pattern]); p != nil {
			write(w, p)
			return
		}
		s.routes.ServeHTTP(w, r)
		return
	}
	// The mux distinguishes an unknown path from a wrong method, but answers in plain text.
	m := miss{header: http.Header{}}
	s.routes.ServeHTTP(&m, r)
	p := problem(http.StatusNotFound, fmt.Sprintf("no such path: %s, see /v1/openapi.json", r.URL.Path))
	if allow := m.header.Get("Allow"); m.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		p = problem(m.status, fmt.Sprintf("%s does not support %s, use %s", r.URL.Path, r.Method, allow))
	}
	write(w, p)
}

// write sends a problem as the answer.
func write(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // fails only if the client has left
}

// miss records the mux's answer to a request without a route.
type miss struct {
	header http.Header
	status int
}

func (m *miss) Header() http.Header         { return m.header }
func (m *miss) Write(b []byte) (int, error) { return len(b), nil }
func (m *miss) WriteHeader(status int)      { m.status = status }

// Run serves l, which it closes, until the context ends. Then it answers waiting submissions with the states known so
// far, and returns nil when all answers are sent or the grace is over. It returns an error if the listener fails, or if
// the backend panicked: that is a broken invariant, after which the node must stop.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	requests, cancel := context.WithCancel(ctx)
	defer cancel()
	open := newConns(l, s.cfg.MaxConns)
	s.open.Store(open)
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         open.changed,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          stdlog.New(serverLog{}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(open) }()

	var failure error
	select {
	case <-ctx.Done():
	case failure = <-s.broken:
	case err := <-served:
		_ = srv.Close() // closes what is left of a server that has failed
		return fmt.Errorf("serve the API at %s: %w", l.Addr(), err)
	}
	cancel()
	grace, done := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer done()
	if err := srv.Shutdown(grace); err != nil {
		logger.Warnw("connections closed with answers in progress", "grace", s.cfg.Grace, "error", err)
		_ = srv.Close() // the listener is closed already; errors of connections do not matter
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) && failure == nil {
		failure = fmt.Errorf("serve the API at %s: %w", l.Addr(), err)
	}
	return failure
}

// serverLog logs net/http's messages about single connections at debug level, because clients can cause all of them.
type serverLog struct{}

func (serverLog) Write(b []byte) (int, error) {
	outside.Debugw("HTTP connection failed", "client", "error", strings.TrimSpace(string(b)))
	return len(b), nil
}

// stopOnPanic is deferred around the backend. A panic of the backend is a broken invariant and ends Run; this request
// gets an error. Panics of the HTTP libraries, which a peer may be able to cause, only end their connection.
func (s *Server) stopOnPanic(err *error) {
	v := recover()
	if v == nil {
		return
	}
	logger.Errorw("panic while answering a request", "panic", v, "stack", string(debug.Stack()))
	select {
	case s.broken <- fmt.Errorf("panic while answering a request: %v", v):
	default: // only the first panic is needed to stop the node
	}
	*err = problem(http.StatusInternalServerError, "the replica detected a broken invariant and stops, see its log")
}
