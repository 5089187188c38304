package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"bdtnode/node/api"
)

// Bounds of observers.
const (
	MaxFollowers = 1000
	scrapeEvery  = time.Second
	readBuffer   = 128 << 10 // bytes; the largest event is far smaller
)

// Observed are the readers of events and metrics during a load, from before the warm-up to its end.
type Observed struct {
	Followers   int     `json:"followers"` // streams of events, spread over all replicas
	Seconds     float64 `json:"seconds"`
	Events      uint64  `json:"events"`       // of all streams
	EventBytes  uint64  `json:"event_bytes"`  // likewise
	Gaps        uint64  `json:"gaps"`         // events of which the one before is missing
	Broken      uint64  `json:"broken"`       // streams that ended early
	Scrapes     uint64  `json:"scrapes"`      // of metrics, of all replicas
	ScrapeBytes uint64  `json:"scrape_bytes"` // likewise
	ScrapeMS    float64 `json:"scrape_ms"`    // mean time of a scrape
	Failed      uint64  `json:"failed"`       // scrapes without an answer
	CPUSeconds  float64 `json:"cpu_seconds"`  // of the process of the readers
	Problem     string  `json:"problem,omitempty"`
}

// observer reads the events and metrics of replicas.
type observer struct {
	http *http.Client

	mu     sync.Mutex
	sum    Observed
	scrape time.Duration // of all scrapes
}

// Observe follows the events of replicas with a number of streams, in turn over the URLs, and scrapes the metrics of each
// every second, as Prometheus does, until the context ends or no stream is left. It calls ready when all streams are open.
// Events are counted and their order is checked, and that is all, so that the readers take little processor time beside the
// replicas.
func Observe(ctx context.Context, urls []string, followers int, ready func()) (*Observed, error) {
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	o := &observer{http: &http.Client{Transport: transport}, sum: Observed{Followers: followers}}
	begun, cpu := time.Now(), ownCPU()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var streams []io.ReadCloser
	defer func() {
		for _, s := range streams {
			s.Close()
		}
	}()
	for i := range followers {
		s, err := o.open(ctx, urls[i%len(urls)]+"/v1/events", api.EventsType)
		if err != nil {
			return nil, err
		}
		streams = append(streams, s)
	}
	ready()
	var reading, scraping sync.WaitGroup
	for _, s := range streams {
		reading.Go(func() { o.follow(ctx, s) })
	}
	for i, url := range urls {
		scraping.Go(func() { o.scrapes(ctx, url, scrapeEvery*time.Duration(i)/time.Duration(len(urls))) })
	}
	if reading.Wait(); followers == 0 {
		<-ctx.Done()
	}
	cancel()
	scraping.Wait()
	o.sum.Seconds, o.sum.CPUSeconds = time.Since(begun).Seconds(), ownCPU()-cpu
	if o.sum.Scrapes > 0 {
		o.sum.ScrapeMS = float64(o.scrape.Microseconds()) / 1000 / float64(o.sum.Scrapes)
	}
	return &o.sum, nil
}

// open requests an answer, and returns its body.
func (o *observer) open(ctx context.Context, url, accept string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := o.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%s: status %d", url, res.StatusCode)
	}
	return res.Body, nil
}

// follow reads a stream to its end.
func (o *observer) follow(ctx context.Context, from io.Reader) {
	f := follower{buffer: make([]byte, readBuffer)}
	err := f.read(from)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sum.Events += f.events
	o.sum.EventBytes += f.bytes
	o.sum.Gaps += f.gaps
	if f.gaps > 0 && o.sum.Problem == "" {
		o.sum.Problem = f.first
	}
	if ctx.Err() == nil {
		o.sum.Broken++
		o.sum.Problem = fmt.Sprintf("a stream of events ended: %v", err)
	}
}

