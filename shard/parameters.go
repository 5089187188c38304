package shard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"bdtnode/internal/wire"
	"bdtnode/ledger"
)

// Values of the parameters of a genesis that are texts.
const (
	SignaturesAll     = "all"      // every replica verifies all signatures of every transaction
	SignaturesVouched = "vouched"  // f+1 replicas verify those of each batch and vouch for it (docs/adr/0018)
	LedgerPayments    = "payments" // a ledger of unspent outputs and signed transactions
	LedgerLog         = "log"      // a log of opaque payloads, of each shard alone
)

// VouchedEntries is the number of entries of a batch from which on replicas vouch for its signatures, with
// [SignaturesVouched]. All replicas verify the signatures of smaller batches.
const VouchedEntries = 8

// Limits of the parameters that are numbers.
const (
	MaxLeastFee      = math.MaxUint64 / ledger.MaxTxBytes // the least fee of the longest transaction fits into 64 bits
	minStateInterval = 16
	maxStateInterval = 1 << 32
	maxRetain        = 1 << 48
	retainIntervals  = 2       // least number of state intervals in Parameters.Retain
	minWindow        = 2 << 20 // bytes: two batches of the greatest size
	maxWindow        = 256 << 20
	MinGapMS         = 4
	MaxGapMS         = 1000
)

// Parameters are the settings that all replicas of a network share. The zero Parameters are not valid, see
// [DefaultParameters]. A parameter that a genesis omits has its default.
type Parameters struct {
	GapMS           uint64 `json:"gap_ms"`           // milliseconds from a leader's proposal to its next under lasting load
	LeastFee        uint64 `json:"least_fee"`        // least fee per byte of a transaction's encoding
	StateInterval   uint64 `json:"state_interval"`   // number of heights from one commitment to the whole state to the next
	Retain          uint64 `json:"retain,omitempty"` // heights whose receipts and history are kept at least; 0 for all
	Signatures      string `json:"signatures"`       // which replicas verify a transaction's signatures
	Ledger          string `json:"ledger"`           // the ledger that executes the entries of a block
	ProtocolVersion uint64 `json:"protocol_version"` // version of the messages between replicas
	Window          uint64 `json:"window"`           // bytes of one lane that may be uncommitted
}

// Gap is GapMS as a duration.
func (p *Parameters) Gap() time.Duration { return time.Duration(p.GapMS) * time.Millisecond }

// DefaultParameters returns the parameters of a genesis that sets none. They never change. A parameter that has its
// default is not hashed into the genesis id, so a later program that knows more parameters computes the same id.
func DefaultParameters() Parameters {
	return Parameters{
		GapMS: 25, StateInterval: 16384, Signatures: SignaturesAll, Ledger: LedgerPayments, ProtocolVersion: 1, Window: 16 << 20,
	}
}

// parameter is one row of the table of parameters: its key, its field, and its allowed values.
type parameter struct {
	name    string
	number  func(*Parameters) *uint64 // the field of a number, else nil
	text    func(*Parameters) *string // the field of a text, else nil
	min     uint64                    // least value of a number
	max     uint64
	choices []string // allowed values of a text
}

// parameters is the table of all parameters in the order of their names, which is also their order in the hash of the
// id.
var parameters = []parameter{
	{name: "gap_ms", number: func(p *Parameters) *uint64 { return &p.GapMS }, min: MinGapMS, max: MaxGapMS},
	{name: "least_fee", number: func(p *Parameters) *uint64 { return &p.LeastFee }, max: MaxLeastFee},
	{name: "ledger", text: func(p *Parameters) *string { return &p.Ledger }, choices: []string{LedgerPayments, LedgerLog}},
	{name: "protocol_version", number: func(p *Parameters) *uint64 { return &p.ProtocolVersion }, min: 1, max: 1},
	{name: "retain", number: func(p *Parameters) *uint64 { return &p.Retain }, max: maxRetain},
	{name: "signatures", text: func(p *Parameters) *string { return &p.Signatures }, choices: []string{SignaturesAll, SignaturesVouched}},
	{name: "state_interval", number: func(p *Parameters) *uint64 { return &p.StateInterval }, min: minStateInterval, max: maxStateInterval},
	{name: "window", number: func(p *Parameters) *uint64 { return &p.Window }, min: minWindow, max: maxWindow},
}

// value returns the parameter's value in p as text.
func (x *parameter) value(p *Parameters) string {
	if x.text != nil {
		return *x.text(p)
	}
	return fmt.Sprint(*x.number(p))
}

// check returns an error if the parameter's value in p is not allowed.
func (x *parameter) check(p *Parameters) error {
	switch {
	case x.text != nil && !slices.Contains(x.choices, *x.text(p)):
		return fmt.Errorf("%s is %q, allowed: %q", x.name, *x.text(p), x.choices)
	case x.number != nil && (*x.number(p) < x.min || *x.number(p) > x.max):
		return fmt.Errorf("%s is %d, allowed: %d to %d", x.name, *x.number(p), x.min, x.max)
	}
	return nil
}

// Validate returns an error that names the first parameter whose value is not allowed, and the allowed values.
func (p *Parameters) Validate() error {
	for i := range parameters {
		if err := parameters[i].check(p); err != nil {
			return fmt.Errorf("parameters: %w", err)
		}
	}
	switch least := retainIntervals * p.StateInterval; {
	case p.Retain > 0 && p.Retain < least:
		return fmt.Errorf("parameters: retain is %d, allowed: 0, or from %d, which is %d times state_interval", p.Retain, least, retainIntervals)
	case p.Retain > 0 && p.Ledger == LedgerLog:
		return fmt.Errorf("parameters: retain is %d, but a log keeps all its records: leave it out", p.Retain)
	}
	return nil
}

// UnmarshalJSON decodes the parameters of a genesis. The error for an unknown key lists the known keys.
func (p *Parameters) UnmarshalJSON(b []byte) error {
	given := make(map[string]json.RawMessage)
	if err := json.Unmarshal(b, &given); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	*p = DefaultParameters()
	names := make([]string, len(parameters))
	for i := range parameters {
		x := &parameters[i]
		names[i] = x.name
		raw, ok := given[x.name]
		if !ok {
			continue
		}
		delete(given, x.name)
		var into any
		if x.text != nil {
			into = x.text(p)
		} else {
			into = x.number(p)
		}
		if err := json.Unmarshal(raw, into); err != nil || bytes.Equal(raw, []byte("null")) {
			return fmt.Errorf("parameters: %s cannot be %s", x.name, raw)
		}
	}
	if len(given) > 0 {
		unknown := slices.Sorted(maps.Keys(given))[0]
		return fmt.Errorf("parameters: %q is unknown, allowed: %s", unknown, strings.Join(names, ", "))
	}
	return nil
}

// append encodes the parameters for the genesis id: the number of parameters that differ from their default, and the
// name and value of each as text.
func (p *Parameters) append(b []byte) []byte {
	usual := DefaultParameters()
	var changed []*parameter
	for i := range parameters {
		if x := &parameters[i]; x.value(p) != x.value(&usual) {
			changed = append(changed, x)
		}
	}
	b = wire.AppendU32(b, uint32(len(changed)))
	for _, x := range changed {
		b = wire.AppendBytes(wire.AppendBytes(b, []byte(x.name)), []byte(x.value(p)))
	}
	return b
}
