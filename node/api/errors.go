package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Errors a [Backend] answers with, possibly wrapped, when the client is to tell them apart. Any other error is the
// replica's own fault to a client.
var (
	// ErrNotFound: this replica has no such transaction or block, or does not hold that shard.
	ErrNotFound = errors.New("not found")
	// ErrBadCursor: a cursor that no answer of this replica carried.
	ErrBadCursor = errors.New("not a cursor of an earlier answer")
	// ErrUnavailable: the replica cannot answer now, for instance because it is stopping; later may do.
	ErrUnavailable = errors.New("unavailable for now")
)

// ReasonBookFull is the reason in an answer for a transaction that was refused only because the TX book had no room.
// It is not final: the same transaction may be sent again after RetryMS, or at once to another replica.
const ReasonBookFull = "book_full"

// ReasonBusy is the reason in an answer for a transaction that was not looked at, because too many transactions of the
// same client address wait at the replica. It is not final, and RetryMS says when to try again.
const ReasonBusy = "busy"

// ProblemType is the media type of every error body.
const ProblemType = "application/problem+json"

// Problem is the body of every error: a problem of RFC 9457, with when to try again where that helps.
type Problem struct {
	huma.ErrorModel
	RetryMS int64 `json:"retry_ms,omitempty" doc:"milliseconds after which the same request may succeed"`
}

// problem makes one with the standard title of the status.
func problem(status int, detail string) *Problem {
	return &Problem{ErrorModel: huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}}
}

// retryLater is p with when to try again, as a field and, in whole seconds rounded up, as the Retry-After header.
func retryLater(p *Problem, after time.Duration) error {
	p.RetryMS = max(1, after.Milliseconds())
	return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {retryAfter(p.RetryMS)}})
}

func retryAfter(ms int64) string { return strconv.FormatInt((ms+999)/1000, 10) }
