package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// PayloadVersion is the version of a payload's encoding, its first byte.
const PayloadVersion = 1

// Limits of a payload, which is the content of one batch of a lane: bytes of the encoding and number of entries.
const (
	MaxPayloadBytes   = 4 << 20
	MaxPayloadEntries = 16384
)

// KindID is the byte that identifies the kind of an entry.
type KindID byte

// The kinds of entries.
const (
	KindTx       KindID = 1 // a transaction
	KindEvidence KindID = 2 // proof that a shard broke the rules of settlement
	KindContinue KindID = 3 // no content: a replica asks for a block
	KindCancel   KindID = 4 // a CL: another shard certified that a transaction can never be spent there
)

// Notice is an entry of a batch other than a transaction. It is immutable.
type Notice interface {
	// Encode is the canonical content of the entry.
	Encode() []byte
	// Check verifies everything that does not need the state of the ledger. An error makes the batch malformed.
	Check(scheme sig.Scheme) error
	// Execute applies the entry to the state. An error is an error of the store.
	Execute(s *BlockState) error
}

// Kind is a kind of entry other than transactions.
type Kind struct {
	ID       KindID
	Name     string
	MaxBytes int // greatest length of the content
	Decode   func(content []byte) (Notice, error)
}

// Continue is a notice without content. A replica puts it into a batch while verdicts wait to be sent. It causes a
// further block: without it, an idle shard would send these verdicts only with the next transaction.
type Continue struct{}

// Encode implements [Notice].
func (Continue) Encode() []byte { return nil }

// Check implements [Notice].
func (Continue) Check(sig.Scheme) error { return nil }

// Execute implements [Notice].
func (Continue) Execute(*BlockState) error { return nil }

// ContinueKind is the kind of [Continue].
func ContinueKind() Kind {
	return Kind{ID: KindContinue, Name: "continue", Decode: func([]byte) (Notice, error) { return Continue{}, nil }}
}

// Kinds is the table of all kinds of entries other than transactions. All replicas of a shard must use the same
// table. The nil Kinds allow transactions only.
type Kinds []Kind

func (k Kinds) of(id KindID) *Kind {
	for i := range k {
		if k[i].ID == id {
			return &k[i]
		}
	}
	return nil
}

// Sizes in bytes that a payload adds to the content of its entries.
const (
	payloadHead  = 1 + 4
	payloadEntry = 1 + 4
)

// Payload is the content of one batch of a lane, decoded. It is immutable.
type Payload struct {
	Notices []Notice // encoded and executed before the transactions
	Txs     []*Tx
	Opaque  Opaque // in place of both, in a shard that orders opaque payloads
}

// Len is the number of entries.
func (p *Payload) Len() int { return len(p.Notices) + len(p.Txs) + p.Opaque.count }

// Entries is the number of transactions, or of opaque payloads.
func (p *Payload) Entries() int { return len(p.Txs) + p.Opaque.count }

// PayloadSize is the length in bytes of a payload of count entries whose contents have the given bytes in all.
func PayloadSize(count, bytes int) int { return payloadHead + count*payloadEntry + bytes }

// RawNotice is an encoded entry other than a transaction.
type RawNotice struct {
	Kind    KindID
	Content []byte
}

// Size is the number of bytes by which the entry makes a payload longer.
func (n *RawNotice) Size() int { return payloadEntry + len(n.Content) }

// EncodePayload encodes a payload: version 1 byte, number of entries 4, and for each entry kind 1, length 4 and
// content; notices come before the transactions. It panics if there are no entries, or more entries or bytes than the
// limits allow.
func EncodePayload(txs [][]byte, notices ...RawNotice) []byte {
	size := 0
	for _, raw := range txs {
		size += len(raw)
	}
	for _, n := range notices {
		size += len(n.Content)
	}
	count := len(txs) + len(notices)
	if size = PayloadSize(count, size); count == 0 || count > MaxPayloadEntries || size > MaxPayloadBytes {
		panic(fmt.Sprintf("ledger: a payload of %d entries in %d bytes", count, size))
	}
	b := wire.AppendU32(append(make([]byte, 0, size), PayloadVersion), uint32(count))
	for _, n := range notices {
		b = wire.AppendBytes(append(b, byte(n.Kind)), n.Content)
	}
	for _, raw := range txs {
		b = wire.AppendBytes(append(b, byte(KindTx)), raw)
	}
	return b
}

