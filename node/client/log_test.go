package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

// logNode is a replica with a log whose blocks have one batch each: that of one request.
type logNode struct {
	node
	mu      sync.Mutex
	batches []ledger.Opaque
	full    int  // requests to be refused
	gap     bool // block 2 is missing
	cut     int  // parts after which a stream ends, 0 for none
}

func (n *logNode) Append(_ context.Context, _ string, o ledger.Opaque, wait api.Wait) (api.AppendAnswer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full > 0 {
		n.full--
		return api.AppendAnswer{}, api.ErrLogFull
	}
	n.batches = append(n.batches, o)
	return api.AppendAnswer{
		State: api.State(wait), Count: o.Len(), Accepted: o.Len(), Placed: []api.PlacedPayloads{{Count: o.Len(), Height: uint64(len(n.batches))}},
	}, nil
}

func (n *logNode) Payload(at ledger.LogPlace, _ bool) (api.LogEntries, []byte, error) {
	return api.LogEntries{}, nil, fmt.Errorf("payload %s: %w", api.LogName(at), api.ErrNotFound)
}

func (n *logNode) Log(q api.LogQuery) api.LogStream {
	s := &logNodeStream{n: n, q: q}
	if q.From != nil {
		s.at = *q.From
	}
	s.at.Height = max(s.at.Height, 1)
	return s
}

type logNodeStream struct {
	n     *logNode
	q     api.LogQuery
	at    ledger.LogPlace
	parts int
}

func (s *logNodeStream) At() ledger.LogPlace { return s.at }

func (s *logNodeStream) Next(ctx context.Context) (api.LogPart, error) {
	for {
		s.n.mu.Lock()
		have, gap, cut := len(s.n.batches), s.n.gap, s.n.cut
		s.n.mu.Unlock()
		if s.parts++; cut > 0 && s.parts > cut {
			return api.LogPart{}, errors.New("the store failed")
		}
		if at := s.at; int(at.Height) <= have {
			s.at = ledger.LogPlace{Height: at.Height + 1}
			if gap && at.Height == 2 {
				return api.LogPart{Gap: &api.LogGap{From: 2, To: 2, Reason: "lost"}}, nil
			}
			o := s.n.batches[at.Height-1]
			if at.Position > 0 {
				o = o.After(o.Part(1<<30, int(at.Position)))
			}
			return api.LogPart{Batch: &api.LogEntries{At: at, TimeMS: 5, Count: o.Len(), Raw: o.Raw()}}, nil
		}
		if !s.q.Follow {
			return api.LogPart{}, io.EOF
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return api.LogPart{}, ctx.Err()
		}
	}
}

func serveLog(t *testing.T) (*logNode, *client.Client, string) {
	t.Helper()
	n := &logNode{}
	s := httptest.NewServer(api.New(api.Config{Log: n, EventPause: 20 * time.Millisecond}, &n.node))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return n, c, s.URL
}

