package replica

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/shard/settlement"
)

// maxVerified is the number of LD encodings that are remembered as verified: 4,096 digests, about 400 KiB.
const maxVerified = 4096

// NewVerifiedLDs returns an empty set of the latest 4,096 encodings that were verified. It compares encodings and not
// digests of deliveries: a delivery has one digest, and as many encodings as there are certificates, headers and paths for
// it, most of which prove nothing.
func NewVerifiedLDs() *digest.Recent { return digest.NewRecent(maxVerified) }

// Encodings is a set of [NewVerifiedLDs], possibly behind a lock.
type Encodings interface {
	Has(encoding digest.Digest) bool
	Add(encoding digest.Digest)
}

// Encoding is the digest of all bytes of an LD: header, certificate, path and delivery.
func (m *Inbound) Encoding() digest.Digest { return digest.Of("bdt/LD-encoding/1", m.Raw) }

// CheckLD verifies an LD unless the same bytes were verified before, without the signatures of transactions in txs. The error
// is nil for an LD that may be given to the [Core]. It is a [*settlement.Evidence] for an LD that its source certified against
// the rules; the peer that passed it on is innocent of that. Otherwise it is the fault of that peer.
func CheckLD(c *protocols.Committee, scheme sig.Scheme, n *settlement.Network, known Encodings, txs *ledger.KnownTxs, m *Inbound) error {
	if to := m.Content.Delivery.Destination; to != c.Shard() {
		return fmt.Errorf("an LD for shard %d came to shard %d", to, c.Shard())
	}
	encoding := m.Encoding()
	if known.Has(encoding) {
		return nil
	}
	if err := m.Content.Verify(scheme, n, txs); err != nil {
		return err
	}
	known.Add(encoding)
	return nil
}
