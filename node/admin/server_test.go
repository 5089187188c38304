package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/logring"
	"bdtnode/protocols"
)

// fake is a backend. Its consensus answers when block is closed, or with an error at the end of the context.
type fake struct {
	block chan struct{}
	size  int // bytes of a field of the evidence
}

func (f *fake) Head() Head     { return Head{Schema: Schema, Shard: 1, Replica: 2, Errors: []PartError{}} }
func (f *fake) Version() Build { return Build{Head: f.Head(), Version: "v"} }

func (f *fake) Consensus(ctx context.Context) Consensus {
	c := Consensus{Head: f.Head()}
	select {
	case <-f.block:
	case <-ctx.Done():
		c.Errors = append(c.Errors, PartError{"engine", ctx.Err().Error()})
	}
	return c
}

func (f *fake) Lanes(context.Context) Lanes           { return Lanes{Head: f.Head()} }
func (f *fake) Settlement(context.Context) Settlement { return Settlement{Head: f.Head()} }
func (f *fake) Peers(context.Context) Peers           { return Peers{Head: f.Head()} }

func (f *fake) Evidence(_ context.Context, proof int) (Evidence, error) {
	if proof == 9 {
		return Evidence{}, fmt.Errorf("shard 9: %w", ErrNotFound)
	}
	return Evidence{Head: f.Head(), Frozen: []Frozen{{Encoded: strings.Repeat("a", f.size)}}}, nil
}

func (f *fake) Ping(_ context.Context, shard uint16, to protocols.Index) (Ping, error) {
	return Ping{Head: f.Head(), To: fmt.Sprintf("%d/%d", shard, to), RTTMicros: 5}, nil
}

func (f *fake) Why(_ context.Context, id ledger.TxID) (Why, error) {
	return Why{Head: f.Head(), Tx: id}, nil
}

func (f *fake) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "bdt_height 5") })
}

// serve runs a server on a socket of a new home and returns its client.
func serve(t *testing.T, f *fake, logs *logring.Ring) (*Server, *Client) {
	t.Helper()
	home := shortHome(t)
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := New(f, logs)
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := Dial(home); !errors.Is(err, ErrNoSocket) {
			t.Errorf("a socket after the end: %v", err)
		}
	})
	c, err := Dial(home)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestAnswers: each path answers, with its parameters, and errors have their status.
func TestAnswers(t *testing.T) {
	_, c := serve(t, &fake{block: closed()}, logring.New(1000))
	ctx := t.Context()
	var v Consensus
	if err := c.Get(ctx, "/v1/consensus", &v); err != nil || v.Schema != Schema || v.Shard != 1 || v.Replica != 2 {
		t.Errorf("%+v %v", v, err)
	}
	for _, path := range []string{"/v1/version", "/v1/lanes", "/v1/settlement", "/v1/evidence", "/v1/evidence?proof=3", "/v1/peers", "/v1/log/levels"} {
		if err := c.Get(ctx, path, &struct{}{}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	var p Ping
	if err := c.Post(ctx, "/v1/peers/3/4/ping", nil, &p); err != nil || p.To != "3/4" {
		t.Errorf("%+v %v", p, err)
	}
	id := ledger.TxID(digest.Of("tx"))
	var w Why
	if err := c.Get(ctx, "/v1/why/"+id.String(), &w); err != nil || w.Tx != id {
		t.Errorf("%+v %v", w, err)
	}
	var metrics bytes.Buffer
	if err := c.Stream(ctx, "/v1/metrics", &metrics, 1000); err != nil || metrics.String() != "bdt_height 5\n" {
		t.Errorf("%q %v", metrics.String(), err)
	}
	if err := c.Stream(ctx, "/v1/metrics", io.Discard, 5); err == nil {
		t.Error("an answer of more bytes than asked for has no error")
	}
	for path, status := range map[string]int{
		"/v1/nothing": 404, "/": 404, "/v1/why/12": 422, "/v1/evidence?proof=x": 422, "/v1/evidence?proof=9": 404,
		"/v1/log?lines=-1": 422, "/v1/profile/blocks": 404, "/v1/profile/cpu?seconds=61": 422, "/v1/profile/heap?seconds=1": 422, "/v1/profile/trace?seconds=11": 422,
	} {
		var e *StatusError
		if err := c.Get(ctx, path, &struct{}{}); !errors.As(err, &e) || e.Status != status || e.Message == "" {
			t.Errorf("%s: %v, want status %d", path, err, status)
		}
	}
}

// TestPartialAnswer: a part that does not answer in time is missing in the answer, which comes within 2 seconds.
func TestPartialAnswer(t *testing.T) {
	_, c := serve(t, &fake{block: make(chan struct{})}, logring.New(1000))
	var v Consensus
	if err := c.Get(t.Context(), "/v1/consensus", &v); err != nil || len(v.Errors) != 1 || v.Errors[0].Part != "engine" {
		t.Errorf("%+v %v", v, err)
	}
	if AnswerTime >= clientTime || clientTime > 2*time.Second {
		t.Errorf("answers take up to %v, and requests %v", AnswerTime, clientTime)
	}
}

// TestSuspendedReplica: a replica that accepts connections and does not answer is reported as unreachable.
func TestSuspendedReplica(t *testing.T) {
	home := shortHome(t)
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(home)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), "/v1/consensus", &struct{}{}); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "suspended") {
		t.Error(err)
	}
}

