package attack

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

// The address of the attacking client; honest clients connect from 127.0.0.1.
const hostile = "127.0.0.66"

// dialer connects from the hostile address.
var dialer = &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(hostile)}, Timeout: 5 * time.Second}

func hostileClient(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxConnsPerHost: conns, MaxIdleConnsPerHost: conns}, Timeout: time.Minute}
}

// unknown is a well-formed transaction with an input that exists in no ledger. The home shard of its key is arbitrary.
func (s *scene) unknown(key sig.Signer, i uint64) []byte {
	owner := ledger.AddressOf(key.Public())
	body := ledger.Body{
		Network: s.genesis.ID(), ExpiryMS: uint64(time.Now().Add(10 * time.Minute).UnixMilli()),
		Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("attack", fmt.Append(nil, i)))}, Key: key.Public(), Amount: 10}},
		Outputs: []ledger.Output{{Address: owner, Amount: 9}},
		Fee:     1,
	}
	tx, err := body.Sign(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return tx.Encode()
}

func newKey(s *scene) sig.Signer {
	key, err := sig.GenerateEd25519(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// workers runs n loops of f until ctx ends.
func workers(ctx context.Context, n int, f func(worker int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				f(i)
			}
		})
	}
	wg.Wait()
}

// post submits transactions and discards the answer.
func post(ctx context.Context, c *http.Client, base string, txs [][]byte, wait string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/txs?timeout_ms=60000&wait="+wait, bytes.NewReader(api.EncodeTxs(txs)))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", api.TxsType)
	resp, err := c.Do(req)
	if err != nil {
		pause(ctx, 10*time.Millisecond)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // the answer is not needed
	if resp.StatusCode != http.StatusOK {
		pause(ctx, 10*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// postCopies posts 1,000 copies of one transaction with an unknown input, 250 posts at a time, and waits for each.
func postCopies(ctx context.Context, s *scene) {
	c, key := hostileClient(250), newKey(s)
	defer c.CloseIdleConnections()
	copies := make([][]byte, api.MaxTxsPerRequest)
	raw := s.unknown(key, 0)
	for i := range copies {
		copies[i] = raw
	}
	workers(ctx, 250, func(int) { post(ctx, c, s.targets[0].API, copies, "settled") })
}

// postUnknown fills the mempool of every replica with transactions whose inputs exist in no ledger.
func postUnknown(ctx context.Context, s *scene) {
	c := hostileClient(64)
	defer c.CloseIdleConnections()
	var next uint64
	var mu sync.Mutex
	key := newKey(s)
	workers(ctx, 2, func(int) {
		mu.Lock()
		from := next
		next += 500
		mu.Unlock()
		txs := make([][]byte, 500)
		for i := range txs {
			txs[i] = s.unknown(key, from+uint64(i))
		}
		for _, r := range s.targets {
			post(ctx, c, r.API, txs, "accepted")
		}
	})
}

// hold keeps n connections open until ctx ends. Each sends some bytes and then nothing. A connection that the replica
// closes is opened again.
func (s *scene) hold(ctx context.Context, n int, address func(i int) string, say string) {
	workers(ctx, n, func(i int) {
		conn, err := dialer.DialContext(ctx, "tcp", address(i))
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			return
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		if _, err := io.WriteString(conn, say); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, conn) // until the replica closes it
		pause(ctx, 10*time.Millisecond)
	})
}

// announceBodies announces large bodies and sends none, 178 to each replica.
func announceBodies(ctx context.Context, s *scene) {
	s.hold(ctx, 178*shards*perShard, s.api,
		"POST /v1/txs HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: 1048576\r\n\r\n")
}

// bodiesOfReads announces the body of a read and sends none, 4,300 connections in all.
func bodiesOfReads(ctx context.Context, s *scene) {
	s.hold(ctx, 4300, s.api, "GET /v1/status HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
}

// auditInALoop requests audits of all replicas, 32 at a time.
func auditInALoop(ctx context.Context, s *scene) {
	c := hostileClient(32)
	defer c.CloseIdleConnections()
	workers(ctx, 32, func(i int) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.targets[i%len(s.targets)].API+"/v1/audit", http.NoBody)
		if err != nil {
			s.t.Error(err)
			return
		}
		resp, err := c.Do(req)
		if err != nil {
			pause(ctx, 10*time.Millisecond)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body) // the answer is not needed
	})
}
