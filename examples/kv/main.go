// Command kv is a replicated key-value store on the log of a bdtnode shard. Every process that follows the same log has the
// same pairs, and any of them takes writes:
//
//	kv -node http://127.0.0.1:26700 -data kv-a -listen 127.0.0.1:8001
//	curl -X PUT -d blue http://127.0.0.1:8001/colour
//	curl http://127.0.0.1:8001/colour
//
// The log is the truth, and the file in -data only a checkpoint: after kill -9 a process reads its last checkpoint and
// applies the log from there on, so it loses nothing and applies nothing twice.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bdtnode/node/api"
	"bdtnode/node/client"
)

// write is one payload of the log. A nil value deletes the key.
type write struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

// state is the content of a checkpoint: the pairs after all payloads before the cursor.
type state struct {
	Cursor string            `json:"cursor"`
	Pairs  map[string]string `json:"pairs"`
}

type store struct {
	log  *client.Client
	file string

	mu      sync.Mutex
	changed *sync.Cond // the cursor has moved
	state   state
}

// apply changes the pairs by one payload. It depends on nothing but pairs and payload, so all processes agree.
func (s *store) apply(e client.LogEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var w write
	if err := json.Unmarshal(e.Payload, &w); err != nil {
		log.Printf("payload %s is no write and has no effect", e.Name()) // the log is open to all
	} else if w.Value == nil {
		delete(s.state.Pairs, w.Key)
	} else {
		s.state.Pairs[w.Key] = *w.Value
	}
	s.state.Cursor = e.Next()
	s.changed.Broadcast()
	return nil
}

// put appends a write and returns once it is applied here. The id makes it safe to append again after an error.
func (s *store) put(ctx context.Context, w write) error {
	payload, err := json.Marshal(w)
	if err != nil {
		return err
	}
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails
	for {
		var p client.Payloads
		if err := p.AddWithID(id, payload); err != nil {
			return err
		}
		a, err := s.log.Append(ctx, &p, api.WaitOrdered, 10*time.Second)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || a.State != api.StateOrdered:
			time.Sleep(200 * time.Millisecond) // the replica has no room, or restarts
		case len(a.Repeated) > 0:
			r := a.Repeated[0]
			return s.await(ctx, client.LogEntry{Height: r.Height, Batch: r.Batch, Position: r.Position})
		default:
			at := a.Placed[0]
			return s.await(ctx, client.LogEntry{Height: at.Height, Batch: at.Batch, Position: at.Position})
		}
	}
}

// await waits until the payload at a place is applied.
func (s *store) await(ctx context.Context, e client.LogEntry) error {
	defer context.AfterFunc(ctx, s.changed.Broadcast)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for client.LogBefore(s.state.Cursor, e.Next()) && ctx.Err() == nil {
		s.changed.Wait()
	}
	return ctx.Err()
}

// checkpoint replaces the file by the present state.
func (s *store) checkpoint() error {
	s.mu.Lock()
	raw, err := json.Marshal(s.state)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	f, err := os.Create(s.file + ".new")
	if err != nil {
		return err
	}
	if _, err = f.Write(raw); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/")
	switch r.Method {
	case http.MethodPut, http.MethodDelete:
		change := write{Key: key}
		if r.Method == http.MethodPut {
			raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			value := string(raw)
			change.Value = &value
		}
		if err := s.put(r.Context(), change); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	case http.MethodGet:
		s.mu.Lock()
		defer s.mu.Unlock()
		if key == "" { // all pairs
			_ = json.NewEncoder(w).Encode(s.state)
		} else if value, ok := s.state.Pairs[key]; ok {
			_, _ = io.WriteString(w, value)
		} else {
			http.NotFound(w, r)
		}
	default:
		http.Error(w, "use GET, PUT or DELETE", http.StatusMethodNotAllowed)
	}
}

func run(ctx context.Context, node, data, listen string) error {
	c, err := client.New(node, client.Options{})
	if err != nil {
		return err
	}
	s := &store{log: c, file: filepath.Join(data, "state.json"), state: state{Cursor: "0", Pairs: map[string]string{}}}
	s.changed = sync.NewCond(&s.mu)
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	if raw, err := os.ReadFile(s.file); err == nil {
		if err := json.Unmarshal(raw, &s.state); err != nil {
			return fmt.Errorf("%s: %w", s.file, err)
		}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s, from %s\n", l.Addr(), s.state.Cursor)
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	go func() {
		for range time.Tick(time.Second) {
			if err := s.checkpoint(); err != nil {
				log.Printf("checkpoint: %v", err) // the log has everything since the one before
			}
		}
	}()
	_, err = c.FollowLog(ctx, client.LogQuery{From: s.state.Cursor}, s.apply)
	if ctx.Err() != nil {
		return s.checkpoint()
	}
	return err
}

func main() {
	node := flag.String("node", "http://127.0.0.1:26700", "URL of a replica of the shard")
	data := flag.String("data", "kv", "directory of the checkpoint")
	listen := flag.String("listen", "127.0.0.1:8001", "address of the HTTP interface")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *node, *data, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