// TestBounds: requests and answers beyond their bounds are refused, and connections beyond theirs get an error at once
// while the others are served.
func TestBounds(t *testing.T) {
	f := &fake{block: make(chan struct{}), size: maxAnswer}
	_, c := serve(t, f, logring.New(1000))
	ctx := t.Context()
	var e *StatusError
	if err := c.Get(ctx, "/v1/evidence", &struct{}{}); !errors.As(err, &e) || e.Status != 500 || !strings.Contains(e.Message, "more than") {
		t.Errorf("large answer: %v", err)
	}
	big := SetLevel{Subsystem: strings.Repeat("x", maxBody), Level: "info"}
	if err := c.Post(ctx, "/v1/log/levels", big, &struct{}{}); !errors.As(err, &e) || e.Status != 400 {
		t.Errorf("large body: %v", err)
	}
	path, err := SocketPath(c.Home())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	go fmt.Fprintf(raw, "GET /v1/version HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	head := make([]byte, 64)
	if n, err := raw.Read(head); err != nil || !strings.Contains(string(head[:n]), " 431 ") {
		t.Errorf("large header: %q %v", head, err)
	}
	// Open connections take all places.
	var held []net.Conn
	for range maxConns {
		x, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(x, "GET /v1/consensus HTTP/1.1\r\n") // the request does not end
		held = append(held, x)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := c.Get(ctx, "/v1/version", &struct{}{})
		if errors.As(err, &e) && e.Status == 503 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("connections beyond the bound: %v", err)
		}
	}
	for _, x := range held {
		x.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); c.Get(ctx, "/v1/version", &struct{}{}) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("places of closed connections are not free")
		}
	}
}

// TestUnfinishedRequestEnds: a connection whose request does not end is closed, so it cannot keep its place.
func TestUnfinishedRequestEnds(t *testing.T) {
	_, c := serve(t, &fake{block: closed()}, logring.New(1000))
	path, err := SocketPath(c.Home())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"GET /v1/version HT", "POST /v1/log/levels HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"} {
		x, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		fmt.Fprint(x, text)
		_ = x.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(x); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection stays open", text)
		}
	}
}

