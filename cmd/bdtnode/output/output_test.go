package output

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"bdtnode/node/client"
)

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		exit int
		code string
	}{
		"none":               {nil, 0, ""},
		"anything":           {errors.New("x"), 1, "failure"},
		"usage":              {Usage("x"), 2, "usage"},
		"wrapped":            {fmt.Errorf("line 3: %w", Usage("x")), 2, "usage"},
		"unreachable":        {fmt.Errorf("u: %w", client.ErrUnreachable), 3, "unreachable"},
		"interrupted answer": {fmt.Errorf("%w: %w", client.ErrUnreachable, client.ErrInterrupted), 3, "unreachable"},
		"not found":          {fmt.Errorf("u: %w", client.ErrNotFound), 4, "not_found"},
		"unknown":            {OutcomeUnknown("x"), 5, "outcome_unknown"},
		"rejected":           {Rejected("x"), 6, "rejected"},
		"bad proof":          {BadProof(errors.New("x")), 8, "bad_proof"},
		"unhealthy":          {Unhealthy("x"), 7, "unhealthy"},
		"unavailable":        {fmt.Errorf("u: %w", &client.ProblemError{Status: 503}), 7, "unhealthy"},
		"full":               {fmt.Errorf("u: %w", &client.ErrBookFull{RetryAfter: time.Second}), 1, "busy"},
		"bad request":        {fmt.Errorf("u: %w", &client.ProblemError{Status: 400}), 1, "refused"},
		"server's fault":     {fmt.Errorf("u: %w", &client.ProblemError{Status: 500}), 1, "failure"},
		"ctrl-c":             {fmt.Errorf("u: %w: %w", client.ErrUnreachable, context.Canceled), 1, "interrupted"},
	} {
		var errs bytes.Buffer
		p := Printer{JSON: true, Err: &errs, Out: io.Discard}
		if got := p.Fail(c.err); got != c.exit {
			t.Errorf("%s: exit %d, want %d", name, got, c.exit)
		}
		if c.err == nil {
			if errs.Len() > 0 {
				t.Errorf("output %q without an error", errs.String())
			}
			continue
		}
		var v struct{ Error Failure }
		if err := json.Unmarshal(errs.Bytes(), &v); err != nil || v.Error.Code != c.code || v.Error.Message == "" {
			t.Errorf("%s: %s", name, errs.String())
		}
	}
}

func TestTextError(t *testing.T) {
	var errs bytes.Buffer
	p := Printer{Err: &errs, Out: io.Discard}
	p.Fail(fmt.Errorf("line 2: %w", NotFound("no account %q", "x").WithHint("make one")))
	if got, want := errs.String(), "error: line 2: no account \"x\"\nhint: make one\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestData(t *testing.T) {
	var out bytes.Buffer
	p := Printer{JSON: true, Out: &out}
	if err := p.Data(map[string]string{"a": "<b>"}, nil); err != nil || out.String() != "{\"a\":\"<b>\"}\n" {
		t.Errorf("%q %v", out.String(), err)
	}
	out.Reset()
	p.JSON = false
	p.Data(nil, func(w io.Writer) { fmt.Fprint(w, "a\tb\nlong\tc\n") })
	if out.String() != "a     b\nlong  c\n" {
		t.Errorf("%q", out.String())
	}
	p.Out = broken{}
	if p.Data(nil, func(w io.Writer) { fmt.Fprint(w, "x") }) == nil {
		t.Error("no error for output that cannot be written")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
