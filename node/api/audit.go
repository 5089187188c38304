package api

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// auditShare is the inverse of the share of processor time for audits: each is followed by a pause of nine times its
// duration.
const auditShare = 10

// auditor runs one audit at a time, since each reads the whole ledger. If the height has not changed since the last
// audit, its result is returned again.
type auditor struct {
	running sync.Mutex
	last    Audit
	rest    time.Time // no other audit begins before this time
}

// audit returns the result of an audit at the current height. If another one runs or the pause is not over, it returns
// a problem with the time to try again.
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
		return Audit{}, retryLater(problem(http.StatusServiceUnavailable, "an audit ran too recently"), wait)
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