// TestLogTail: a reader gets the last lines and then each new one. One that is too slow gets the number of lost lines and is
// counted.
func TestLogTail(t *testing.T) {
	logs := logring.New(100)
	s, c := serve(t, &fake{block: closed()}, logs)
	for i := range 5 {
		logs.Add(fmt.Appendf(nil, "line %d", i))
	}
	var got []string
	if err := c.Log(t.Context(), 2, false, func(l LogLine) error { got = append(got, l.Line); return nil }); err != nil || strings.Join(got, ",") != "line 3,line 4" {
		t.Errorf("%q %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := make(chan LogLine)
	ended := make(chan error)
	go func() { ended <- c.Log(ctx, 1, true, func(l LogLine) error { next <- l; return nil }) }()
	if l := <-next; l.Line != "line 4" {
		t.Errorf("%+v", l)
	}
	logs.Add([]byte("line 5"))
	if l := <-next; l.Line != "line 5" {
		t.Errorf("%+v", l)
	}
	// The reader takes nothing while much more is written than the ring and the socket hold.
	long := bytes.Repeat([]byte("x"), 90)
	lost := LogLine{}
	for deadline := time.Now().Add(20 * time.Second); lost.Lost == 0 && time.Now().Before(deadline); {
		for range 10_000 {
			logs.Add(long)
		}
		for open := true; open; {
			select {
			case l := <-next:
				if l.Lost > 0 {
					lost = l
				}
			case <-time.After(10 * time.Millisecond):
				open = false
			}
		}
	}
	if lost.Lost == 0 {
		t.Fatal("the slow reader did not get the number of lost lines")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s.dropped.Load() != 1; {
		if time.Now().After(deadline) {
			t.Fatalf("%d dropped readers", s.dropped.Load())
		}
	}
	var b Build
	if err := c.Get(t.Context(), "/v1/version", &b); err != nil || b.Dropped != 1 {
		t.Errorf("%+v %v", b, err)
	}
}

// TestLogLevels: the level of one subsystem or of all of the program changes at once; unknown names and levels are refused.
func TestLogLevels(t *testing.T) {
	one, two := golog.Logger("bdt/admin-test-1"), golog.Logger("bdt/admin-test-2")
	_, c := serve(t, &fake{block: closed()}, logring.New(1000))
	level := func(v LogLevels, name string) string {
		for _, l := range v.Levels {
			if l.Subsystem == name {
				return l.Level
			}
		}
		return ""
	}
	var v LogLevels
	ctx := t.Context()
	if err := c.Post(ctx, "/v1/log/levels", SetLevel{Level: "error"}, &v); err != nil || level(v, "bdt/admin-test-1") != "error" {
		t.Fatalf("%+v %v", v, err)
	}
	if err := c.Post(ctx, "/v1/log/levels", SetLevel{"admin-test-2", "debug"}, &v); err != nil || level(v, "bdt/admin-test-1") != "error" || level(v, "bdt/admin-test-2") != "debug" {
		t.Errorf("%+v %v", v, err)
	}
	if one.LevelEnabled(golog.LevelInfo) || !two.LevelEnabled(golog.LevelDebug) {
		t.Error("the loggers have other levels")
	}
	for in, status := range map[SetLevel]int{{"admin-test-2", "loud"}: 422, {"nothing", "info"}: 404} {
		var e *StatusError
		if err := c.Post(ctx, "/v1/log/levels", in, &v); !errors.As(err, &e) || e.Status != status {
			t.Errorf("%+v: %v", in, err)
		}
	}
}

// TestProfiles: each profile has the beginning of its format, and the number of those in progress is bounded.
func TestProfiles(t *testing.T) {
	s, c := serve(t, &fake{block: closed()}, logring.New(1000))
	for kind, want := range map[string]string{"cpu": "\x1f\x8b", "heap": "\x1f\x8b", "goroutine": "goroutine ", "trace": "go 1."} {
		var out bytes.Buffer
		seconds := 0
		if kind == "cpu" || kind == "trace" {
			seconds = 1
		}
		if err := c.Profile(t.Context(), kind, seconds, &out); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: %d bytes, begins with %q, %v", kind, out.Len(), out.Bytes()[:min(8, out.Len())], err)
		}
	}
	for range maxProfiles {
		s.profiles <- struct{}{}
	}
	var e *StatusError
	if err := c.Profile(t.Context(), "heap", 0, io.Discard); !errors.As(err, &e) || e.Status != 503 {
		t.Errorf("beyond the bound: %v", err)
	}
}

// TestLargeProfile: a profile beyond the bound of bytes is an error, and no more than the bound is kept.
func TestLargeProfile(t *testing.T) {
	b := &bounded{full: make(chan struct{})}
	part := make([]byte, 1<<20)
	var err error
	for range 100 {
		if _, err = b.Write(part); err != nil {
			break
		}
	}
	if !errors.Is(err, errFull) || b.Len() > maxProfile || !b.over {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
	b.wait(t.Context(), time.Hour) // returns at once
}
