package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// TxVersion is the version of a transaction's encoding, its first byte.
const TxVersion = 1

// Limits of a transaction: MaxInputs and MaxOutputs are counts, MaxTxBytes bounds the encoding in bytes. The encoding
// of a transaction with 64 inputs, each with its own key, and 64 outputs takes 11.4 kB.
const (
	MaxInputs  = 64
	MaxOutputs = 64
	MaxTxBytes = 16 << 10
)

// Sizes in bytes of the parts of an encoding.
const (
	outpointSize = digest.Size + 2
	inputSize    = outpointSize + sig.PublicKeySize + 8
	outputSize   = digest.Size + 8
	minTxBytes   = 1 + digest.Size + 8 + 1 + 1 + 8
)

// Tags under which transactions are hashed.
const (
	tagTx      = "bdt/tx/1"
	tagSigning = "bdt/tx-signing/1"
)

// Input spends one output completely; an output is never spent in part.
type Input struct {
	Outpoint Outpoint
	Key      sig.PublicKey // public key of the owner, whose signature is required
	Amount   uint64        // declared amount of the output; the transaction is rejected if it differs
}

// Output gives an amount, which is not 0, to an address.
type Output struct {
	Address Address
	Amount  uint64
}

// Body is the part of a transaction that the owners of its inputs sign: everything but the signatures.
type Body struct {
	Network  digest.Digest // id of the genesis
	ExpiryMS uint64        // last block time at which it may settle, Unix milliseconds
	Inputs   []Input
	Outputs  []Output
	Fee      uint64 // burned
}

// Tx is a signed transaction, decoded. It is immutable and keeps the bytes it was decoded from.
type Tx struct {
	Body
	Signatures []sig.Signature // one for each distinct key, in the order in which keys first appear in Inputs
	raw        []byte
	id         TxID
	owners     []Address // of each input's key
}

// Sign makes the signed transaction. Each distinct key of the inputs needs one signer; the order of the signers is
// free. It is an error if there are more inputs or outputs than the limits allow, or if a key has no signer.
func (b *Body) Sign(signers ...sig.Signer) (*Tx, error) {
	if len(b.Inputs) > MaxInputs || len(b.Outputs) > MaxOutputs {
		return nil, fmt.Errorf("a transaction has at most %d inputs and %d outputs, this one has %d inputs and %d outputs", MaxInputs, MaxOutputs, len(b.Inputs), len(b.Outputs))
	}
	raw := b.append(make([]byte, 0, b.size()+sig.SignatureSize*len(signers)))
	message := signingDigest(raw)
next:
	for _, i := range firstOfKey(b.Inputs) {
		key := b.Inputs[i].Key
		for _, s := range signers {
			if s.Public() == key {
				signature := s.Sign(message[:])
				raw = append(raw, signature[:]...)
				continue next
			}
		}
		return nil, fmt.Errorf("no signer for key %s of input %d", key, i)
	}
	tx, err := DecodeTx(raw)
	if err != nil {
		return nil, fmt.Errorf("sign a transaction: %w", err)
	}
	return tx, nil
}

func (b *Body) size() int {
	return minTxBytes + inputSize*len(b.Inputs) + outputSize*len(b.Outputs)
}

func (b *Body) append(p []byte) []byte {
	p = append(p, TxVersion)
	p = append(p, b.Network[:]...)
	p = wire.AppendU64(p, b.ExpiryMS)
	p = append(p, byte(len(b.Inputs)))
	for i := range b.Inputs {
		in := &b.Inputs[i]
		p = in.Outpoint.append(p)
		p = append(p, in.Key[:]...)
		p = wire.AppendU64(p, in.Amount)
	}
	p = append(p, byte(len(b.Outputs)))
	for i := range b.Outputs {
		p = append(p, b.Outputs[i].Address[:]...)
		p = wire.AppendU64(p, b.Outputs[i].Amount)
	}
	return wire.AppendU64(p, b.Fee)
}

func (o Outpoint) append(p []byte) []byte { return wire.AppendU16(append(p, o.Tx[:]...), o.Index) }

