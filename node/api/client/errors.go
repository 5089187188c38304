package client

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnreachable is wrapped by every error of a connection: the replica gave no answer.
	ErrUnreachable = errors.New("replica unreachable")
	// ErrInterrupted is wrapped, next to [ErrUnreachable], when the request may have arrived: the connection broke
	// or the time ran out before the answer. Whether a submission took effect is then unknown; sending the same
	// transactions again is safe.
	ErrInterrupted = errors.New("no answer arrived, the outcome is unknown")
	// ErrNotFound is wrapped when the replica answers that it has no such thing.
	ErrNotFound = errors.New("not found")
)

// ErrBookFull says that the replica refused all transactions of a submission because its TX book is full.
type ErrBookFull struct {
	RetryAfter time.Duration // when there may be room
	Detail     string
}

// Error implements error.
func (e *ErrBookFull) Error() string {
	return fmt.Sprintf("the replica's TX book is full, try again in %v: %s", e.RetryAfter, e.Detail)
}

// ProblemError is any other error answer of a replica (RFC 9457).
type ProblemError struct {
	Status     int           // of HTTP
	Title      string        // the status in words
	Detail     string        // what is wrong with this request
	Fields     []string      // each field that is wrong, and how, if the replica said so
	RetryAfter time.Duration // when the same request may succeed, 0 if the replica did not say
}

// Error implements error.
func (e *ProblemError) Error() string {
	s := fmt.Sprintf("the replica answered %d %s: %s", e.Status, e.Title, e.Detail)
	for _, f := range e.Fields {
		s += "; " + f
	}
	return s
}
