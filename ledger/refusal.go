package ledger

import "fmt"

// Reason is the reason why a transaction was refused. Its text is part of the API and its number part of a receipt's
// encoding: neither ever changes.
type Reason uint8

// The reasons. ReasonNone stands for a transaction that was not refused.
const (
	ReasonNone           Reason = iota
	ReasonMalformed             // not the encoding of a transaction of a known version
	ReasonOversized             // longer than MaxTxBytes
	ReasonNonCanonical          // bytes follow the transaction
	ReasonWrongNetwork          // made for another network
	ReasonBadSignature          // a signature does not verify
	ReasonExpired               // block time is past its expiry
	ReasonExpiryTooFar          // its expiry is further ahead than the horizon
	ReasonOverflow              // amounts add up to more than 64 bits
	ReasonUnbalanced            // inputs are not outputs + fee
	ReasonZeroAmount            // an input or output has amount 0
	ReasonNoInputs              // no inputs
	ReasonNoOutputs             // no outputs
	ReasonDuplicateInput        // two inputs spend the same output
	ReasonConsumed              // an input was consumed by another transaction, or its id has no such output of its key's address
	ReasonUnknownInput          // an input does not exist yet, or was forgotten after it was spent
	ReasonWrongOwner            // not given since version 6 of the state, see ReasonConsumed
	ReasonWrongAmount           // an input has another amount than declared
	ReasonWrongShard            // it has no input in this shard, or this network has no rules between shards
	ReasonBookFull              // the mempool is full
	ReasonElsewhere             // another input shard rejected it
	ReasonShardBusy             // a shard that it involves is too far behind, or its channel is frozen
	ReasonFeeTooLow             // its fee is below the network's least fee
	ReasonLate                  // the replica's clock is past its expiry, block time is not
	ReasonBusy                  // too many transactions of the client wait at the replica
	ReasonCancelled             // another input shard certified that it can never be spent there (CL)
	reasonsEnd
)

// Reasons is the number of reasons, with ReasonNone.
const Reasons = int(reasonsEnd)

var reasonTexts = [...]struct{ name, description string }{
	ReasonNone:           {"", ""},
	ReasonMalformed:      {"malformed", "not the encoding of a transaction"},
	ReasonOversized:      {"oversized", "the transaction is too long"},
	ReasonNonCanonical:   {"non_canonical", "bytes follow the end of the transaction"},
	ReasonWrongNetwork:   {"wrong_network", "the transaction was made for another network"},
	ReasonBadSignature:   {"bad_signature", "a signature does not verify"},
	ReasonExpired:        {"expired", "the transaction has expired"},
	ReasonExpiryTooFar:   {"expiry_too_far", "the expiry is too far ahead"},
	ReasonOverflow:       {"overflow", "the amounts add up to more than 64 bits hold"},
	ReasonUnbalanced:     {"unbalanced", "inputs differ from outputs and fee"},
	ReasonZeroAmount:     {"zero_amount", "an amount is 0"},
	ReasonNoInputs:       {"no_inputs", "the transaction has no inputs"},
	ReasonNoOutputs:      {"no_outputs", "the transaction has no outputs"},
	ReasonDuplicateInput: {"duplicate_input", "two inputs spend the same output"},
	ReasonConsumed:       {"consumed", "an input was consumed by another transaction, or belongs to another owner"},
	ReasonUnknownInput:   {"unknown_input", "an input does not exist"},
	ReasonWrongOwner:     {"wrong_owner", "an input belongs to another owner"},
	ReasonWrongAmount:    {"wrong_amount", "an input has another amount than declared"},
	ReasonWrongShard:     {"wrong_shard", "the transaction belongs to another shard"},
	ReasonBookFull:       {"book_full", "too many transactions wait at the replica"},
	ReasonElsewhere:      {"rejected_elsewhere", "another shard rejected the transaction"},
	ReasonShardBusy:      {"shard_busy", "a shard that it involves is too far behind or its channel is frozen"},
	ReasonFeeTooLow:      {"fee_too_low", "the fee is below the least fee of the network"},
	ReasonLate:           {"late", "its expiry has passed by the clock of the replica, but not by block time"},
	ReasonBusy:           {"busy", "too many transactions of the client wait at the replica"},
	ReasonCancelled:      {"cancelled", "another shard certified that it can never be spent there"},
}

// String is the text of the reason in the API, such as "unknown_input"; empty for ReasonNone.
func (r Reason) String() string {
	if r >= reasonsEnd {
		return fmt.Sprintf("reason_%d", uint8(r))
	}
	return reasonTexts[r].name
}

// Description is a text for users that explains the reason.
func (r Reason) Description() string {
	if r >= reasonsEnd {
		return r.String()
	}
	return reasonTexts[r].description
}

// MarshalText returns the text that String returns.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText decodes the text that String returns. It is an error if no reason has it.
func (r *Reason) UnmarshalText(text []byte) error {
	for i := range reasonTexts {
		if reasonTexts[i].name == string(text) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("reason %q is unknown", text)
}

// Final reports whether a transaction that was refused for r can never settle.
func (r Reason) Final() bool {
	switch r {
	case ReasonNone, ReasonExpiryTooFar, ReasonUnknownInput, ReasonWrongShard, ReasonBookFull, ReasonShardBusy, ReasonLate, ReasonBusy:
		return false
	case ReasonMalformed, ReasonOversized, ReasonNonCanonical, ReasonWrongNetwork, ReasonBadSignature, ReasonExpired,
		ReasonOverflow, ReasonUnbalanced, ReasonZeroAmount, ReasonNoInputs, ReasonNoOutputs, ReasonDuplicateInput,
		ReasonConsumed, ReasonWrongOwner, ReasonWrongAmount, ReasonElsewhere, ReasonFeeTooLow, ReasonCancelled:
		// All reasons are listed, so that the linter asks for a decision about each new one.
	}
	return true
}

// Refusal is the reason why a transaction was refused. A nil *Refusal means that it was not.
type Refusal struct {
	Reason Reason
	Detail string // a sentence with the values at fault
	Busy   *Busy  // with ReasonShardBusy, the shard; nil in a block
}

// Error is the text of the reason and the detail.
func (r *Refusal) Error() string { return r.Reason.String() + ": " + r.Detail }

// Final reports whether the transaction can never settle.
func (r *Refusal) Final() bool { return r.Reason.Final() }

func refuse(r Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: r, Detail: fmt.Sprintf(format, args...)}
}