// scrapes scrapes a replica every second, the first time after a wait.
func (o *observer) scrapes(ctx context.Context, url string, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		begun := time.Now()
		timer.Reset(scrapeEvery)
		var size int64
		body, err := o.open(ctx, url+"/metrics", "text/plain")
		if err == nil {
			size, err = io.Copy(io.Discard, body)
			body.Close()
		}
		if ctx.Err() != nil {
			return
		}
		o.mu.Lock()
		if err != nil {
			o.sum.Failed++
			if o.sum.Problem == "" { // a stream's problem is of more use
				o.sum.Problem = err.Error()
			}
		} else {
			o.sum.Scrapes++
			o.sum.ScrapeBytes += uint64(size)
			o.scrape += time.Since(begun)
		}
		o.mu.Unlock()
	}
}

// follower counts the events of a stream and checks that none is missing: blocks follow each other, and the events of a block
// come after its event of kind block, with growing numbers. Those of receipts have every second number.
type follower struct {
	buffer []byte
	used   int

	events, bytes, gaps uint64
	first               string // the first gap
	placed              bool   // height and index are known
	receipt             bool   // the last event is of a receipt, whose number is 2 below that of the next receipt
	height, index       uint64
}

var (
	eventEnd  = []byte("\n\n")
	idField   = []byte("id: ")
	kindField = []byte("\nevent: ")
)

// read reads a stream to its end, and returns the error that ended it.
func (f *follower) read(from io.Reader) error {
	for {
		n, err := from.Read(f.buffer[f.used:])
		f.bytes += uint64(n)
		f.used += n
		rest := f.buffer[:f.used]
		for {
			end := bytes.Index(rest, eventEnd)
			if end < 0 {
				break
			}
			f.event(rest[:end])
			rest = rest[end+len(eventEnd):]
		}
		f.used = copy(f.buffer, rest)
		switch {
		case err != nil:
			return err
		case f.used == len(f.buffer):
			return errors.New("an event is too large")
		}
	}
}

// event checks an event, or an id alone.
func (f *follower) event(e []byte) {
	height, index, rest, ok := place(e)
	if !ok {
		f.gap(e)
		return
	}
	if !bytes.HasPrefix(rest, kindField) { // the place from which a reader continues
		f.placed, f.height, f.index = true, height, index
		return
	}
	f.events++
	kind, _, _ := bytes.Cut(rest[len(kindField):], []byte("\n"))
	receipt := false
	switch string(kind) {
	case string(api.EventBlock):
		if !f.placed || height != f.height+1 {
			f.gap(e)
		}
	case string(api.EventEnd), string(api.EventGap):
		f.gap(e)
	case string(api.EventVerdict), string(api.EventSettlement):
		receipt = true
		if height != f.height || index <= f.index || f.receipt && index != f.index+2 {
			f.gap(e)
		}
	default:
		if height != f.height || index <= f.index {
			f.gap(e)
		}
	}
	f.placed, f.height, f.index, f.receipt = true, height, index, receipt
}

// gap counts an event of which the one before is missing.
func (f *follower) gap(e []byte) {
	if f.gaps++; f.gaps == 1 {
		f.first = fmt.Sprintf("after block %d, event %d: %.200s", f.height, f.index, e)
	}
}

// place reads the id of an event, such as 0/12.67 or 0/12, and returns the rest of the event.
func place(e []byte) (height, index uint64, rest []byte, ok bool) {
	if !bytes.HasPrefix(e, idField) {
		return 0, 0, nil, false
	}
	_, rest = digits(e[len(idField):])
	if len(rest) == 0 || rest[0] != '/' {
		return 0, 0, nil, false
	}
	height, rest = digits(rest[1:])
	if len(rest) > 0 && rest[0] == '.' {
		index, rest = digits(rest[1:])
	}
	return height, index, rest, len(rest) == 0 || rest[0] == '\n'
}

// digits reads decimal digits.
func digits(b []byte) (n uint64, rest []byte) {
	for len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
		n, b = 10*n+uint64(b[0]-'0'), b[1:]
	}
	return n, b
}
