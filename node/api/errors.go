package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Errors of a [Backend] that a client can distinguish. They may be wrapped. Any other error is reported to the client
// as an internal error.
var (
	// ErrNotFound: the transaction, block or shard does not exist on this replica.
	ErrNotFound = errors.New("not found")
	// ErrBadCursor: the cursor does not come from an answer of this replica.
	ErrBadCursor = errors.New("not a cursor of an earlier answer")
	// ErrBadQuery: this replica cannot answer the request, in any state.
	ErrBadQuery = errors.New("not a request that this replica answers")
	// ErrUnavailable: the replica cannot answer now, for example because it is stopping. A later request may succeed.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// ReasonBookFull is the reason of a transaction that was refused only because the mempool was full. It is not final:
// the same transaction may be sent again after RetryMS, or at once to another replica.
const ReasonBookFull = "book_full"

// ReasonBusy is the reason of a transaction that was not checked, because too many transactions of the same client
// address wait at the replica. It is not final: the same transaction may be sent again after RetryMS.
const ReasonBusy = "busy"

// ProblemType is the media type of every error body.
const ProblemType = "application/problem+json"

// Problem is the body of every error: a problem of RFC 9457, with the time after which a retry may succeed.
type Problem struct {
	huma.ErrorModel
	RetryMS int64 `json:"retry_ms,omitempty" doc:"milliseconds after which the same request may succeed"`
}

// problem creates a problem with the standard title of the status.
func problem(status int, detail string) *Problem {
	return &Problem{ErrorModel: huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}}
}

// retryLater sets the time after which a retry may succeed, as a field and as the Retry-After header, there in whole
// seconds rounded up.
func retryLater(p *Problem, after time.Duration) error {
	p.RetryMS = max(1, after.Milliseconds())
	return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {retryAfter(p.RetryMS)}})
}

func retryAfter(ms int64) string { return strconv.FormatInt((ms+999)/1000, 10) }