// DecodeTx decodes the canonical encoding of a transaction: version 1 byte, network 32, expiry 8, number of inputs 1,
// for each input outpoint 34, key 32 and amount 8, number of outputs 1, for each output address 32 and amount 8, fee
// 8, and signatures of 64 bytes, one for each distinct key. Its error is a *[Refusal]. The transaction aliases raw,
// so raw must not change afterwards. DecodeTx checks the encoding only: [Tx.Check] checks the fields, and the
// signatures have to be verified, see [Tx.SigItems].
func DecodeTx(raw []byte) (*Tx, error) {
	if len(raw) > MaxTxBytes {
		return nil, refuse(ReasonOversized, "%d bytes, at most %d allowed", len(raw), MaxTxBytes)
	}
	r := wire.NewReader(raw)
	if v := r.U8(); v != TxVersion && r.Err() == nil {
		return nil, refuse(ReasonMalformed, "transaction version %d is unknown, this program reads %d", v, TxVersion)
	}
	tx := &Tx{raw: raw[:len(raw):len(raw)]}
	r.Fixed(tx.Network[:])
	tx.ExpiryMS = r.U64()
	tx.Inputs = make([]Input, readCount(r, "inputs", MaxInputs, inputSize))
	for i := range tx.Inputs {
		in := &tx.Inputs[i]
		r.Fixed(in.Outpoint.Tx[:])
		in.Outpoint.Index = r.U16()
		r.Fixed(in.Key[:])
		in.Amount = r.U64()
	}
	tx.Outputs = make([]Output, readCount(r, "outputs", MaxOutputs, outputSize))
	for i := range tx.Outputs {
		r.Fixed(tx.Outputs[i].Address[:])
		tx.Outputs[i].Amount = r.U64()
	}
	tx.Fee = r.U64()
	tx.Signatures = make([]sig.Signature, countKeys(tx.Inputs))
	for i := range tx.Signatures {
		r.Fixed(tx.Signatures[i][:])
	}
	if err := r.Err(); err != nil {
		return nil, refuse(ReasonMalformed, "%v", err)
	}
	if n := r.Len(); n > 0 {
		return nil, refuse(ReasonNonCanonical, "%d bytes left over", n)
	}
	tx.id = TxID(digest.Of(tagTx, raw))
	tx.owners = make([]Address, len(tx.Inputs))
	for i := range tx.Inputs {
		if i > 0 && tx.Inputs[i].Key == tx.Inputs[i-1].Key {
			tx.owners[i] = tx.owners[i-1]
		} else {
			tx.owners[i] = AddressOf(tx.Inputs[i].Key)
		}
	}
	return tx, nil
}

func readCount(r *wire.Reader, items string, limit, size int) int {
	n := int(r.U8())
	if n > limit {
		r.Fail("%d %s, at most %d allowed", n, items, limit)
	}
	if n*size > r.Len() {
		r.Fail("%d %s in %d bytes", n, items, r.Len())
	}
	if r.Err() != nil {
		return 0
	}
	return n
}

// Encode returns the canonical encoding. The caller must not change it.
func (t *Tx) Encode() []byte { return t.raw }

// ID is the tagged hash of the whole encoding, signatures included.
func (t *Tx) ID() TxID { return t.id }

// SigningDigest is the message that each owner signs: the tagged hash of the encoding without signatures.
func (t *Tx) SigningDigest() digest.Digest {
	return signingDigest(t.raw[:len(t.raw)-sig.SignatureSize*len(t.Signatures)])
}

func signingDigest(body []byte) digest.Digest { return digest.Of(tagSigning, body) }

// SigItems lists the signatures to verify, one for each distinct key. Callers collect those of many transactions and
// verify them together.
func (t *Tx) SigItems() []sig.Check { return t.appendSigItems(nil) }

func (t *Tx) appendSigItems(items []sig.Check) []sig.Check {
	message := t.SigningDigest()
	for k, i := range firstOfKey(t.Inputs) {
		items = append(items, sig.Check{Key: t.Inputs[i].Key, Message: message[:], Signature: t.Signatures[k]})
	}
	return items
}

// firstOfKey lists the indexes of the inputs whose key does not occur in an earlier input. There are at most 64
// inputs, so comparing each with the earlier ones is cheaper than a map.
func firstOfKey(inputs []Input) []int {
	first := make([]int, 0, 4)
next:
	for i := range inputs {
		for _, j := range first {
			if inputs[j].Key == inputs[i].Key {
				continue next
			}
		}
		first = append(first, i)
	}
	return first
}

func countKeys(inputs []Input) int {
	if len(inputs) < 2 {
		return len(inputs)
	}
	return len(firstOfKey(inputs))
}

// Check returns the first rule that the transaction violates for every state of the ledger, or nil. It checks
// network, counts, amounts and balance; it does not verify signatures.
func (t *Tx) Check(network digest.Digest) *Refusal {
	switch {
	case t.Network != network:
		return refuse(ReasonWrongNetwork, "made for network %s, this network is %s", t.Network.Short(), network.Short())
	case len(t.Inputs) == 0:
		return refuse(ReasonNoInputs, "at least one input is needed")
	case len(t.Outputs) == 0:
		return refuse(ReasonNoOutputs, "at least one output is needed")
	}
	var in, out uint64
	for i := range t.Inputs {
		if t.Inputs[i].Amount == 0 {
			return refuse(ReasonZeroAmount, "input %d has amount 0", i)
		}
		for j := range i {
			if t.Inputs[j].Outpoint == t.Inputs[i].Outpoint {
				return refuse(ReasonDuplicateInput, "inputs %d and %d spend the same output", j, i)
			}
		}
		if in += t.Inputs[i].Amount; in < t.Inputs[i].Amount {
			return refuse(ReasonOverflow, "inputs add up to more than 64 bits")
		}
	}
	for i := range t.Outputs {
		if t.Outputs[i].Amount == 0 {
			return refuse(ReasonZeroAmount, "output %d has amount 0", i)
		}
		if out += t.Outputs[i].Amount; out < t.Outputs[i].Amount {
			return refuse(ReasonOverflow, "outputs add up to more than 64 bits")
		}
	}
	if out += t.Fee; out < t.Fee {
		return refuse(ReasonOverflow, "outputs and fee add up to more than 64 bits")
	}
	if in != out {
		return refuse(ReasonUnbalanced, "the inputs add up to %d, outputs and fee to %d", in, out)
	}
	return nil
}
