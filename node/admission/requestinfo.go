package admission

import (
	"bdtnode/ledger"
	"bdtnode/protocols"
)

// RequestInfo has the arguments with which a [Request] was made.
type RequestInfo struct {
	From    Party
	IDs     []ledger.TxID // each once
	Stage   Stage
	Submits bool
	Since   protocols.Time
}

// Info returns the arguments with which the request was made.
func (r *Request) Info() RequestInfo {
	return RequestInfo{From: r.from, IDs: r.IDs(), Stage: r.stage, Submits: r.submits, Since: r.since}
}