func payloads(t *testing.T, texts ...string) *client.Payloads {
	t.Helper()
	p := &client.Payloads{}
	for _, text := range texts {
		if err := p.Add([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func appendAll(t *testing.T, c *client.Client, texts ...string) {
	t.Helper()
	a, err := c.Append(t.Context(), payloads(t, texts...), api.WaitOrdered, time.Second)
	if err != nil || a.State != api.StateOrdered || a.Count != len(texts) {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestAppendAndRead: payloads are read as they were appended, from any place, and the cursor continues.
func TestAppendAndRead(t *testing.T) {
	_, c, _ := serveLog(t)
	appendAll(t, c, "a", "b", "c")
	p := payloads(t, "d")
	if err := p.AddWithID([32]byte{1}, []byte("e")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(t.Context(), p, api.WaitAccepted, time.Second); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	if p.Len() != 0 || p.Add([]byte("f")) != nil {
		t.Error("payloads cannot be used again")
	}
	read := func(from string) (text, cursor string) {
		t.Helper()
		cursor, err := c.ReadLog(t.Context(), client.LogQuery{From: from}, func(e client.LogEntry) error {
			text += fmt.Sprintf("%s=%s/%d ", e.Name(), e.Payload, len(e.ID))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return text, cursor
	}
	for from, want := range map[string]string{
		"0":     "1.0.0=a/0 1.0.1=b/0 1.0.2=c/0 2.0.0=d/0 2.0.1=e/32 ",
		"1.0.2": "1.0.2=c/0 2.0.0=d/0 2.0.1=e/32 ",
		"2":     "2.0.0=d/0 2.0.1=e/32 ",
		"3":     "",
	} {
		if text, cursor := read(from); text != want || cursor != "3.0.0" {
			t.Errorf("from %s: %q to %s, want %q", from, text, cursor, want)
		}
	}
	stop := errors.New("stop")
	cursor, err := c.ReadLog(t.Context(), client.LogQuery{From: "0"}, func(e client.LogEntry) error {
		if string(e.Payload) == "c" {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || cursor != "1.0.2" {
		t.Errorf("stopped at %s: %v", cursor, err)
	}
	if !client.LogBefore("1.0.9", "1.1") || client.LogBefore("2", "2.0.0") || client.LogBefore("3.0.1", "3.0.0") {
		t.Error("places are compared wrongly")
	}
}

// TestFollowLogContinues: a reader whose streams end all the time gets every payload once, in order.
func TestFollowLogContinues(t *testing.T) {
	n, c, _ := serveLog(t)
	n.cut = 3
	const count = 12
	go func() {
		for i := range count {
			time.Sleep(3 * time.Millisecond)
			var p client.Payloads
			_ = p.Add(fmt.Appendf(nil, "%d a", i)) // it has a few bytes
			_ = p.Add(fmt.Appendf(nil, "%d b", i))
			_, _ = c.Append(context.Background(), &p, api.WaitOrdered, time.Second) // counted below
		}
	}()
	done := errors.New("done")
	var got []string
	_, err := c.FollowLog(t.Context(), client.LogQuery{From: "0"}, func(e client.LogEntry) error {
		got = append(got, string(e.Payload))
		if len(got) == 2*count {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	for i, text := range got {
		if want := fmt.Sprintf("%d %c", i/2, 'a'+i%2); text != want {
			t.Fatalf("payload %d is %q, want %q", i, text, want)
		}
	}
}

// TestLogGaps: a gap is an error, or is given to a function.
func TestLogGaps(t *testing.T) {
	n, c, _ := serveLog(t)
	n.gap = true
	for _, text := range []string{"a", "b", "c"} {
		appendAll(t, c, text)
	}
	var gap *client.LogGapError
	cursor, err := c.ReadLog(t.Context(), client.LogQuery{From: "0"}, func(client.LogEntry) error { return nil })
	if !errors.As(err, &gap) || gap.From != 2 || cursor != "1.0.1" {
		t.Errorf("at %s: %v", cursor, err)
	}
	text := ""
	_, err = c.ReadLog(t.Context(), client.LogQuery{From: "0", Gap: func(g api.LogGap) error { text += fmt.Sprint("gap ", g.To, " "); return nil }}, func(e client.LogEntry) error {
		text += string(e.Payload) + " "
		return nil
	})
	if err != nil || text != "a gap 2 c " {
		t.Errorf("%q, %v", text, err)
	}
}

// TestLogRefusals: refusals name the reason and the time after which to try again, for the client package, for JSON and for
// commands of the other ledger.
func TestLogRefusals(t *testing.T) {
	n, c, url := serveLog(t)
	n.full = 1
	var p *client.ProblemError
	_, err := c.Append(t.Context(), payloads(t, "a"), api.WaitOrdered, time.Second)
	if !errors.As(err, &p) || p.Status != http.StatusTooManyRequests || p.RetryAfter == 0 || !strings.Contains(p.Detail, "too many payloads") {
		t.Errorf("full: %v", err)
	}
	big := make([]byte, 1<<20+1)
	none := &client.Payloads{}
	for name, err := range map[string]error{
		"empty": none.Add(nil), "too long": none.Add(big), "none": func() error { _, err := c.Append(t.Context(), none, api.WaitOrdered, time.Second); return err }(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := c.Submit(t.Context(), [][]byte{{1}}, api.WaitAccepted, time.Second); err == nil || !strings.Contains(err.Error(), "orders opaque payloads") {
		t.Errorf("a transaction: %v", err)
	}
	if _, err := c.Payload(t.Context(), "9.0.0", false); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("a payload: %v", err)
	}
	for body, want := range map[string]string{
		`{"payloads":[]}`:                   "0 payloads",
		`{"payloads":[""]}`:                 "empty",
		`{"payloads":["a"]}`:                "base64",
		`{"payloads":["YQ=="],"ids":["x"]}`: "64 hexadecimal",
		`{"payloads":["YQ=="],"ids":[]}`:    "0 ids for 1",
		`{"payload":["YQ=="]}`:              "not JSON of the form",
		`{"payloads":["YQ=="]} {}`:          "not JSON of the form",
	} {
		resp, err := http.Post(url+"/v1/log", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode/100 != 4 || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %s %s", body, resp.Status, raw)
		}
	}
	resp, err := http.Post(url+"/v1/log?ids=content", "application/json", strings.NewReader(`{"payloads":["YQ=="]}`))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if n.batches[0].IDs() != 1 {
		t.Error("the payload has no id of its content")
	}
}

// TestLogEvents: a stream of server-sent events has the payloads, and the place after each as its id, with which a later
// stream continues.
func TestLogEvents(t *testing.T) {
	_, c, url := serveLog(t)
	appendAll(t, c, "a", "b")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/log?follow=false", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "1.0.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	for _, want := range []string{"id: 1.0.2\nevent: payload\ndata: {\"payload\":{\"name\":\"1.0.1\"", `"payload":"Yg=="`, "event: end", `"reason":"tip"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %q in %s", want, raw)
		}
	}
	if strings.Contains(string(raw), `"name":"1.0.0"`) || resp.Header.Get("Content-Type") != api.EventsType {
		t.Errorf("%s", raw)
	}
}

// TestSlowLogReader: a reader that takes nothing is disconnected, and its place is free again. It does not delay others.
func TestSlowLogReader(t *testing.T) {
	n := &logNode{}
	s := api.New(api.Config{Log: n, EventTime: 300 * time.Millisecond, LogReaders: 4}, &n.node)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	c, err := client.New(l.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	big := &client.Payloads{}
	if err := big.Add(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := c.Append(t.Context(), big, api.WaitOrdered, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	slow, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprintf(slow, "GET /v1/log?from=0 HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", api.LogType)
	time.Sleep(900 * time.Millisecond) // it reads nothing
	count := 0
	if _, err := c.ReadLog(t.Context(), client.LogQuery{From: "0"}, func(client.LogEntry) error { count++; return nil }); err != nil || count != 40 {
		t.Errorf("another reader has %d payloads, %v", count, err)
	}
	_ = slow.SetReadDeadline(time.Now().Add(5 * time.Second))
	total, err := io.Copy(io.Discard, slow)
	if err != nil && errors.Is(err, context.DeadlineExceeded) || total >= 40<<20 {
		t.Errorf("the slow reader got %d bytes, %v", total, err)
	}
}
