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
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/ipfs/go-log/v2"

	"bdtnode/internal/origin"
	"bdtnode/node/loglimit"
)

var logger = log.Logger("bdt/api")

// outside writes the lines that clients cause.
var outside = loglimit.New(logger)

// Config adjusts a server. Zero values mean the defaults.
type Config struct {
	Version    string        // of the program, for the API description
	Metrics    http.Handler  // answers GET /metrics; without it there is no such path
	MaxBody    int64         // bytes of one request body; default 4 MiB
	MaxBodies  int64         // bytes of all bodies in work at a time; default 64 MiB
	MaxWaiting int           // submissions in work or waiting at a time; default 1,024
	MaxAnswers int64         // bytes of all large answers that clients are taking; default 32 MiB
	MaxConns   int           // connections at a time, for a further one another is closed; default 4,096
	BodyGrace  time.Duration // how long a body may take before BodyRate counts; default 2 s
	BodyRate   int64         // bytes a second at which a body must arrive at least; default 128 KiB
	AnswerTime time.Duration // how long a client may take to read an answer, from its first byte; default 20 s
	Grace      time.Duration // how long answers may take once Run is to end; default 5 s
}

// Bounds of a connection between and before requests.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
)

// Server is the HTTP interface of a replica. Make it with [New] and serve one listener with [Server.Run].
type Server struct {
	cfg     Config
	backend Backend
	routes  *http.ServeMux
	spec    []byte // OpenAPI 3.1, JSON
	intake  *intake
	outlet  *outlet
	audits  auditor
	broken  chan error // the first panic of the backend
}

// New prepares a server and starts nothing.
func New(cfg Config, b Backend) *Server {
	setDefault(&cfg.MaxBody, 4<<20)
	setDefault(&cfg.MaxBodies, 64<<20)
	setDefault(&cfg.MaxAnswers, 32<<20)
	setDefault(&cfg.MaxWaiting, 1024)
	setDefault(&cfg.MaxConns, 4096)
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
	}
	// The library's own description, documentation and schema paths stay off: its description is built on first
	// use without a lock, and its documentation page loads scripts from elsewhere.
	h := huma.DefaultConfig("bdtnode", cfg.Version)
	h.Info.Description = "A replica of a shard: submit transactions, see what became of them, read the ledger."
	h.OpenAPIPath, h.DocsPath, h.SchemasPath, h.CreateHooks = "", "", "", nil
	a := humago.New(s.routes, h)
	s.register(a)
	spec, err := json.Marshal(a.OpenAPI())
	if err != nil {
		panic(fmt.Sprintf("the API description does not marshal: %v", err))
	}
	s.spec = spec
	s.routes.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(s.spec) // a client that left is no concern
	})
	if cfg.Metrics != nil {
		s.routes.Handle("GET /metrics", cfg.Metrics)
	}
	return s
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// ServeHTTP answers one request. It is what [Server.Run] serves.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &outgoing{ResponseWriter: w, limit: s.cfg.AnswerTime, outlet: s.outlet, client: origin.Of(r.RemoteAddr)}
	defer out.giveBack()
	s.serve(out, r)
	out.end()
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 {
		// No route but that of submissions reads a body. Without a deadline the server would wait for ever for the rest
		// of one that was not read, before it answers.
		_ = setDeadline(http.NewResponseController(w).SetReadDeadline, time.Now().Add(s.cfg.BodyGrace))
		if r.Method != http.MethodPost {
			// Closing at once would only have the client connect again at once. Meanwhile the place is anybody's.
			if c, ok := r.Context().Value(connKey{}).(*conn); ok {
				c.conns.changed(c, http.StateIdle)
			}
			write(w, problem(http.StatusBadRequest, fmt.Sprintf("a %s request has no body here", r.Method)))
			return
		}
	}
	if _, pattern := s.routes.Handler(r); pattern != "" {
		s.routes.ServeHTTP(w, r)
		return
	}
	// The mux knows whether the path or only the method is wrong, but says so in plain text.
	m := miss{header: http.Header{}}
	s.routes.ServeHTTP(&m, r)
	p := problem(http.StatusNotFound, fmt.Sprintf("there is no %s here, see /openapi.json", r.URL.Path))
	if allow := m.header.Get("Allow"); m.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		p = problem(m.status, fmt.Sprintf("%s does not take %s, use %s", r.URL.Path, r.Method, allow))
	}
	write(w, p)
}

// write answers with a problem.
func write(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that left is no concern
}

// miss takes the mux's answer to a request that no route takes.
type miss struct {
	header http.Header
	status int
}

func (m *miss) Header() http.Header         { return m.header }
func (m *miss) Write(b []byte) (int, error) { return len(b), nil }
func (m *miss) WriteHeader(status int)      { m.status = status }

// Run serves l, which it closes, until the context ends: then waiting submissions are answered with what is known,
// and Run returns nil once all answers are out or the grace is over. It returns an error if the listener fails, or
// if the backend panicked: a broken invariant, after which the node must stop.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	requests, cancel := context.WithCancel(ctx)
	defer cancel()
	open := newConns(l, s.cfg.MaxConns)
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
		_ = srv.Close() // what remains of a server that already failed
		return fmt.Errorf("serve the API at %s: %w", l.Addr(), err)
	}
	cancel()
	grace, done := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer done()
	if err := srv.Shutdown(grace); err != nil {
		logger.Warnf("closing connections whose answers took longer than %v: %v", s.cfg.Grace, err)
		_ = srv.Close() // the listener is closed already, connections cannot fail usefully
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) && failure == nil {
		failure = fmt.Errorf("serve the API at %s: %w", l.Addr(), err)
	}
	return failure
}

// serverLog passes what net/http has to say about single connections on, quietly: all of it is clients' doing.
type serverLog struct{}

func (serverLog) Write(b []byte) (int, error) {
	outside.Debugw("HTTP connection failed", "client", "error", strings.TrimSpace(string(b)))
	return len(b), nil
}

// stopOnPanic is deferred around the backend: its panic is a broken invariant and ends Run, while this request gets
// an error. Panics of the HTTP libraries, which a peer may provoke, only end their connection.
func (s *Server) stopOnPanic(err *error) {
	v := recover()
	if v == nil {
		return
	}
	logger.Errorf("panic while answering: %v\n%s", v, debug.Stack())
	select {
	case s.broken <- fmt.Errorf("panic while answering a request: %v", v):
	default: // the first one stops the node
	}
	*err = problem(http.StatusInternalServerError, "the replica found itself inconsistent and stops, see its log")
}
