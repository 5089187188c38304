package api

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"bdtnode/internal/fairshare"
)

// outlet bounds the bytes of large answers that clients are reading. Each is in memory until its client has read it.
// Client addresses share the bytes as they share the intake.
type outlet struct {
	mu    sync.Mutex
	bytes fairshare.Pool[netip.Prefix]
	most  int64 // largest number of bytes that one answer counts for, so that every answer can be given
}

func newOutlet(bytes int64) *outlet {
	most := bytes / 4
	return &outlet{bytes: fairshare.NewPool[netip.Prefix](bytes, most), most: most}
}

func (o *outlet) take(client netip.Prefix, n int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.Take(client, n)
}

func (o *outlet) give(client netip.Prefix, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes.Give(client, n)
}

// outgoing is the answer to one request. Its deadline starts with its first byte, after any waiting of the request. The
// status is written with that byte: if the answer is large and the outlet is full, an error is written instead.
type outgoing struct {
	http.ResponseWriter
	limit  time.Duration
	outlet *outlet
	client netip.Prefix
	conn   *conn // nil outside [Server.Run]

	status  int
	begun   bool
	refused bool // the handler's answer is dropped
	taken   int64
}

// Unwrap returns the underlying writer for http.ResponseController.
func (w *outgoing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *outgoing) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *outgoing) Write(b []byte) (int, error) {
	if !w.begun && len(b) > answerBuffer {
		n := min(int64(len(b)), w.outlet.most)
		if w.outlet.take(w.client, n) {
			w.taken = n
		} else {
			w.refuse()
		}
	}
	if w.refused {
		return len(b), nil
	}
	w.begin()
	return w.ResponseWriter.Write(b)
}

// refuse answers with a problem because clients have not read earlier large answers yet.
func (w *outgoing) refuse() {
	p := problem(http.StatusServiceUnavailable, "clients have not read earlier large answers of this replica yet, try again later or request less")
	p.RetryMS = retryBusy.Milliseconds()
	w.Header().Set("Retry-After", retryAfter(p.RetryMS))
	w.status = p.Status
	write(w, p)
	w.refused = true
}

// end writes the status of an answer without a body.
func (w *outgoing) end() {
	if w.status != 0 {
		w.begin()
	}
}

// giveBack releases the bytes reserved in the outlet.
func (w *outgoing) giveBack() {
	if w.taken > 0 {
		w.outlet.give(w.client, w.taken)
		w.taken = 0
	}
}

func (w *outgoing) begin() {
	if w.begun {
		return
	}
	w.begun = true
	// This fails for a closed connection, and then the write fails too.
	_ = setDeadline(http.NewResponseController(w.ResponseWriter).SetWriteDeadline, time.Now().Add(w.limit))
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	if w.conn != nil && w.status < http.StatusBadRequest {
		w.conn.conns.answered(w.conn)
	}
}
