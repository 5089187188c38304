package client

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnreachable is wrapped by every connection error: the replica gave no answer.
	ErrUnreachable = errors.New("replica unreachable")
	// ErrInterrupted is wrapped, together with [ErrUnreachable], when the request may have arrived: the connection
	// broke or the time ran out before the answer. The outcome of a submission is then unknown. Sending the same
	// transactions again is safe.
	ErrInterrupted = errors.New("no answer arrived, so the outcome is unknown")
	// ErrNotFound is wrapped when the replica does not have the requested object.
	ErrNotFound = errors.New("not found")
)

// ErrBookFull means that the replica refused all transactions of a submission because its mempool is full.
type ErrBookFull struct {
	RetryAfter time.Duration // time after which there may be space
	Detail     string
}

// Error implements error.
func (e *ErrBookFull) Error() string {
	return fmt.Sprintf("the replica's mempool is full, try again in %v: %s", e.RetryAfter, e.Detail)
}

// ProblemError is any other error answer of a replica (RFC 9457).
type ProblemError struct {
	Status     int           // HTTP status
	Title      string        // text of the status
	Detail     string        // description of the error
	Fields     []string      // wrong fields with descriptions, if the replica gave them
	RetryAfter time.Duration // time after which the same request may succeed, 0 if the replica named none
}

// Error implements error.
func (e *ProblemError) Error() string {
	s := fmt.Sprintf("the replica answered %d %s: %s", e.Status, e.Title, e.Detail)
	for _, f := range e.Fields {
		s += "; " + f
	}
	return s
}
