package load

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

// testLog is a log behind one replica. Its answers are those of answer, for the number of the request from 1.
type testLog struct {
	t      *testing.T
	answer func(request, payloads int) (int, api.AppendAnswer)

	mu       sync.Mutex
	requests int
	numbers  map[uint64]int // how often each payload was ordered, by its number
	sizes    map[int]int
}

func (l *testLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		l.t.Error(err)
	}
	p, err := ledger.DecodePayload(ledger.OpaqueKinds(), raw)
	if err != nil || r.URL.Path != "/v1/log" || r.URL.Query().Get("wait") != string(api.WaitOrdered) {
		l.t.Errorf("%v: %v", r.URL, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	n := p.Opaque.Len()
	status, answer := http.StatusOK, api.AppendAnswer{State: api.StateOrdered, Count: n, Accepted: n}
	if l.answer != nil {
		status, answer = l.answer(l.requests, n)
	}
	if status == http.StatusOK && answer.State == api.StateOrdered {
		for _, x := range p.Opaque.Each() {
			l.numbers[binary.BigEndian.Uint64(x.Payload)]++
			l.sizes[len(x.Payload)]++
		}
	}
	if status != http.StatusOK {
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(status)
		io.WriteString(w, `{"status":429,"detail":"full","retry_ms":1}`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		l.t.Error(err)
	}
}

func newLog(t *testing.T, answer func(request, payloads int) (int, api.AppendAnswer)) (*testLog, Config) {
	t.Helper()
	l := &testLog{t: t, answer: answer, numbers: map[uint64]int{}, sizes: map[int]int{}}
	s := httptest.NewServer(l)
	c, err := client.New(s.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return l, Config{Shards: [][]*client.Client{{c}}, Payload: 100, For: 300 * time.Millisecond, Seed: 1}
}

// TestPayloads: every arrival is a payload of the length asked for, and each payload is ordered once.
func TestPayloads(t *testing.T) {
	l, c := newLog(t, nil)
	c.Rate = 5000
	r, err := Run(t.Context(), c)
	if err != nil || r.Submitted != 1500 || r.Settled != 1500 || r.Accepted != 1500 || r.Pending != 0 || r.Unsent != 0 || r.TPS <= 0 || r.Latency.P50 <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if len(l.numbers) != 1500 || l.sizes[100] != 1500 {
		t.Errorf("%d payloads, by length %v", len(l.numbers), l.sizes)
	}
	if r.WithinBytes != 100*r.Within || r.Distributions[0].Count != 1500 {
		t.Errorf("%d bytes of %d payloads, %d latencies", r.WithinBytes, r.Within, r.Distributions[0].Count)
	}
}

// TestFullLog: payloads for which a log has no room are submitted again, and none twice.
func TestFullLog(t *testing.T) {
	l, c := newLog(t, func(request, n int) (int, api.AppendAnswer) {
		if request%3 != 0 {
			return http.StatusTooManyRequests, api.AppendAnswer{}
		}
		return http.StatusOK, api.AppendAnswer{State: api.StateOrdered, Count: n, Accepted: n}
	})
	c.Closed = 200
	r, err := Run(t.Context(), c)
	if err != nil || r.Settled == 0 || r.Pending != 0 || len(l.numbers) != int(r.Settled) {
		t.Errorf("%+v, %v; %d different payloads", r, err, len(l.numbers))
	}
	for number, times := range l.numbers {
		if times != 1 {
			t.Errorf("payload %d was ordered %d times", number, times)
		}
	}
}

// TestOpenPayloads: payloads whose outcome is not known are pending, are not submitted again, and count with their
// waiting time.
func TestOpenPayloads(t *testing.T) {
	l, c := newLog(t, func(_, n int) (int, api.AppendAnswer) {
		return http.StatusOK, api.AppendAnswer{State: api.StateUnknown, Count: n, Accepted: n / 2, TimedOut: true}
	})
	c.Rate, c.Drain = 1000, 50*time.Millisecond
	r, err := Run(t.Context(), c)
	if err != nil || r.Submitted != 300 || r.Settled != 0 || r.Pending != 300 || r.Accepted == 0 || r.Accepted > 150 || r.TPS != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r.Distributions[0].Count != 300 || r.Latency.P50 <= 0 {
		t.Errorf("pending payloads do not count: %+v", r.Distributions[0])
	}
	if len(l.numbers) != 0 {
		t.Errorf("%d payloads ordered", len(l.numbers))
	}
}

// TestLongPayloads: a request has as many payloads as its bound of bytes permits.
func TestLongPayloads(t *testing.T) {
	for size, want := range map[int]int{1: 2000, 250: 2000, 64 << 10: 63, MaxPayload: 3} {
		p := newPayloads(size)
		if got := p.most(); got != want {
			t.Errorf("%d payloads of %d bytes, want %d", got, size, want)
		}
		var body client.Payloads
		for range p.most() {
			if err := body.Add(p.next()); err != nil {
				t.Fatal(err)
			}
		}
		if body.Size() > maxBody {
			t.Errorf("%d bytes", body.Size())
		}
	}
}
