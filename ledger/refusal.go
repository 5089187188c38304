package ledger

import "fmt"

// Reason says why a transaction was refused. Its text is part of the API and never changes; its number is part of
// a receipt's encoding.
type Reason uint8

// The reasons. ReasonNone is that of a transaction that was not refused.
const (
	ReasonNone           Reason = iota
	ReasonMalformed             // not the encoding of a transaction of a known version
	ReasonOversized             // longer than MaxTxBytes
	ReasonNonCanonical          // followed by bytes that do not belong to it
	ReasonWrongNetwork          // made for another network
	ReasonBadSignature          // a signature does not verify
	ReasonExpired               // block time is past its expiry
	ReasonExpiryTooFar          // its expiry is further ahead than the horizon
	ReasonOverflow              // amounts add up to more than 64 bits
	ReasonUnbalanced            // inputs are not outputs + fee
	ReasonZeroAmount            // an input or output of nothing
	ReasonNoInputs              // no inputs
	ReasonNoOutputs             // no outputs
	ReasonDuplicateInput        // one output named twice
	ReasonConsumed              // an input was consumed by another transaction
	ReasonUnknownInput          // an input is not there, or not there any more
	ReasonWrongOwner            // an input belongs to another address than its key's
	ReasonWrongAmount           // an input has another amount than declared
	ReasonWrongShard            // it spends nothing of this shard
	ReasonBookFull              // the TX book has no room now
	ReasonElsewhere             // another input shard rejected it
	ReasonShardBusy             // a shard it involves is too far behind, or cut off
	ReasonFeeTooLow             // its fee is below the network's least fee
	ReasonLate                  // the replica's clock is past its expiry, block time is not
	ReasonBusy                  // the client has too much waiting at the replica
	reasonsEnd
)

var reasonTexts = [...]struct{ name, words string }{
	ReasonNone:           {"", ""},
	ReasonMalformed:      {"malformed", "not the encoding of a transaction"},
	ReasonOversized:      {"oversized", "the transaction is too long"},
	ReasonNonCanonical:   {"non_canonical", "bytes are left over behind the transaction"},
	ReasonWrongNetwork:   {"wrong_network", "the transaction was made for another network"},
	ReasonBadSignature:   {"bad_signature", "a signature does not verify"},
	ReasonExpired:        {"expired", "the transaction has expired"},
	ReasonExpiryTooFar:   {"expiry_too_far", "the expiry is too far ahead"},
	ReasonOverflow:       {"overflow", "the amounts add up to more than 64 bits hold"},
	ReasonUnbalanced:     {"unbalanced", "inputs differ from outputs and fee"},
	ReasonZeroAmount:     {"zero_amount", "an amount is 0"},
	ReasonNoInputs:       {"no_inputs", "the transaction has no inputs"},
	ReasonNoOutputs:      {"no_outputs", "the transaction has no outputs"},
	ReasonDuplicateInput: {"duplicate_input", "an output is spent twice by the transaction"},
	ReasonConsumed:       {"consumed", "an input was consumed by another transaction"},
	ReasonUnknownInput:   {"unknown_input", "an input does not exist"},
	ReasonWrongOwner:     {"wrong_owner", "an input belongs to another owner"},
	ReasonWrongAmount:    {"wrong_amount", "an input has another amount than declared"},
	ReasonWrongShard:     {"wrong_shard", "the transaction belongs to another shard"},
	ReasonBookFull:       {"book_full", "the replica has too many transactions waiting"},
	ReasonElsewhere:      {"rejected_elsewhere", "another shard rejected the transaction"},
	ReasonShardBusy:      {"shard_busy", "a shard it involves cannot be waited for now"},
	ReasonFeeTooLow:      {"fee_too_low", "the fee is below the least fee of the network"},
	ReasonLate:           {"late", "its expiry has passed by the clock of the replica, and not by block time"},
	ReasonBusy:           {"busy", "too many transactions of the client wait at the replica"},
}

// String is the reason as the API tells it, such as "unknown_input"; empty for ReasonNone.
func (r Reason) String() string {
	if r >= reasonsEnd {
		return fmt.Sprintf("reason_%d", uint8(r))
	}
	return reasonTexts[r].name
}

// Words is the reason in plain words.
func (r Reason) Words() string {
	if r >= reasonsEnd {
		return r.String()
	}
	return reasonTexts[r].words
}

// MarshalText is String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what String writes.
func (r *Reason) UnmarshalText(text []byte) error {
	for i := range reasonTexts {
		if reasonTexts[i].name == string(text) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("reason %q is unknown", text)
}

// Final reports whether a transaction refused for r can never settle, whatever happens later.
func (r Reason) Final() bool {
	switch r {
	case ReasonNone, ReasonExpiryTooFar, ReasonUnknownInput, ReasonWrongShard, ReasonBookFull, ReasonShardBusy, ReasonLate, ReasonBusy:
		return false
	}
	return true
}

// Refusal is why a transaction was not taken. A nil *Refusal is none.
type Refusal struct {
	Reason Reason
	Detail string // in words, naming what was wrong
}

// Error is the reason and the detail.
func (r *Refusal) Error() string { return r.Reason.String() + ": " + r.Detail }

// Final reports whether the transaction can never settle.
func (r *Refusal) Final() bool { return r.Reason.Final() }

func refuse(r Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: r, Detail: fmt.Sprintf(format, args...)}
}
