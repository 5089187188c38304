package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/api/apitest"
)

// streamed is a part of a stream of events: an id, and an event if there is one.
type streamed struct {
	id    string
	event api.Event
}

// follow opens a stream. next returns its next part.
func follow(t *testing.T, url string) (resp *http.Response, next func() (streamed, error)) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return resp, func() (s streamed, err error) {
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				s.id = value
			case "data":
				err = errors.Join(err, json.Unmarshal([]byte(value), &s.event))
			case "":
				return s, err
			}
		}
		return s, errors.Join(errors.New("the stream ended"), lines.Err())
	}
}

func blocks(from, to uint64) (out []api.Event) {
	for h := from; h <= to; h++ {
		out = append(out, api.Event{Kind: api.EventBlock, Height: h, Block: &api.BlockEvent{}})
	}
	return out
}

func TestEventsAreStreamed(t *testing.T) {
	var asked api.EventQuery
	s := serve(t, api.Config{EventPause: 20 * time.Millisecond}, &fake{events: func(q api.EventQuery) (api.EventStream, error) {
		asked = q
		return apitest.Listed(q, blocks(1, 3)...), nil
	}})
	resp, next := follow(t, s.URL+"/v1/events?from=1&kinds=block,verdict")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != api.EventsType || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	for i, want := range []struct {
		id   string
		kind api.EventKind
	}{{"0/1", ""}, {"0/2.0", api.EventBlock}, {"0/3.0", api.EventBlock}, {"0/3.0", ""}} { // the last one after a pause
		got, err := next()
		if err != nil || got.id != want.id || got.event.Kind != want.kind || want.kind != "" && got.event.Cursor != want.id {
			t.Errorf("part %d: %+v, %v; want %+v", i, got, err, want)
		}
	}
	if !asked.Follow || asked.From.Height != 1 || asked.From.Index != api.Whole || !slices.Equal(asked.Kinds, []api.EventKind{api.EventBlock, api.EventVerdict}) {
		t.Errorf("asked for %+v", asked)
	}

	_, next = follow(t, s.URL+"/v1/events?from=2&follow=false")
	for _, want := range []api.EventKind{"", api.EventBlock, api.EventEnd} {
		if got, err := next(); err != nil || got.event.Kind != want {
			t.Errorf("%+v, %v, want %q", got, err, want)
		} else if want == api.EventEnd && (got.event.End.Reason != api.EndTip || got.event.Cursor != "0/3.0") {
			t.Errorf("end %+v", got.event)
		}
	}
	if _, err := next(); err == nil {
		t.Error("the stream continues after its end")
	}
	if len(asked.Kinds) != 5 || slices.Contains(asked.Kinds, api.EventCommit) || slices.Contains(asked.Kinds, api.EventTransaction) {
		t.Errorf("kinds by default: %v", asked.Kinds)
	}
	follow(t, s.URL+"/v1/events?follow=false&account="+someAddr.String()+","+ledger.Address{9}.String())
	if asked.From != nil || len(asked.Accounts) != 2 || !slices.Equal(asked.Kinds, []api.EventKind{api.EventTransaction}) {
		t.Errorf("asked for %+v", asked)
	}
}

// TestLastEventID: the header of a browser that connects again takes precedence.
func TestLastEventID(t *testing.T) {
	var asked api.EventQuery
	s := serve(t, api.Config{}, &fake{events: func(q api.EventQuery) (api.EventStream, error) {
		asked = q
		return apitest.Listed(q), nil
	}})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/events?from=1&follow=false", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "0/77.5")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || *asked.From != (api.Cursor{Height: 77, Index: 5}) {
		t.Errorf("%d, asked for %+v", resp.StatusCode, asked.From)
	}
}

func TestEventErrors(t *testing.T) {
	many := strings.Repeat(someAddr.String()+",", 16) + someAddr.String()
	s := serve(t, api.Config{}, &fake{status: api.Status{Shard: 2}, events: func(q api.EventQuery) (api.EventStream, error) {
		if len(q.Accounts) > 0 {
			return nil, fmt.Errorf("%w: account in shard 1", api.ErrBadQuery)
		}
		return apitest.Listed(q), nil
	}})
	for query, words := range map[string]string{
		"from=x":                       "not a cursor",
		"from=1/2":                     "ask a replica of shard 1",
		"from=2/":                      "not a cursor",
		"from=-1":                      "not a cursor",
		"from=%2B1":                    "not a cursor",
		"from=1.":                      "not a cursor",
		"from=1.4294967295":            "not a cursor",
		"from=9223372036854775808":     "not a cursor",
		"from=1.2.3":                   "not a cursor",
		"kinds=block,foo":              "foo",
		"kinds=gap":                    "gap",
		"kinds=transaction":            "needs an account",
		"kinds=block&account=12":       "not an address",
		"account=" + many:              "account",
		"follow=maybe":                 "follow",
		"account=" + someAddr.String(): "account in shard 1",
		"kinds=block&account=" + someAddr.String(): "not among the kinds",
	} {
		t.Run(query[:min(len(query), 40)], func(t *testing.T) {
			wantProblem(t, do(t, "GET", s.URL+"/v1/events?"+query, "", ""), 422, words)
		})
	}
}