// NewPayload is the payload that [EncodePayload] encodes, of transactions that are decoded already. It decodes the notices.
func NewPayload(kinds Kinds, txs []*Tx, notices []RawNotice) (*Payload, error) {
	p := &Payload{Txs: txs}
	for i := range notices {
		n := &notices[i]
		kind := kinds.of(n.Kind)
		switch {
		case kind == nil:
			return nil, fmt.Errorf("%w: kind %d is unknown", wire.ErrMalformed, n.Kind)
		case len(n.Content) > kind.MaxBytes:
			return nil, fmt.Errorf("%w: %s of %d bytes, at most %d allowed", wire.ErrMalformed, kind.Name, len(n.Content), kind.MaxBytes)
		}
		if err := p.notice(kind, n.Content); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// DecodePayload decodes a payload. Its entries alias b, so b must not change afterwards. It checks the encoding only;
// [CheckPayload] checks fields and signatures too.
func DecodePayload(kinds Kinds, b []byte) (*Payload, error) {
	if len(b) > MaxPayloadBytes {
		return nil, fmt.Errorf("%w: a payload of %d bytes, at most %d allowed", wire.ErrMalformed, len(b), MaxPayloadBytes)
	}
	r := wire.NewReader(b)
	if v := r.U8(); v != PayloadVersion && r.Err() == nil {
		return nil, fmt.Errorf("%w: payload version %d is unknown", wire.ErrMalformed, v)
	}
	n := int(r.U32())
	if r.Err() == nil && (n == 0 || n > MaxPayloadEntries || n*payloadEntry > r.Len()) {
		return nil, fmt.Errorf("%w: a payload of %d entries in %d bytes", wire.ErrMalformed, n, r.Len())
	}
	if r.Err() == nil && kinds.of(KindOpaque) != nil {
		return decodeOpaque(n, r.Raw(r.Len()))
	}
	p := &Payload{Txs: make([]*Tx, 0, min(n, r.Len()/(payloadEntry+minTxBytes)))}
	for i := 0; i < n && r.Err() == nil; i++ {
		if err := p.read(kinds, r); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return p, nil
}

// read decodes the next entry.
func (p *Payload) read(kinds Kinds, r *wire.Reader) error {
	id := KindID(r.U8())
	if id == KindTx {
		raw := r.Bytes(MaxTxBytes)
		if r.Err() != nil {
			return r.Err()
		}
		tx, err := DecodeTx(raw)
		if err != nil {
			return err
		}
		p.Txs = append(p.Txs, tx)
		return nil
	}
	kind := kinds.of(id)
	switch {
	case r.Err() != nil:
		return r.Err()
	case kind == nil:
		return fmt.Errorf("%w: kind %d is unknown", wire.ErrMalformed, id)
	case len(p.Txs) > 0:
		return fmt.Errorf("%w: entry of kind %s follows a transaction", wire.ErrMalformed, kind.Name)
	}
	content := r.Bytes(kind.MaxBytes)
	if r.Err() != nil {
		return r.Err()
	}
	return p.notice(kind, content)
}

// notice decodes a notice and adds it.
func (p *Payload) notice(kind *Kind, content []byte) error {
	notice, err := kind.Decode(content)
	if err != nil {
		return fmt.Errorf("%s: %w", kind.Name, err)
	}
	p.Notices = append(p.Notices, notice)
	return nil
}

// CheckPayload decodes a payload and verifies everything that does not need the state of the ledger; the signatures
// of all transactions are verified together. If any entry is wrong, the whole payload is malformed, which is the
// fault of the lane's owner. It may be called concurrently if scheme may.
func CheckPayload(kinds Kinds, scheme sig.Scheme, network digest.Digest, b []byte) (*Payload, error) {
	p, err := CheckForm(kinds, scheme, network, b)
	if err != nil {
		return nil, err
	}
	if err := p.CheckSignatures(scheme, nil); err != nil {
		return nil, err
	}
	return p, nil
}

// CheckForm is like [CheckPayload] without the signatures of transactions.
func CheckForm(kinds Kinds, scheme sig.Scheme, network digest.Digest, b []byte) (*Payload, error) {
	p, err := DecodePayload(kinds, b)
	if err != nil {
		return nil, err
	}
	if p.Opaque.count > 0 {
		p.Opaque.Root() // here, since payloads are checked by several goroutines at a time, and executed by one
		return p, nil
	}
	for i, tx := range p.Txs {
		if r := tx.Check(network); r != nil {
			return nil, fmt.Errorf("transaction %s, entry %d: %w", tx.ID(), len(p.Notices)+i, r)
		}
	}
	for i, n := range p.Notices {
		if err := n.Check(scheme); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return p, nil
}

// AppendSigItems appends the signatures of all transactions to a list of checks.
func (p *Payload) AppendSigItems(items []sig.Check) []sig.Check {
	for _, tx := range p.Txs {
		items = tx.appendSigItems(items)
	}
	return items
}

// CheckSignatures verifies the signatures of all transactions that are not known together; then all are known. The error names
// the first transaction whose signature does not verify.
func (p *Payload) CheckSignatures(scheme sig.Scheme, known *KnownTxs) error {
	items := known.AppendUnknown(make([]sig.Check, 0, len(p.Txs)+len(p.Txs)/8), p.Txs)
	if len(items) == 0 || scheme.VerifyAll(items) {
		known.AddOwn(p.Txs...)
		return nil
	}
	for i, tx := range p.Txs {
		if r := badSignature(scheme, tx); r != nil {
			return fmt.Errorf("transaction %s, entry %d: %w", tx.ID(), len(p.Notices)+i, r)
		}
	}
	return errBrokenScheme
}
