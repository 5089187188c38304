// Package client talks to the HTTP interface of a replica.
package client

import (
	"bytes"
	"context"
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
	maxAnswer    = 64 << 20 // bytes read of an answer
	auditTimeout = 5 * time.Minute
)

// Options adjust a client; the zero Options suit an interactive program.
type Options struct {
	Timeout  time.Duration // how long a request may take beyond a wait it asks for; 0 means DefaultTimeout
	MaxConns int           // most connections kept to the replica, further requests queue; 0 means DefaultMaxConns
}

// Client is a client of one replica. It is safe for concurrent use and keeps connections alive; every method ends
// within its context and the client's timeout. All errors name the replica's address.
type Client struct {
	base    atomic.Pointer[string]
	timeout time.Duration
	http    *http.Client
}

// New makes a client of the replica at baseURL, for instance "http://127.0.0.1:8080"; without a scheme, http is
// meant. It connects on the first request.
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

// parseBase is a replica's address with a scheme and without a slash at its end.
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

// Move makes the client follow its replica to another address, where it came up after it was down: requests from now
// on go there.
func (c *Client) Move(baseURL string) error {
	base, err := parseBase(baseURL)
	if err != nil {
		return err
	}
	c.base.Store(&base)
	return nil
}

// URL is the replica's address.
func (c *Client) URL() string { return *c.base.Load() }

// Close gives idle connections back. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Submit sends encoded transactions, 1 to [api.MaxTxsPerRequest], and answers for each in order once each has reached
// the stage, is refused, or timeout (at least a millisecond, at most [api.MaxWait]) has passed, then with TimedOut.
// It fails with [*ErrBookFull] if the TX book had room for none.
func (c *Client) Submit(ctx context.Context, txs [][]byte, wait api.Wait, timeout time.Duration) ([]api.TxAnswer, error) {
	if len(txs) == 0 || len(txs) > api.MaxTxsPerRequest {
		return nil, fmt.Errorf("%d transactions in a request, want 1 to %d", len(txs), api.MaxTxsPerRequest)
	}
	ms := max(1, min(timeout, api.MaxWait).Milliseconds())
	path := "/v1/txs?wait=" + url.QueryEscape(string(wait)) + "&timeout_ms=" + strconv.FormatInt(ms, 10)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond+c.timeout)
	defer cancel()
	var out api.SubmitAnswer
	if err := c.do(ctx, http.MethodPost, path, api.EncodeTxs(txs), &out); err != nil {
		return nil, err
	}
	if len(out.Answers) != len(txs) {
		return nil, fmt.Errorf("%s answered for %d transactions of %d", c.URL(), len(out.Answers), len(txs))
	}
	return out.Answers, nil
}

// Tx is what the replica says of a transaction; [ErrNotFound] if it knows none of that id.
func (c *Client) Tx(ctx context.Context, id ledger.TxID) (api.TxAnswer, error) {
	return get[api.TxAnswer](ctx, c, "/v1/txs/"+id.String())
}

// AccountQuery says which pages of an account are wanted.
type AccountQuery struct {
	Outputs int    // most outputs to list, 0 for none, at most [api.MaxPage]
	Cursor  string // Account.Next of the page before, or empty
	History int    // most history entries to list, 0 for none, at most [api.MaxPage]
	Older   string // Account.Older of the page before, or empty
}

// Account is what an address owns, with the pages asked for.
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

// Block is a committed block; [ErrNotFound] if the replica has not executed it or holds another shard.
func (c *Client) Block(ctx context.Context, shard uint16, height uint64) (api.Block, error) {
	return get[api.Block](ctx, c, fmt.Sprintf("/v1/shards/%d/blocks/%d", shard, height))
}

// Status is how the replica is doing.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, "/v1/status")
}

// Peers is every replica of the network as this one sees it.
func (c *Client) Peers(ctx context.Context) ([]api.Peer, error) {
	l, err := get[api.PeerList](ctx, c, "/v1/peers")
	return l.Peers, err
}

// Commits is when the replica lately committed, above a height.
func (c *Client) Commits(ctx context.Context, after uint64) (api.CommitList, error) {
	return get[api.CommitList](ctx, c, "/v1/commits?after="+strconv.FormatUint(after, 10))
}

// Audit makes the replica count all its outputs. That takes long on a large ledger, and a replica rests after each
// count, so it may take auditTimeout whatever the client's timeout.
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

// Ready reports whether the replica takes part, and if not, why.
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
		// Sending transactions twice is the same as once. The transport may therefore try again when a kept
		// connection turns out to be closed; an empty list says so without a header on the wire.
		req.Header["Idempotency-Key"] = []string{}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(base, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return transportError(base, err)
	case len(raw) > maxAnswer:
		return fmt.Errorf("%s answered with more than %d bytes", base, maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return problemError(base, resp, raw)
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s gave an answer this program cannot read, are they of the same version? %w", base, err)
	}
	return nil
}

// transportError tells a replica nobody could connect to from an answer that did not come.
func transportError(base string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // drop method and URL: the message has the address already
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%s: %w: %w", base, ErrUnreachable, err)
	}
	return fmt.Errorf("%s: %w: %w: %w", base, ErrUnreachable, ErrInterrupted, err)
}

// problemError turns an error answer into a typed error.
func problemError(base string, resp *http.Response, raw []byte) error {
	p := &ProblemError{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		p.RetryAfter = time.Duration(s) * time.Second
	}
	var body api.Problem
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), api.ProblemType) || json.Unmarshal(raw, &body) != nil {
		return fmt.Errorf("%s answered %s, but not as a replica does: is this the address of one?", base, resp.Status)
	}
	p.Detail = body.Detail
	for _, f := range body.Errors {
		if f != nil { // null in the list: not from a replica, but not worth a panic
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
