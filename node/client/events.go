package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Bounds of a stream of events.
const (
	maxEvent  = 1 << 20          // bytes of one line
	silence   = 60 * time.Second // a replica sends something every 15 s
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
)

// EventQuery selects events. The zero value selects the events from now on of all kinds that the replicas of a shard have
// in common, without the effects on accounts.
type EventQuery struct {
	From     string           // cursor of an event, or a height: begin after it; empty: begin after the last executed block
	Kinds    []api.EventKind  // empty: transaction if there are accounts, else block, epoch, evidence, verdict, settlement
	Accounts []ledger.Address // at most [api.MaxAccounts], in the replica's shard: for events of kind transaction
}

// StreamEnd is the error for a stream that the replica has ended. A later one may continue from the cursor.
type StreamEnd struct{ api.EndEvent }

// Error implements error.
func (e *StreamEnd) Error() string {
	return fmt.Sprintf("the replica ended the stream of events (%s): %s", e.Reason, e.Detail)
}

// Events calls f for each event up to the last executed block, also for those of kind gap, and returns the cursor from
// which a later call continues, also with an error. It stops at the first error of f, and returns it. Events of kind end
// are not passed to f.
func (c *Client) Events(ctx context.Context, q EventQuery, f func(api.Event) error) (cursor string, err error) {
	cursor, err = c.stream(ctx, q, false, f)
	var end *StreamEnd
	if errors.As(err, &end) && end.Reason == api.EndTip {
		return cursor, nil
	}
	return cursor, err
}

// Follow calls f for each event, also of later blocks, until ctx ends, f returns an error, or the replica refuses the
// request. If the connection breaks or the replica ends the stream, it connects again, and continues after the last
// event. It returns the cursor from which a later call continues, with the error.
func (c *Client) Follow(ctx context.Context, q EventQuery, f func(api.Event) error) (cursor string, err error) {
	return follow(ctx, q.From, f, func(from string, f func(api.Event) error) (string, error) {
		q.From = from
		return c.stream(ctx, q, true, f)
	})
}

// follow reads streams one after another, each from the cursor that the one before returned.
func follow[E any](ctx context.Context, from string, f func(E) error, stream func(from string, f func(E) error) (string, error)) (cursor string, err error) {
	wait := firstWait
	for {
		var own error // of f
		from, err = stream(from, func(e E) error {
			wait = firstWait
			own = f(e)
			return own
		})
		var end *StreamEnd
		var p *ProblemError
		again := errors.Is(err, ErrUnreachable) || errors.As(err, &end) ||
			errors.As(err, &p) && p.RetryAfter > 0
		switch {
		case ctx.Err() != nil:
			return from, ctx.Err()
		case own != nil || !again:
			return from, err
		}
		if p != nil {
			wait = max(wait, p.RetryAfter)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return from, ctx.Err()
		}
		wait = min(2*wait, lastWait)
	}
}

// Commits returns the newest commits of the replica above a height, at most 1,024, oldest first. The first one since the
// start of the replica is its height at the start.
func (c *Client) Commits(ctx context.Context, after uint64) ([]api.Commit, error) {
	var out []api.Commit
	q := EventQuery{From: strconv.FormatUint(after, 10), Kinds: []api.EventKind{api.EventCommit}}
	_, err := c.Events(ctx, q, func(e api.Event) error {
		if e.Commit != nil {
			out = append(out, api.Commit{Height: e.Height, CommitEvent: *e.Commit})
		}
		return nil
	})
	return out, err
}

// openStream requests a stream of a media type from the replica at base.
func (c *Client) openStream(ctx context.Context, base, path, accept string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", base, err)
	}
	req.Header.Set("Accept", accept)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(base, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	raw, err := readAnswer(base, resp)
	if err != nil {
		return nil, err
	}
	return nil, problemError(base, resp, raw)
}

// stream reads one stream. The error is a [*StreamEnd] if the replica has ended it.
func (c *Client) stream(ctx context.Context, q EventQuery, follow bool, f func(api.Event) error) (cursor string, err error) {
	base, cursor := c.URL(), q.From
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(max(silence, c.timeout), cancel)
	defer watchdog.Stop()
	in, err := c.openStream(ctx, base, "/v1/events?"+q.values(follow).Encode(), api.EventsType)
	if err != nil {
		return cursor, err
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxEvent)
	var data []byte
	id := cursor
	for lines.Scan() {
		watchdog.Reset(silence)
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "id":
			id = value
		case field == "data":
			data = append(data, value...)
		case lines.Text() == "":
			if len(data) > 0 {
				if err := dispatch(base, data, f); err != nil {
					var end *StreamEnd
					if errors.As(err, &end) {
						cursor = id
					}
					return cursor, err
				}
			}
			cursor, data = id, nil
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return cursor, transportError(base, err)
	} else if err != nil {
		return cursor, fmt.Errorf("%s sent an event of more than %d bytes", base, maxEvent)
	}
	return cursor, transportError(base, errors.New("the stream of events broke off"))
}

func dispatch(base string, data []byte, f func(api.Event) error) error {
	var e api.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%s sent an event that this program cannot decode; check that both have the same version: %w", base, err)
	}
	if e.End != nil {
		return &StreamEnd{*e.End}
	}
	return f(e)
}

func (q *EventQuery) values(follow bool) url.Values {
	v := url.Values{"follow": {strconv.FormatBool(follow)}}
	if q.From != "" {
		v.Set("from", q.From)
	}
	list := func(name string, texts []string) {
		if len(texts) > 0 {
			v.Set(name, strings.Join(texts, ","))
		}
	}
	var kinds, accounts []string
	for _, kind := range q.Kinds {
		kinds = append(kinds, string(kind))
	}
	for _, a := range q.Accounts {
		accounts = append(accounts, a.String())
	}
	list("kinds", kinds)
	list("account", accounts)
	return v
}
