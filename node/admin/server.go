package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/logring"
	"bdtnode/protocols"
)

// Bounds of the server.
const (
	maxConns       = 8
	maxHeaderBytes = 8 << 10
	maxBody        = 4 << 10
	maxAnswer      = 8 << 20 // bytes of a JSON answer
	headerTime     = 2 * time.Second
	// AnswerTime is the time in which the data of an answer is collected. Parts that take longer are missing in it.
	AnswerTime = 1500 * time.Millisecond
	writeTime  = 10 * time.Second // for the reader to take an answer, or a part of the log
	graceTime  = time.Second      // for answers in progress when the replica stops
)

// ErrNotFound is wrapped by errors about things that do not exist.
var ErrNotFound = errors.New("not found")

// Backend is the replica as the server uses it. Its methods may be called concurrently. They return within their context;
// parts that do not are listed in the answer's Errors.
type Backend interface {
	Version() Build
	Consensus(ctx context.Context) Consensus
	Lanes(ctx context.Context) Lanes
	Settlement(ctx context.Context) Settlement
	// Evidence includes the proof against a shard if proof is not negative.
	Evidence(ctx context.Context, proof int) (Evidence, error)
	Peers(ctx context.Context) Peers
	// Ping measures the round trip to a replica now. The error wraps [ErrNotFound] if there is no such replica.
	Ping(ctx context.Context, shard uint16, to protocols.Index) (Ping, error)
	Why(ctx context.Context, id ledger.TxID) (Why, error)
	Head() Head
	Metrics() http.Handler
}

// Server serves the administration interface. Create it with [New] and run it once with [Server.Run].
type Server struct {
	backend  Backend
	logs     *logring.Ring
	mux      *http.ServeMux
	profiles chan struct{} // places for profiles in progress
	tails    chan struct{} // places for readers that follow the log
	dropped  atomic.Uint64 // readers of the log that were too slow
}

// New returns a server of a replica and its log. It starts nothing.
func New(b Backend, logs *logring.Ring) *Server {
	s := &Server{backend: b, logs: logs, mux: http.NewServeMux(), profiles: make(chan struct{}, maxProfiles), tails: make(chan struct{}, maxTails)}
	s.get("GET /v1/version", func(*http.Request) (any, error) {
		v := b.Version()
		v.Readers, v.Dropped = int64(len(s.tails)), s.dropped.Load()
		return v, nil
	})
	s.get("GET /v1/consensus", func(r *http.Request) (any, error) { return b.Consensus(r.Context()), nil })
	s.get("GET /v1/lanes", func(r *http.Request) (any, error) { return b.Lanes(r.Context()), nil })
	s.get("GET /v1/settlement", func(r *http.Request) (any, error) { return b.Settlement(r.Context()), nil })
	s.get("GET /v1/evidence", s.evidence)
	s.get("GET /v1/peers", func(r *http.Request) (any, error) { return b.Peers(r.Context()), nil })
	s.get("POST /v1/peers/{shard}/{replica}/ping", s.ping)
	s.get("GET /v1/why/{id}", s.why)
	s.get("GET /v1/log/levels", func(*http.Request) (any, error) { return s.levels(), nil })
	s.get("POST /v1/log/levels", s.setLevel)
	s.mux.HandleFunc("GET /v1/log", s.log)
	s.mux.HandleFunc("GET /v1/profile/{kind}", s.profile)
	s.mux.Handle("GET /v1/metrics", b.Metrics())
	return s
}

// problem is an error with its HTTP status.
type problem struct {
	status int
	error
}

func refuse(status int, format string, args ...any) error {
	return problem{status, fmt.Errorf(format, args...)}
}

// errorBody is the body of an answer with an error.
type errorBody struct {
	Error string `json:"error"`
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var p problem
	switch {
	case errors.As(err, &p):
		status = p.status
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(errorBody{err.Error()}) // fails only if the reader has left
}

// get registers a path with a JSON answer, whose data is collected in AnswerTime.
func (s *Server) get(pattern string, answer func(r *http.Request) (any, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), AnswerTime)
		defer cancel()
		v, err := answer(r.WithContext(ctx))
		var body []byte
		if err == nil {
			body, err = json.Marshal(v)
		}
		if err == nil && len(body) > maxAnswer {
			err = fmt.Errorf("the answer has %d bytes, more than %d", len(body), maxAnswer)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // fails only if the reader has left
	})
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(AnswerTime + writeTime)) // longer answers set their own
	if err := takeBody(w, r); err != nil {
		writeError(w, err)
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		writeError(w, refuse(http.StatusNotFound, "no such path: %s %s", r.Method, r.URL.Path))
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) evidence(r *http.Request) (any, error) {
	proof := -1
	if text := r.URL.Query().Get("proof"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, refuse(http.StatusUnprocessableEntity, "proof=%q is not the number of a shard", text)
		}
		proof = int(n)
	}
	return s.backend.Evidence(r.Context(), proof)
}

func (s *Server) ping(r *http.Request) (any, error) {
	shard, err := strconv.ParseUint(r.PathValue("shard"), 10, 16)
	to, err2 := strconv.ParseUint(r.PathValue("replica"), 10, 16)
	if errors.Join(err, err2) != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%s is not a replica", r.URL.Path)
	}
	return s.backend.Ping(r.Context(), uint16(shard), protocols.Index(to))
}

func (s *Server) why(r *http.Request) (any, error) {
	id, err := ledger.ParseTxID(r.PathValue("id"))
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "not a transaction id: %w", err)
	}
	return s.backend.Why(r.Context(), id)
}

// takeBody reads the body of a request, within a deadline that it removes again: a deadline that stays on the connection
// would end long answers.
func takeBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Now().Add(headerTime)) // a connection that cannot have a deadline has ended
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return refuse(http.StatusBadRequest, "body: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	_ = out.SetReadDeadline(time.Time{})
	return nil
}

// readBody decodes a JSON body without unknown fields.
func readBody(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refuse(http.StatusBadRequest, "body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "body: bytes follow the value")
	}
	return nil
}

// Run serves a listener, which it closes, until ctx ends, which is no error.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	requests, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTime, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    stdlog.New(io.Discard, "", 0), // of single connections of the owner
	}
	srv.SetKeepAlivesEnabled(false) // a connection is one request, so idle readers hold none
	served := make(chan error, 1)
	go func() { served <- srv.Serve(&limited{Listener: l, places: make(chan struct{}, maxConns)}) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the administration socket: %w", err)
	case <-ctx.Done():
	}
	cancel()
	grace, done := context.WithTimeout(context.Background(), graceTime)
	defer done()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close() // ends connections whose reader does not read
	}
	<-served
	return nil
}

// limited accepts at most so many connections at a time. Further ones get an error at once.
type limited struct {
	net.Listener
	places chan struct{}
}

const tooMany = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
	`{"error":"too many connections to the administration socket"}` + "\n"

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &limitedConn{Conn: c, places: l.places}, nil
		default:
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // the answer fits into the socket's buffer
		_, _ = io.WriteString(c, tooMany)
		c.Close()
	}
}

type limitedConn struct {
	net.Conn
	places chan struct{}
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	if !c.closed.Swap(true) {
		<-c.places
	}
	return c.Conn.Close()
}
