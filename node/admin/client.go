package admin

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
	"syscall"
	"time"
)

// clientTime bounds a request with a JSON answer. It is above [AnswerTime], after which the server answers in parts.
const clientTime = 1900 * time.Millisecond

// ErrUnreachable is wrapped by errors of a replica that does not answer on its socket.
var ErrUnreachable = errors.New("the replica does not answer on its administration socket")

// StatusError is an error that the replica reported.
type StatusError struct {
	Status  int
	Message string
}

// Error returns the replica's message.
func (e *StatusError) Error() string { return e.Message }

// Client asks one replica. It is safe for concurrent use and keeps no connections.
type Client struct {
	home string
	http *http.Client
}

// Dial returns a client of the replica with its home in dir. The error wraps [ErrNoSocket] if the replica does not run.
func Dial(dir string) (*Client, error) {
	if _, err := SocketPath(dir); err != nil {
		return nil, err
	}
	return &Client{home: dir, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			path, err := SocketPath(dir) // read again: a restarted replica may have another one
			if err != nil {
				return nil, err
			}
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// Home is the home of the replica.
func (c *Client) Home() string { return c.home }

// Get requests a path and decodes the JSON answer into v.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	return c.do(ctx, http.MethodGet, path, nil, v)
}

// Post sends body, unless it is nil, and decodes the JSON answer into v.
func (c *Client) Post(ctx context.Context, path string, body, v any) error {
	return c.do(ctx, http.MethodPost, path, body, v)
}

func (c *Client) do(ctx context.Context, method, path string, body, v any) error {
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	raw, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer raw.Close()
	text, err := io.ReadAll(io.LimitReader(raw, maxAnswer+1))
	if err != nil {
		return c.lost(ctx, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("answer of %s: %w", path, err)
	}
	return nil
}

// request returns the body of a successful answer.
func (c *Client) request(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://replica"+path, in)
	if err != nil {
		return nil, err
	}
	a, err := c.http.Do(r)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if a.StatusCode == http.StatusOK {
		return a.Body, nil
	}
	defer a.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(a.Body, maxBody))
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	var e errorBody
	if json.Unmarshal(raw, &e) != nil || e.Error == "" {
		e.Error = fmt.Sprintf("status %d", a.StatusCode)
	}
	return nil, &StatusError{a.StatusCode, e.Error}
}

// lost describes an error of the connection.
func (c *Client) lost(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, ErrNoSocket):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: %w", c.home, ErrNoSocket)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w in time: its process may be suspended or very busy", c.home, ErrUnreachable)
	}
	return fmt.Errorf("%s: %w: %w", c.home, ErrUnreachable, err)
}

// Stream copies the answer of a path to w, at most so many bytes, within ctx.
func (c *Client) Stream(ctx context.Context, path string, w io.Writer, most int64) error {
	raw, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer raw.Close()
	n, err := io.Copy(w, io.LimitReader(raw, most+1))
	switch {
	case err != nil:
		return c.lost(ctx, err)
	case n > most:
		return fmt.Errorf("the answer of %s has more than %d bytes", path, most)
	}
	return nil
}

// Profile copies a profile to w. seconds is 0 for the default, and for profiles of a moment.
func (c *Client) Profile(ctx context.Context, kind string, seconds int, w io.Writer) error {
	path := "/v1/profile/" + url.PathEscape(kind)
	if seconds > 0 {
		path += "?seconds=" + strconv.Itoa(seconds)
	}
	return c.Stream(ctx, path, w, maxProfile)
}

// Log calls each for the last lines of the log, and with follow for those that follow, until ctx ends, the replica stops,
// or each returns an error.
func (c *Client) Log(ctx context.Context, lines int, follow bool, each func(LogLine) error) error {
	raw, err := c.request(ctx, http.MethodGet, fmt.Sprintf("/v1/log?lines=%d&follow=%t", lines, follow), nil)
	if err != nil {
		return err
	}
	defer raw.Close()
	d := json.NewDecoder(raw)
	for {
		var l LogLine
		switch err := d.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.lost(ctx, err)
		}
		if err := each(l); err != nil {
			return err
		}
	}
}
