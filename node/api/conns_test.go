package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"bdtnode/node/api"
)

// patience is how long a test waits for an event that must happen.
const patience = 30 * time.Second

// dial connects from a loopback address to the API at a URL.
func dial(t *testing.T, from, url string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience)) // fails for a closed connection, and then the next read fails too
	return c
}

// alive sends a request on a connection and reports whether an answer came.
func alive(c net.Conn) bool {
	fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	b := make([]byte, 4096)
	n, err := c.Read(b)
	return err == nil && strings.HasPrefix(string(b[:n]), "HTTP/1.1 200")
}

// ended waits until the other side has closed a connection.
func ended(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return err == nil || !strings.Contains(err.Error(), "timeout")
}

// When all places are taken, the address with the most connections loses its oldest idle one. Other addresses keep
// theirs, and a new connection is always served.
func TestConnectionsAreShared(t *testing.T) {
	url, stop, done := run(t, api.Config{MaxConns: 4}, &fake{})
	other := dial(t, "127.0.0.2", url)
	if !alive(other) {
		t.Fatal("no answer")
	}
	var crowd []net.Conn
	for range 8 {
		crowd = append(crowd, dial(t, "127.0.0.3", url))
	}
	if !alive(crowd[7]) {
		t.Error("the newest connection was not served")
	}
	served := 0
	for _, c := range crowd {
		if alive(c) {
			served++
		}
	}
	if served > 3 || !alive(other) {
		t.Errorf("%d connections of one address are open, want at most 3 next to the other address", served)
	}
	if !alive(dial(t, "127.0.0.4", url)) || !alive(other) {
		t.Error("another address lost its connection")
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// Connections with a pending answer are closed for a new one only if their address has more than its share.
func TestBusyConnectionsAreShared(t *testing.T) {
	f, started, release := waiting()
	url, stop, done := run(t, api.Config{MaxConns: 2}, f)
	post := "POST /v1/txs?timeout_ms=60000 HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + jsonType + "\r\nContent-Length: 14\r\n\r\n{\"txs\":[\"01\"]}"
	var busy []net.Conn
	for range 2 {
		c := dial(t, "127.0.0.2", url)
		fmt.Fprint(c, post)
		<-started
		busy = append(busy, c)
	}
	if refused := dial(t, "127.0.0.2", url); alive(refused) {
		t.Error("a third connection of the same address was served")
	}
	if !alive(dial(t, "127.0.0.3", url)) || !ended(busy[0]) {
		t.Error("an address with all connections did not lose one to another address")
	}
	close(release)
	b := make([]byte, 4096)
	if n, err := busy[1].Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 200") {
		t.Errorf("the last busy connection: %q %v", b[:n], err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A request whose route takes no body is answered without reading one, and its connection is closed.
func TestBodyOfAReadIsNotAwaited(t *testing.T) {
	s := serve(t, api.Config{BodyGrace: 100 * time.Millisecond}, &fake{})
	for _, c := range []struct{ request, status string }{
		{"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n", "400"},
		{"GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
		{"DELETE /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n", "400"},
		{"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n", "405"},
		{"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n", "404"},
	} {
		conn := dial(t, "127.0.0.1", s.URL)
		fmt.Fprint(conn, c.request)
		got, err := io.ReadAll(conn)
		if err != nil && strings.Contains(err.Error(), "timeout") || !strings.HasPrefix(string(got), "HTTP/1.1 "+c.status) {
			t.Errorf("%q: %q %v, want %s and a closed connection", c.request, got, err, c.status)
		}
	}
}

// Announced bodies that never arrive reserve no memory.
func TestAnnouncedBytesTakeNoMemory(t *testing.T) {
	s := serve(t, api.Config{MaxBody: 1 << 20, MaxBodies: 4 << 20, BodyGrace: time.Hour}, &fake{submit: settle})
	for range 100 {
		c := dial(t, "127.0.0.1", s.URL)
		fmt.Fprintf(c, "POST /v1/txs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", jsonType, 1<<20)
		if _, err := c.Read(make([]byte, 1)); err != nil { // the place is taken: the server is reading the body
			t.Fatal(err)
		}
	}
	if a := do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["01"]}`); a.status != http.StatusOK {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// A body that arrives more slowly than BodyRate is refused, and its place is released.
func TestSlowBodyEnds(t *testing.T) {
	s := serve(t, api.Config{MaxWaiting: 1, BodyGrace: 50 * time.Millisecond, BodyRate: 1 << 20}, &fake{submit: settle})
	c := dial(t, "127.0.0.1", s.URL)
	fmt.Fprintf(c, "POST /v1/txs HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 100000\r\n\r\n%s", jsonType, strings.Repeat(" ", 1000))
	b := make([]byte, 4096)
	if n, err := c.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 408") {
		t.Errorf("answered %q, %v", b[:n], err)
	}
	if !ended(c) {
		t.Error("the connection is still open")
	}
	if a := do(t, "POST", s.URL+"/v1/txs", jsonType, `{"txs":["01"]}`); a.status != http.StatusOK {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// Bodies of all sizes up to the limit arrive unchanged.
func TestBodiesOfManySizes(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	s := serve(t, api.Config{MaxBody: 20_000}, &fake{submit: func(ctx context.Context, txs [][]byte, w api.Wait) []api.TxAnswer {
		mu.Lock()
		defer mu.Unlock()
		got = txs[0]
		return settle(ctx, txs, w)
	}})
	for _, size := range []int{1, 4088, 4089, 4090, 8184, 8185, 16376, 19_992, 19_993} {
		tx := make([]byte, size)
		for i := range tx {
			tx[i] = byte(i * 7)
		}
		body := string(api.EncodeTxs([][]byte{tx}))
		for name, r := range map[string]io.Reader{"known": strings.NewReader(body), "unknown": io.MultiReader(strings.NewReader(body))} {
			a := send(t, "POST", s.URL+"/v1/txs", api.TxsType, r)
			mu.Lock()
			if a.status != http.StatusOK || string(got) != string(tx) {
				t.Errorf("%d bytes, length %s: answered %d, got %d bytes", size, name, a.status, len(got))
			}
			mu.Unlock()
		}
	}
	over := string(api.EncodeTxs([][]byte{make([]byte, 19_994)}))
	for _, r := range []io.Reader{strings.NewReader(over), io.MultiReader(strings.NewReader(over))} {
		if a := send(t, "POST", s.URL+"/v1/txs", api.TxsType, r); a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("one byte too many: answered %d", a.status)
		}
	}
}

// Reads with bodies that never arrive keep no place from other connections, of the same address too.
func TestBodiesOfReadsTakeNoPlaces(t *testing.T) {
	url, stop, done := run(t, api.Config{MaxConns: 4, BodyGrace: time.Hour, Grace: time.Millisecond}, &fake{})
	for range 20 {
		fmt.Fprint(dial(t, "127.0.0.1", url), "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
		if !alive(dial(t, "127.0.0.1", url)) {
			t.Fatal("not served")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// An address whose connections end without an answered request waits for new ones, and others do not.
func TestWastedConnectionsWait(t *testing.T) {
	url, stop, done := run(t, api.Config{}, &fake{})
	var last net.Conn
	for range 600 { // 536 above the free ones, so the last waits 20 seconds
		last = dial(t, "127.0.0.3", url)
		fmt.Fprint(last, "GET /livez HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")
	}
	if !alive(dial(t, "127.0.0.2", url)) {
		t.Error("another address got no answer")
	}
	_ = last.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := last.Read(make([]byte, 1)); n > 0 || !os.IsTimeout(err) {
		t.Errorf("the last connection of the address that wastes them was served or closed: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A connection whose request was answered does not count, however many follow each other.
func TestAnsweredConnectionsDoNotWait(t *testing.T) {
	f := &fake{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s, done := api.New(api.Config{}, f), make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	for i := range 60 {
		c := dial(t, "127.0.0.3", "http://"+l.Addr().String())
		if !alive(c) {
			t.Fatalf("connection %d got no answer", i)
		}
		c.Close()
	}
	if owed := api.Owed(s); owed > 0 {
		t.Errorf("after 60 answered connections, wasted ones count for %v", owed)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// The turns of an address: the free connections at once, each further one a gap later, and none after the longest wait.
func TestTurns(t *testing.T) {
	const free, gap, longest = 64, time.Second / 16, 20 * time.Second
	turns := api.Turns(2000)
	for i, turn := range turns {
		if want := min(max(0, time.Duration(i+1-free)*gap), longest); turn != want {
			t.Fatalf("connection %d waits %v, want %v", i, turn, want)
		}
	}
}

// Addresses are forgotten once they have no connection, also when all of them have wasted some.
func TestAddressesAreForgotten(t *testing.T) {
	const most = 4096 + 1
	if n := api.AddressesAfter(3 * most); n > most {
		t.Errorf("%d addresses without a connection are remembered, want at most %d", n, most)
	}
}
