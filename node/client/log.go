package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Payloads are payloads for one request to append them to a log, in their order. The zero Payloads have none. They are in the
// encoding of the request, so that adding a payload is a copy. They are not safe for concurrent use.
type Payloads struct {
	body  []byte
	count int
	lent  bool // a request that failed may still read body
}

// Len is the number of payloads.
func (p *Payloads) Len() int { return p.count }

// Size is the length of the request in bytes. A replica takes 4 MiB at most.
func (p *Payloads) Size() int { return len(p.body) }

// Reset removes all payloads and keeps the memory for further ones.
func (p *Payloads) Reset() {
	if p.count = 0; p.lent {
		p.body, p.lent = nil, false
	}
	p.body = p.body[:0]
}

// Add adds a payload of 1 byte to 1 MiB, of which it keeps a copy. The error says why the payload cannot be added.
func (p *Payloads) Add(payload []byte) error { return p.add(nil, payload) }

// AddWithID adds a payload that the log has once only for this id, however often it is submitted. A log remembers a number of
// ids, see docs/log.md.
func (p *Payloads) AddWithID(id [32]byte, payload []byte) error { return p.add(id[:], payload) }

func (p *Payloads) add(id, payload []byte) error {
	switch {
	case len(payload) == 0:
		return errors.New("the payload is empty: a payload has 1 byte or more")
	case len(payload) > ledger.MaxOpaqueBytes:
		return fmt.Errorf("the payload has %d bytes, at most %d are allowed", len(payload), ledger.MaxOpaqueBytes)
	case p.count == api.MaxPayloadsPerRequest:
		return fmt.Errorf("a request has at most %d payloads", api.MaxPayloadsPerRequest)
	}
	if len(p.body) == 0 {
		p.body = append(p.body, ledger.PayloadVersion, 0, 0, 0, 0)
	}
	p.body = ledger.AppendOpaque(p.body, id, payload)
	p.count++
	return nil
}

// Append appends payloads to the log of the replica's shard. It returns when all have reached the stage
// ([api.WaitAccepted], [api.WaitOrdered] or [api.WaitCertified]), or when timeout (1 ms to [api.MaxWait]) has passed; then
// TimedOut is set. Appending again appends payloads without an id once more. The error is a [*ProblemError] with status
// 429 or 503 and RetryAfter if the replica has taken none since it has no room; after [ErrInterrupted] the payloads may be
// ordered or not.
func (c *Client) Append(ctx context.Context, p *Payloads, wait api.Wait, timeout time.Duration) (api.AppendAnswer, error) {
	var out api.AppendAnswer
	if p.count == 0 {
		return out, errors.New("a request without payloads")
	}
	binary.BigEndian.PutUint32(p.body[1:], uint32(p.count))
	ms := max(1, min(timeout, api.MaxWait).Milliseconds())
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond+c.timeout)
	defer cancel()
	p.lent = true
	base := c.URL()
	path := "/v1/log?wait=" + url.QueryEscape(string(wait)) + "&timeout_ms=" + strconv.FormatInt(ms, 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewReader(p.body))
	if err != nil {
		return out, fmt.Errorf("request to %s: %w", base, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", api.PayloadsType)
	resp, err := c.http.Do(req)
	if err != nil {
		return out, transportError(base, err)
	}
	defer resp.Body.Close()
	raw, err := readAnswer(base, resp)
	if err != nil {
		return out, err
	}
	if resp.StatusCode != http.StatusOK {
		err := problemError(base, resp, raw)
		var full *ErrBookFull
		if errors.As(err, &full) { // a log has no mempool
			p := &ProblemError{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), Detail: full.Detail, RetryAfter: full.RetryAfter}
			err = fmt.Errorf("%s: %w", base, p)
		}
		return out, err
	}
	p.lent = false // the replica has read all of it
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, fmt.Errorf("%s sent an answer that this program cannot decode; check that both have the same version: %w", base, err)
	}
	return out, nil
}

// Payload returns one payload of the log by its name, such as 12.0.3, with a proof if prove is set. Package
// shard/logproof checks the proof. The error is [ErrNotFound] if the log has no such payload.
func (c *Client) Payload(ctx context.Context, name string, prove bool) (api.LogPayload, error) {
	return get[api.LogPayload](ctx, c, "/v1/log/"+url.PathEscape(name)+"?proof="+strconv.FormatBool(prove))
}
