package ledger

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
)

// VerifiedTx is a transaction that passed [Tx.Check] and whose signatures were verified. Only [VerifyTx] and [VerifyTxs]
// make one; the zero VerifiedTx has no transaction.
type VerifiedTx struct{ tx *Tx }

// Tx is the transaction.
func (v VerifiedTx) Tx() *Tx { return v.tx }

// VerifyTx decodes one transaction, checks it and verifies its signatures. Its error is a *[Refusal].
func VerifyTx(scheme sig.Scheme, network digest.Digest, raw []byte) (VerifiedTx, error) {
	tx, err := DecodeTx(raw)
	if err != nil {
		return VerifiedTx{}, err
	}
	verified, refusals := VerifyTxs(scheme, network, nil, []*Tx{tx})
	if refusals[0] != nil {
		return VerifiedTx{}, refusals[0]
	}
	return verified[0], nil
}

// VerifyTxs checks decoded transactions and verifies their signatures, all together if they are good. For each
// transaction, either verified has it or refusals has the reason. The signatures of known transactions are not verified
// again, and the verified ones are known from then on. VerifyTxs panics if the scheme accepts the signatures
// of a transaction one by one but not together.
func VerifyTxs(scheme sig.Scheme, network digest.Digest, known *KnownTxs, txs []*Tx) (verified []VerifiedTx, refusals []*Refusal) {
	verified, refusals = make([]VerifiedTx, len(txs)), make([]*Refusal, len(txs))
	sound := make([]*Tx, 0, len(txs))
	for i, tx := range txs {
		if refusals[i] = tx.Check(network); refusals[i] == nil {
			sound = append(sound, tx)
		}
	}
	checks := known.AppendUnknown(nil, sound)
	together := len(checks) == 0 || scheme.VerifyAll(checks)
	good := sound[:0]
	for i, tx := range txs {
		if refusals[i] == nil && !together && !scheme.VerifyAll(tx.SigItems()) {
			if refusals[i] = badSignature(scheme, tx); refusals[i] == nil {
				panic(fmt.Sprintf("ledger: transaction %s: %v", tx.id, errBrokenScheme))
			}
		}
		if refusals[i] == nil {
			verified[i] = VerifiedTx{tx}
			good = append(good, tx)
		}
	}
	known.AddOwn(good...)
	return verified, refusals
}

var errBrokenScheme = errors.New("the signatures verify one by one but not together: the signature scheme is broken")

// badSignature returns the refusal for the first signature that does not verify by itself, or nil.
func badSignature(scheme sig.Scheme, tx *Tx) *Refusal {
	for _, it := range tx.SigItems() {
		if !scheme.Verify(it) {
			return refuse(ReasonBadSignature, "the signature of key %s does not verify", it.Key)
		}
	}
	return nil
}
