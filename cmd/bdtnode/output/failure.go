// Package output writes the output of commands: data on standard output, everything else on standard error, as text or
// JSON. It also maps errors to exit codes.
package output

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"bdtnode/node/client"
)

// Exit codes of every command.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitUnreachable = 3
	ExitNotFound    = 4
	ExitUnknown     = 5 // timed out, with unknown outcome
	ExitRejected    = 6
	ExitUnhealthy   = 7
	ExitBadProof    = 8
	ExitLost        = 9 // the replica may have signed messages that its store does not have; starting it again does not help
)

// Failure is an error with its exit code. Code is the stable name of the error in JSON output.
type Failure struct {
	Exit    int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // suggested action
}

// Error returns the message.
func (f *Failure) Error() string { return f.Message }

// WithHint sets the suggested action and returns f.
func (f *Failure) WithHint(format string, args ...any) *Failure {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// Usage is the failure of a wrong command line.
func Usage(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUsage, Code: "usage", Message: fmt.Sprintf(format, args...)}
}

// Unreachable is the failure of a replica or network that does not answer.
func Unreachable(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUnreachable, Code: "unreachable", Message: fmt.Sprintf(format, args...)}
}

// NotFound is the failure of a query for something that does not exist.
func NotFound(format string, args ...any) *Failure {
	return &Failure{Exit: ExitNotFound, Code: "not_found", Message: fmt.Sprintf(format, args...)}
}

// OutcomeUnknown is the failure of a transaction without a final answer in time.
func OutcomeUnknown(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUnknown, Code: "outcome_unknown", Message: fmt.Sprintf(format, args...)}
}

// Rejected is the failure of a transaction that can never settle.
func Rejected(format string, args ...any) *Failure {
	return &Failure{Exit: ExitRejected, Code: "rejected", Message: fmt.Sprintf(format, args...)}
}

// Unhealthy is the failure of a replica that runs and is not ready.
func Unhealthy(format string, args ...any) *Failure {
	return &Failure{Exit: ExitUnhealthy, Code: "unhealthy", Message: fmt.Sprintf(format, args...)}
}

// Interrupted is the failure of a command that was ended early, with no transaction left open.
func Interrupted(format string, args ...any) *Failure {
	return &Failure{Exit: ExitFailure, Code: "interrupted", Message: fmt.Sprintf(format, args...)}
}

// BadProof is the failure of a proof that is wrong, or not about the expected transaction.
func BadProof(err error) *Failure {
	return &Failure{Exit: ExitBadProof, Code: "bad_proof", Message: err.Error()}
}

// Lost is the failure of a replica that must not sign any more.
func Lost(err error) *Failure {
	return &Failure{Exit: ExitLost, Code: "lost", Message: err.Error()}
}

// FailureOf maps any error to a failure with an exit code; nil stays nil. No other code assigns exit codes.
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
		return Unreachable("%v", err).WithHint("check that the replica runs, or start a network with: bdtnode net up")
	case errors.As(err, &full):
		return &Failure{Exit: ExitFailure, Code: "busy", Message: err.Error(), Hint: "no transaction was accepted: send the same again later, or to another replica"}
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
