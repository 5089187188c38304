package api

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// auditShare is the share of a processor that audits may take: after each, nine times as long passes before the next.
const auditShare = 10

// auditor runs one audit at a time, since each reads the whole ledger, and none in vain: at the height of the last one
// its result is the answer.
type auditor struct {
	running sync.Mutex
	last    Audit
	rest    time.Time // no other audit begins before
}

// audit answers with the newest count, or says when to come again.
func (a *auditor) audit(ctx context.Context, b Backend, now func() time.Time) (Audit, error) {
	if !a.running.TryLock() {
		return Audit{}, retryLater(problem(http.StatusServiceUnavailable, "another audit is running"), retryAudit)
	}
	defer a.running.Unlock()
	begun := now()
	if wait := a.rest.Sub(begun); wait > 0 {
		if a.last.Height != 0 && a.last.Height == b.Status().Height {
			return a.last, nil
		}
		return Audit{}, retryLater(problem(http.StatusServiceUnavailable, "an audit has just run"), wait)
	}
	out, err := b.Audit(ctx)
	ended := now()
	a.rest = ended.Add((auditShare - 1) * ended.Sub(begun))
	if err != nil {
		return Audit{}, err
	}
	a.last = out
	return out, nil
}
