// Package client is a client of a replica's HTTP API, with a wallet that signs payments.
//
// Programs outside of this module may import it: no exported signature has a type of an internal package. A payment:
//
//	c, err := client.New("http://127.0.0.1:26700", client.Options{})
//	st, err := c.Status(ctx)
//	terms, err := client.TermsFor(st, 5*time.Minute)
//	w := client.NewWallet(key)
//	_, err = w.Fetch(ctx, c, amount+terms.MostFee(), 1, nil)
//	tx, err := w.Transfer(terms, payee, amount)
//	answers, err := c.Submit(ctx, [][]byte{tx.Encode()}, api.WaitSettled, 30*time.Second)
package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Defaults of [Options].
const (
	DefaultTimeout  = 10 * time.Second
	DefaultMaxConns = 512
)

const (
	maxAnswer    = 64 << 20 // largest answer, in bytes
	auditTimeout = 5 * time.Minute
)

// Options configure a client. The zero Options suit an interactive program.
type Options struct {
	Timeout  time.Duration // bound of a request, in addition to the wait that it asks for; 0 means DefaultTimeout
	MaxConns int           // bound of connections to the replica, beyond which requests queue; 0 means DefaultMaxConns
}

// Client is a client of one replica. It is safe for concurrent use and keeps connections open. Every method returns
// within its context and the client's timeout. All errors contain the replica's address.
type Client struct {
	base    atomic.Pointer[string]
	timeout time.Duration
	http    *http.Client
}

// New returns a client of the replica at baseURL, for example "http://127.0.0.1:8080". The default scheme is http. The
// client connects with the first request.
func New(baseURL string, o Options) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	c := &Client{
		timeout: o.Timeout,
		http: &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			MaxConnsPerHost:     o.MaxConns,
			MaxIdleConns:        o.MaxConns,
			MaxIdleConnsPerHost: o.MaxConns,
			IdleConnTimeout:     30 * time.Second,
			TLSHandshakeTimeout: 5 * time.Second,
			DisableCompression:  true,
		}},
	}
	c.base.Store(&base)
	return c, nil
}

// parseBase returns a replica's address with a scheme and without a final slash.
func parseBase(baseURL string) (string, error) {
	if !strings.Contains(baseURL, "://") {
		baseURL = "http://" + baseURL
	}
	u, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return "", fmt.Errorf("replica address %q: %w", baseURL, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("replica address %q: scheme %q, use http or https", baseURL, u.Scheme)
	case u.Host == "":
		return "", fmt.Errorf("replica address %q has no host", baseURL)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "", fmt.Errorf("replica address %q: give only scheme, host and port", baseURL)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Move changes the address of the replica for requests from now on, for example after it restarted at another address.
func (c *Client) Move(baseURL string) error {
	base, err := parseBase(baseURL)
	if err != nil {
		return err
	}
	c.base.Store(&base)
	return nil
}

// URL is the current address of the replica.
func (c *Client) URL() string { return *c.base.Load() }

// Close closes idle connections. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Submit sends 1 to [api.MaxTxsPerRequest] encoded transactions. It returns an answer for each, in order, once each has
// reached the stage or is refused, or when timeout (1 ms to [api.MaxWait]) has passed; then TimedOut is set. The error
// is [*ErrBookFull] if the mempool accepted none.
func (c *Client) Submit(ctx context.Context, txs [][]byte, wait api.Wait, timeout time.Duration) ([]api.TxAnswer, error) {
	return c.submit(ctx, txs, wait, timeout, "")
}

// SubmitOnce submits like Submit, and the replica sends transactions with inputs in several shards to no other of these
// shards. They learn of the transactions from the LDs of the first. It is for tests of a network.
func (c *Client) SubmitOnce(ctx context.Context, txs [][]byte, wait api.Wait, timeout time.Duration) ([]api.TxAnswer, error) {
	return c.submit(ctx, txs, wait, timeout, "&hints=false")
}

func (c *Client) submit(ctx context.Context, txs [][]byte, wait api.Wait, timeout time.Duration, more string) ([]api.TxAnswer, error) {
	if len(txs) == 0 || len(txs) > api.MaxTxsPerRequest {
		return nil, fmt.Errorf("%d transactions in a request, want 1 to %d", len(txs), api.MaxTxsPerRequest)
	}
	ms := max(1, min(timeout, api.MaxWait).Milliseconds())
	path := "/v1/txs?wait=" + url.QueryEscape(string(wait)) + "&timeout_ms=" + strconv.FormatInt(ms, 10) + more
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond+c.timeout)
	defer cancel()
	var out api.SubmitAnswer
	if err := c.do(ctx, http.MethodPost, path, api.EncodeTxs(txs), &out); err != nil {
		return nil, err
	}
	if len(out.Answers) != len(txs) {
		return nil, fmt.Errorf("%s answered for %d transactions, want %d", c.URL(), len(out.Answers), len(txs))
	}
	return out.Answers, nil
}

// Tx returns the state of a transaction. The error is [ErrNotFound] if the replica does not know the id.
func (c *Client) Tx(ctx context.Context, id ledger.TxID) (api.TxAnswer, error) {
	return get[api.TxAnswer](ctx, c, "/v1/txs/"+id.String())
}

// Trace returns the steps of a transaction at the replica and, with others, at all replicas of its shards.
func (c *Client) Trace(ctx context.Context, id ledger.TxID, others bool) (api.Trace, error) {
	return get[api.Trace](ctx, c, "/v1/txs/"+id.String()+"/trace?others="+strconv.FormatBool(others))
}

// Proof returns the encoded proof of a transaction's result in all its shards. Package shard/proof checks it. The error is
// [ErrNotFound] if there is none yet, or never.
func (c *Client) Proof(ctx context.Context, id ledger.TxID) ([]byte, error) {
	p, err := get[api.Proof](ctx, c, "/v1/txs/"+id.String()+"/proof")
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(p.Proof)
	if err != nil {
		return nil, fmt.Errorf("%s sent a proof that is not base64: %w", c.URL(), err)
	}
	return raw, nil
}

// AccountQuery selects pages of an account.
type AccountQuery struct {
	Outputs int    // largest number of outputs, 0 for none, at most [api.MaxPage]
	Cursor  string // Account.Next of the page before; empty for the first page
	History int    // largest number of history entries, 0 for none, at most [api.MaxPage]
	Older   string // Account.Older of the page before; empty for the first page
}

// Account returns the balance of an address, with the selected pages.
func (c *Client) Account(ctx context.Context, a ledger.Address, q AccountQuery) (api.Account, error) {
	v := url.Values{"limit": {strconv.Itoa(q.Outputs)}, "history": {strconv.Itoa(q.History)}}
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	if q.Older != "" {
		v.Set("older", q.Older)
	}
	return get[api.Account](ctx, c, "/v1/accounts/"+a.String()+"?"+v.Encode())
}

// Block returns a committed block. The error is [ErrNotFound] if the block has not been executed or the shard does not
// exist.
func (c *Client) Block(ctx context.Context, shard uint16, height uint64) (api.Block, error) {
	return get[api.Block](ctx, c, fmt.Sprintf("/v1/shards/%d/blocks/%d", shard, height))
}

// Status returns the status of the replica.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, "/v1/status")
}