// TestReadersAreBounded: one address cannot take all places of readers, a place is free again when its reader leaves,
// and a reader without a place gets the time to try again.
func TestReadersAreBounded(t *testing.T) {
	s := serve(t, api.Config{MaxReaders: 8}, &fake{events: func(q api.EventQuery) (api.EventStream, error) { return apitest.Listed(q), nil }})
	var open []*http.Response
	for range 8 {
		resp, next := follow(t, s.URL+"/v1/events")
		if resp.StatusCode != http.StatusOK {
			break
		}
		if _, err := next(); err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	if len(open) != 6 {
		t.Errorf("one address has %d of 8 places, want 6", len(open))
	}
	a := do(t, "GET", s.URL+"/v1/events", "", "")
	wantProblem(t, a, 503, "too many readers")
	if a.problem.RetryMS == 0 || a.header.Get("Retry-After") == "" {
		t.Errorf("no time to try again: %+v", a.problem)
	}
	for _, resp := range open {
		resp.Body.Close()
	}
	for i := 0; ; i++ {
		a := do(t, "GET", s.URL+"/v1/events?follow=false", "", "")
		if a.status == http.StatusOK {
			break
		}
		if i == 500 {
			t.Fatal("no place is free after the readers have left")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// flood is a stream without end.
type flood struct {
	place api.Cursor
	page  []byte
}

func (f *flood) At() api.Cursor { return f.place }
func (f *flood) Close()         {}
func (f *flood) Next(ctx context.Context) ([]byte, error) {
	f.place.Height++
	return f.page, ctx.Err()
}

// pipes is a listener of connections in memory, whose clock is that of the test.
type pipes chan net.Conn

func (l pipes) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return pipeEnd{c}, nil
}
func (l pipes) Close() error { close(l); return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// pipeEnd is the server's end of a connection.
type pipeEnd struct{ net.Conn }

func (pipeEnd) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// TestSlowReaders: a reader that takes nothing is disconnected. One that takes too little gets the end of its stream with
// the reason and the cursor. Both free their places. Its clock is virtual: the second reader takes a part in more than half
// of the time that it has, and in less than all of it.
func TestSlowReaders(t *testing.T) { synctest.Test(t, readSlowly) }

func readSlowly(t *testing.T) {
	page := api.EncodeEvent(&api.Event{Kind: api.EventBlock, Block: &api.BlockEvent{HeaderDigest: strings.Repeat("x", 256<<10)}})
	f := &fake{events: func(api.EventQuery) (api.EventStream, error) { return &flood{page: page}, nil }}
	ctx, stop := context.WithCancel(t.Context())
	l, done := make(pipes), make(chan error, 1)
	go func() { done <- api.New(api.Config{MaxReaders: 1, EventTime: 2 * time.Second}, f).Run(ctx, l) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	open := func() net.Conn {
		for {
			c, end := net.Pipe()
			l <- end
			fmt.Fprintf(c, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
			status := make([]byte, 15)
			if _, err := io.ReadFull(c, status); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(status, []byte("200")) {
				return c
			}
			c.Close() // the place is not free yet
			time.Sleep(10 * time.Millisecond)
		}
	}
	c := open() // takes nothing more
	defer c.Close()
	slow := open() // so the first one has lost its place
	defer slow.Close()
	var tail []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := slow.Read(buf)
		tail = append(tail, buf[:n]...)
		tail = tail[max(0, len(tail)-4096):]
		if err != nil {
			break
		}
		if !bytes.Contains(tail, []byte(`"reason":"slow"`)) {
			time.Sleep(90 * time.Millisecond)
		}
	}
	if !bytes.Contains(tail, []byte(`"reason":"slow"`)) || !bytes.Contains(tail, []byte("event: end")) {
		t.Errorf("no reason at the end of the stream: %q", tail[max(0, len(tail)-400):])
	}
}

// paged is a stream of pages.
type paged chan []byte

func (paged) At() api.Cursor { return api.Cursor{} }
func (paged) Close()         {}
func (p paged) Next(ctx context.Context) ([]byte, error) {
	select {
	case page := <-p:
		return page, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// countedWrites is a listener that counts the writes of its connections.
type countedWrites struct {
	net.Listener
	n atomic.Int64
}

func (l *countedWrites) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &countedConn{c, &l.n}, err
}

type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(b)
}

// TestAPageIsOneWrite: a page of events of any size costs one write to the connection of a reader.
func TestAPageIsOneWrite(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, pages := &countedWrites{Listener: raw}, make(paged)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- api.New(api.Config{}, &fake{events: func(api.EventQuery) (api.EventStream, error) { return pages, nil }}).Run(ctx, l)
	}()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	resp, next := follow(t, "http://"+raw.Addr().String()+"/v1/events")
	if _, err := next(); err != nil || len(resp.TransferEncoding) > 0 {
		t.Fatalf("%v, %q", err, resp.TransferEncoding)
	}
	event := api.EncodeEvent(&api.Event{Kind: api.EventBlock, Block: &api.BlockEvent{}})
	sizes := []int{1, 7, 8, 16, 20, 100, 300, 1, 300}
	before := l.n.Load()
	for _, events := range sizes {
		pages <- bytes.Repeat(event, events)
		for range events {
			if got, err := next(); err != nil || got.event.Kind != api.EventBlock {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	}
	if n := l.n.Load() - before; n != int64(len(sizes)) {
		t.Errorf("%d writes of %d pages", n, len(sizes))
	}
	cancel()
	if got, err := next(); err != nil || got.event.End == nil || got.event.End.Reason != api.EndStopping {
		t.Errorf("%+v, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestStoppingEndsStreams: a replica that stops ends its streams with the reason.
func TestStoppingEndsStreams(t *testing.T) {
	url, stop, done := run(t, api.Config{}, &fake{events: func(q api.EventQuery) (api.EventStream, error) { return apitest.Listed(q), nil }})
	_, next := follow(t, url+"/v1/events")
	if _, err := next(); err != nil {
		t.Fatal(err)
	}
	stop()
	if got, err := next(); err != nil || got.event.End == nil || got.event.End.Reason != api.EndStopping {
		t.Errorf("%+v, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestUnreadableEvents: an error of the store ends the stream, and its text is not sent.
func TestUnreadableEvents(t *testing.T) {
	s := serve(t, api.Config{}, &fake{events: func(api.EventQuery) (api.EventStream, error) { return broken{}, nil }})
	a := do(t, "GET", s.URL+"/v1/events", "", "")
	if !strings.Contains(string(a.body), `"reason":"failed"`) || strings.Contains(string(a.body), "secret") {
		t.Errorf("%s", a.body)
	}
}

type broken struct{}

func (broken) At() api.Cursor                       { return api.Cursor{} }
func (broken) Next(context.Context) ([]byte, error) { return nil, errors.New("secret path /x") }
func (broken) Close()                               {}

func TestCursorText(t *testing.T) {
	for text, want := range map[string]api.Cursor{
		"0": {0, api.Whole}, "12": {12, api.Whole}, "3/12": {12, api.Whole}, "12.67": {12, 67}, "3/12.0": {12, 0}, "012": {12, api.Whole},
	} {
		got, err := api.ParseCursor(text, 3)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := api.ParseCursor(got.Text(3), 3); err != nil || again != got {
			t.Errorf("%s: text %s", text, got.Text(3))
		}
	}
}

// TestReceiptsAreEncodedAsOthers: the encoding of an event is its JSON as the library makes it, also of a receipt, which is
// encoded without the library.
func TestReceiptsAreEncodedAsOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]api.EventKind{api.EventVerdict, api.EventSettlement, api.EventBlock}).Draw(t, "kind")
		words := rapid.SampledFrom([]string{"", "settled", "book_full", "two words", `"quoted"`, "<b>", "é"})
		r := &api.ReceiptEvent{
			Tx: ledger.TxID(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "tx")), Position: rapid.Uint32().Draw(t, "position"),
			Result: words.Draw(t, "result"), Reason: words.Draw(t, "reason"),
		}
		e := &api.Event{Kind: kind, Shard: rapid.Uint16().Draw(t, "shard"), Height: rapid.Uint64().Draw(t, "height"), TimeMS: rapid.Uint64().Draw(t, "time")}
		e.Cursor = api.Cursor{Height: e.Height, Index: rapid.Uint32().Draw(t, "index")}.Text(e.Shard)
		switch rapid.IntRange(0, 4).Draw(t, "object") {
		case 0: // an event without its object
		case 1:
			e.Verdict, e.Settlement = r, r
			e.Kind = api.EventBlock
		default:
			switch kind {
			case api.EventVerdict:
				e.Verdict = r
			case api.EventSettlement:
				e.Settlement = r
			default:
				e.Block = &api.BlockEvent{HeaderDigest: r.Result}
			}
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(api.EncodeEvent(e)), fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", e.Cursor, e.Kind, data); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	})
}

func BenchmarkEncodeReceipt(b *testing.B) {
	e := &api.Event{Kind: api.EventSettlement, Cursor: "0/1872.67", Height: 1872, TimeMS: 1795829483332, Settlement: &api.ReceiptEvent{Result: "settled"}}
	b.ReportAllocs()
	for b.Loop() {
		api.EncodeEvent(e)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("3/12.67")
	f.Add("12")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := api.ParseCursor(text, 3)
		if err != nil {
			return
		}
		if again, err := api.ParseCursor(c.Text(3), 3); err != nil || again != c {
			t.Errorf("%q: %+v, and as text %q %+v, %v", text, c, c.Text(3), again, err)
		}
	})
}

// FuzzParseLogName: a name of a place that is accepted is a place, whose own name leads to it again.
func FuzzParseLogName(f *testing.F) {
	f.Add("12.0.3")
	f.Add("12")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := api.ParseLogName(text)
		if err != nil {
			return
		}
		if again, err := api.ParseLogName(api.LogName(p)); err != nil || again != p {
			t.Errorf("%q: %+v, and as text %q %+v, %v", text, p, api.LogName(p), again, err)
		}
	})
}
