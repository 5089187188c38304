// Package output is how commands speak: data on standard output, the rest on standard error, as text or JSON, and one
// place that says which exit code an error has.
package output

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"bdtnode/node/api/client"
)

// Exit codes of every command.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitUnreachable = 3
	ExitNotFound    = 4
	ExitUnknown     = 5 // timed out with the outcome unknown
	ExitRejected    = 6
	ExitUnhealthy   = 7
	ExitBadProof    = 8
	ExitLost        = 9 // the replica may have signed what its store does not have: starting it again changes nothing
)

// Failure is an error with its exit code. Code is the same for machines that read JSON.
type Failure struct {
	Exit    int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do about it
}

// Error is the message.
func (f *Failure) Error() string { return f.Message }

// WithHint is f with what to do about it.
func (f *Failure) WithHint(format string, args ...any) *Failure {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// Usage is a command line that cannot be meant.
func Usage(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUsage, Code: "usage", Message: fmt.Sprintf(format, args...)}
}

// Unreachable is a replica or network that does not answer.
func Unreachable(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUnreachable, Code: "unreachable", Message: fmt.Sprintf(format, args...)}
}

// NotFound is something asked for that does not exist.
func NotFound(format string, args ...any) *Failure {
	return &Failure{Exit: ExitNotFound, Code: "not_found", Message: fmt.Sprintf(format, args...)}
}

// OutcomeUnknown is a transaction whose end was not seen in time.
func OutcomeUnknown(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUnknown, Code: "outcome_unknown", Message: fmt.Sprintf(format, args...)}
}

// Rejected is a transaction that will never settle.
func Rejected(format string, args ...any) *Failure {
	return &Failure{Exit: ExitRejected, Code: "rejected", Message: fmt.Sprintf(format, args...)}
}

// Unhealthy is a replica that runs and does not take part.
func Unhealthy(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUnhealthy, Code: "unhealthy", Message: fmt.Sprintf(format, args...)}
}

// Interrupted is a command that was ended before it was done, with nothing left open.
func Interrupted(format string, args ...any) *Failure {
	return &Failure{Exit: ExitFailure, Code: "interrupted", Message: fmt.Sprintf(format, args...)}
}

// Lost is a replica that must not sign any more.
func Lost(err error) *Failure {
	return &Failure{Exit: ExitLost, Code: "lost", Message: err.Error()}
}

// FailureOf gives any error its exit code; nil stays nil. It is the one place that does.
func FailureOf(err error) *Failure {
	var known *Failure
	var full *client.ErrBookFull
	var problem *client.ProblemError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return &Failure{Exit: known.Exit, Code: known.Code, Message: err.Error(), Hint: known.Hint}
	case errors.Is(err, client.ErrNotFound):
		return NotFound("%v", err)
	case errors.Is(err, context.Canceled):
		return Interrupted("interrupted")
	case errors.Is(err, client.ErrUnreachable):
		return Unreachable("%v", err).WithHint("is the replica running? start a network with: bdtnode net up")
	case errors.As(err, &full):
		return &Failure{Exit: ExitFailure, Code: "busy", Message: err.Error(), Hint: "nothing was taken: send the same again later, or to another replica"}
	case errors.As(err, &problem):
		switch {
		case problem.Status == http.StatusServiceUnavailable:
			return Unhealthy("%v", err)
		case problem.Status < http.StatusInternalServerError:
			return &Failure{Exit: ExitFailure, Code: "refused", Message: err.Error()}
		}
	}
	return &Failure{Exit: ExitFailure, Code: "failure", Message: err.Error()}
}