// Network returns the report of the replica and, with others, those of other replicas.
func (c *Client) Network(ctx context.Context, others bool) (api.NetworkReports, error) {
	return get[api.NetworkReports](ctx, c, "/v1/network?others="+strconv.FormatBool(others))
}

// Peers returns every replica of the network, with its state as this replica sees it.
func (c *Client) Peers(ctx context.Context) ([]api.Peer, error) {
	l, err := get[api.PeerList](ctx, c, "/v1/peers")
	return l.Peers, err
}

// Audit makes the replica count all its outputs. On a large ledger that takes long, and the replica pauses after each
// count. The call may therefore take auditTimeout, independent of the client's timeout.
func (c *Client) Audit(ctx context.Context) (api.Audit, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	for {
		var a api.Audit
		err := c.do(ctx, http.MethodGet, "/v1/audit", nil, &a)
		var p *ProblemError
		if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
			return a, err
		}
		again := time.NewTimer(p.RetryAfter)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return a, err
		}
	}
}

// Ready reports whether the replica is ready, and otherwise the reason.
func (c *Client) Ready(ctx context.Context) (ready bool, reason string, err error) {
	_, err = get[api.Readiness](ctx, c, "/readyz")
	var p *ProblemError
	if errors.As(err, &p) && p.Status == http.StatusServiceUnavailable {
		return false, p.Detail, nil
	}
	return err == nil, "", err
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var v T
	err := c.do(ctx, http.MethodGet, path, nil, &v)
	return v, err
}

// do sends one request and decodes its answer into out.
func (c *Client) do(ctx context.Context, method, path string, body []byte, out any) error {
	base := c.URL()
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, rd)
	if err != nil {
		return fmt.Errorf("request to %s: %w", base, err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", api.TxsType)
		// Sending transactions again has no further effect. An empty list lets the transport retry when a kept
		// connection turns out to be closed, without sending the header.
		req.Header["Idempotency-Key"] = []string{}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(base, err)
	}
	defer resp.Body.Close()
	raw, err := readAnswer(base, resp)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return problemError(base, resp, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s sent an answer that this program cannot decode; check that both have the same version: %w", base, err)
	}
	return nil
}

// readAnswer reads an answer completely.
func readAnswer(base string, resp *http.Response) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, transportError(base, err)
	}
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("the answer of %s is longer than %d bytes", base, maxAnswer)
	}
	return raw, nil
}

// transportError distinguishes a failed connection from a missing answer.
func transportError(base string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without method and URL: the message contains the address already
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%s: %w: %w", base, ErrUnreachable, err)
	}
	return fmt.Errorf("%s: %w: %w: %w", base, ErrUnreachable, ErrInterrupted, err)
}

// problemError converts an error answer to a typed error.
func problemError(base string, resp *http.Response, raw []byte) error {
	p := &ProblemError{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	var body api.Problem
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), api.ProblemType) || json.Unmarshal(raw, &body) != nil {
		return fmt.Errorf("%s answered %s, but not in the format of a replica; check that this is the address of a replica", base, resp.Status)
	}
	p.Detail = body.Detail
	for _, f := range body.Errors {
		if f != nil { // null in the list: not from a replica, but no reason to panic
			p.Fields = append(p.Fields, f.Error())
		}
	}
	if body.RetryMS > 0 {
		p.RetryAfter = time.Duration(body.RetryMS) * time.Millisecond
	}
	switch p.Status {
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w: %s", base, ErrNotFound, p.Detail)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w", base, &ErrBookFull{RetryAfter: p.RetryAfter, Detail: p.Detail})
	}
	return fmt.Errorf("%s: %w", base, p)
}
