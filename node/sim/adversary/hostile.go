package adversary

import (
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/certify"
	"bdtnode/shard/settlement"
)

// Hostile is a shard with more than f Byzantine replicas, seen from other shards: f+1 of its replicas certify LDs that
// it did not make. Inside the shard there is no fault. Other shards must freeze its channel, each on all replicas at
// one height, and keep every guarantee for transactions that do not involve it.
type Hostile interface {
	String() string
	// Falsify returns the delivery that the shard certifies in place of d, which has entries. two is a second delivery
	// that it certifies under the same number for some replicas, nil if there is none. sent are the entries that it
	// sent to that shard before. It is called until it returns true: a delivery is false.
	Falsify(d ledger.Delivery, sent []ledger.Entry) (one ledger.Delivery, two *ledger.Delivery, done bool)
}

// TwoLDs gives some replicas another LD than others under one number.
type TwoLDs struct{}

func (TwoLDs) String() string { return "hostile: two LDs under one number" }

func (TwoLDs) Falsify(d ledger.Delivery, _ []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	other := d
	other.Entries = nil
	return d, &other, true
}

// SecondSpent repeats a SPENT some LDs later.
type SecondSpent struct{}

func (SecondSpent) String() string { return "hostile: a second SPENT" }

func (SecondSpent) Falsify(d ledger.Delivery, sent []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	for _, e := range sent {
		if e.Verdict == ledger.VerdictSpent && len(sent) > 6 {
			d.Entries = append([]ledger.Entry{e}, d.Entries...)
			return d, nil, true
		}
	}
	return d, nil, false
}

// BrokenLD certifies an LD that breaks a rule which needs no state.
type BrokenLD struct{}

func (BrokenLD) String() string { return "hostile: an LD against the rules" }

func (BrokenLD) Falsify(d ledger.Delivery, _ []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	d.Entries = append(d.Entries[:len(d.Entries):len(d.Entries)], d.Entries[0])
	return d, nil, true
}

// Canceller is a hostile shard that also makes CLs.
type Canceller interface {
	Hostile
	// CLs returns the CLs that the shard publishes besides an LD, signed by f+1 replicas.
	CLs(ld *settlement.LD, n *settlement.Network, signers []sig.Signer) []*settlement.CL
}

// CancelledAndSpent sends a CL besides each SPENT. Its LDs are those that it made.
type CancelledAndSpent struct{}

func (CancelledAndSpent) String() string { return "hostile: a CL and SPENT" }

func (CancelledAndSpent) Falsify(d ledger.Delivery, _ []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	return d, nil, slices.ContainsFunc(d.Entries, func(e ledger.Entry) bool { return e.Verdict == ledger.VerdictSpent })
}

// CLs implements [Canceller].
func (CancelledAndSpent) CLs(ld *settlement.LD, n *settlement.Network, signers []sig.Signer) (out []*settlement.CL) {
	for _, e := range ld.Delivery.Entries {
		if e.Verdict == ledger.VerdictSpent {
			out = append(out, HostileCL(n, ld.Delivery.Source, e.Tx, signers))
		}
	}
	return out
}

// HostileCL is a CL that f+1 replicas of a shard sign for any transaction.
func HostileCL(n *settlement.Network, source uint16, tx *ledger.Tx, signers []sig.Signer) *settlement.CL {
	c := n.Committee(source)
	d := cancel.DigestOf(tx.Encode())
	tally := protocols.NewTally(d)
	for i := range c.WeakQuorum() {
		tally.Add(protocols.Index(i), signers[i].Sign(cancel.Statement(c, d)))
	}
	cl, err := settlement.NewCL(n, source, &cancel.Certified{Content: tx.Encode(), Certificate: tally.Certificate()})
	if err != nil {
		panic(err) // the transaction is an encoded one
	}
	return cl
}

// HostileChannel has the deliveries that a hostile shard certifies for another shard.
type HostileChannel struct {
	False bool // one delivery is false

	lds  [][2]*ledger.Delivery // by number from 1; the second one is nil but for one number
	sent []ledger.Entry
}

// Made records the delivery that a hostile shard certifies in place of one that it made.
func (c *HostileChannel) Made(h Hostile, made *ledger.Delivery) {
	d := *made
	d.Previous = digest.Digest{}
	if n := len(c.lds); n > 0 {
		d.Previous = c.lds[n-1][0].Digest()
	}
	var two *ledger.Delivery
	if !c.False && len(d.Entries) > 0 {
		d, two, c.False = h.Falsify(d, c.sent)
	}
	c.sent = append(c.sent, made.Entries...)
	pair := [2]*ledger.Delivery{ledger.NewDelivery(d)}
	if two != nil {
		pair[1] = ledger.NewDelivery(*two)
	}
	c.lds = append(c.lds, pair)
}

// Certified reports whether the shard certified a delivery.
func (c *HostileChannel) Certified(d *ledger.Delivery) bool {
	if d.Number > uint64(len(c.lds)) {
		return false
	}
	pair := c.lds[d.Number-1]
	return pair[0].Digest() == d.Digest() || pair[1] != nil && pair[1].Digest() == d.Digest()
}

// Delivery is the delivery with a number that the shard gives to a replica of the other shard.
func (c *HostileChannel) Delivery(number uint64, to protocols.Index) *ledger.Delivery {
	pair := c.lds[number-1]
	if pair[1] != nil && to%2 == 1 {
		return pair[1]
	}
	return pair[0]
}

// Recertified is an LD with another delivery, certified by f+1 replicas.
func Recertified(ld *settlement.LD, d *ledger.Delivery, c *protocols.Committee, signers []sig.Signer) *settlement.LD {
	x := *ld
	x.Delivery = d
	enclose(&x)
	header := x.Header.Digest()
	tally := protocols.NewTally(header)
	for i := range c.WeakQuorum() {
		tally.Add(protocols.Index(i), signers[i].Sign(certify.Statement(c, x.Header.Height, header)))
	}
	x.Certificate = tally.Certificate()
	return &x
}
