package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/shard/settlement"
)

// Hostile is a shard with more than f Byzantine replicas, seen from other shards: f+1 of its replicas certify LDs that
// it did not make. Inside the shard there is no fault. Other shards must freeze its channel, each on all replicas at
// one height, and keep every guarantee for transactions that do not involve it.
type Hostile interface {
	String() string
	// lie returns the delivery that the shard certifies in place of one with entries. two is a second delivery that it
	// certifies under the same number for some replicas, nil if there is none. told are the entries that it gave that
	// shard before.
	lie(d ledger.Delivery, told []ledger.Entry) (one ledger.Delivery, two *ledger.Delivery, lied bool)
}

// TwoLDs gives some replicas another LD than others under one number.
type TwoLDs struct{}

func (TwoLDs) String() string { return "hostile: two LDs under one number" }

func (TwoLDs) lie(d ledger.Delivery, _ []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	other := d
	other.Entries = nil
	return d, &other, true
}

// SecondSpent repeats a SPENT some LDs later.
type SecondSpent struct{}

func (SecondSpent) String() string { return "hostile: a second SPENT" }

func (SecondSpent) lie(d ledger.Delivery, told []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	for _, e := range told {
		if e.Verdict == ledger.VerdictSpent && len(told) > 6 {
			d.Entries = append([]ledger.Entry{e}, d.Entries...)
			return d, nil, true
		}
	}
	return d, nil, false
}

// BrokenLD certifies an LD that breaks a rule which needs no state.
type BrokenLD struct{}

func (BrokenLD) String() string { return "hostile: an LD against the rules" }

func (BrokenLD) lie(d ledger.Delivery, _ []ledger.Entry) (ledger.Delivery, *ledger.Delivery, bool) {
	d.Entries = append(d.Entries[:len(d.Entries):len(d.Entries)], d.Entries[0])
	return d, nil, true
}

// pretence has the deliveries that a hostile shard certifies for another shard.
type pretence struct {
	lds  [][2]*ledger.Delivery // by number from 1; the second one is nil but for one number
	told []ledger.Entry
	lied bool
}

// last is the digest that the next delivery follows.
func (p *pretence) last() (d digest.Digest) {
	if n := len(p.lds); n > 0 {
		d = p.lds[n-1][0].Digest()
	}
	return d
}

// pretend records the delivery that a hostile shard certifies in place of one that it made.
func (p *pretence) pretend(h Hostile, made *ledger.Delivery) {
	d := *made
	d.Previous = p.last()
	var two *ledger.Delivery
	if !p.lied && len(d.Entries) > 0 {
		d, two, p.lied = h.lie(d, p.told)
	}
	p.told = append(p.told, made.Entries...)
	pair := [2]*ledger.Delivery{ledger.NewDelivery(d)}
	if two != nil {
		pair[1] = ledger.NewDelivery(*two)
	}
	p.lds = append(p.lds, pair)
}

// said reports whether the shard certified a delivery.
func (p *pretence) said(d *ledger.Delivery) bool {
	if d.Number > uint64(len(p.lds)) {
		return false
	}
	pair := p.lds[d.Number-1]
	return pair[0].Digest() == d.Digest() || pair[1] != nil && pair[1].Digest() == d.Digest()
}

// hostile reports whether more than f of the shard's replicas are Byzantine.
func (s *cluster) hostile() bool { return s.cfg.Hostile != nil }

// hostile is the set of hostile shards.
func (w *world) hostile() (set ledger.ShardSet) {
	for _, s := range w.shards {
		if s.hostile() {
			set = set.With(s.shard)
		}
	}
	return set
}

// involved reports whether a transaction involves a hostile shard.
func (w *world) involved(tx *ledger.Tx) bool {
	return tx.Shards(w.peers.Home).All()&w.hostile() != 0
}

// pretended is the LD that a replica of a hostile shard gives to a replica of another shard in place of one that was
// made.
func (n *node) pretended(to *node, ld *settlement.LD) *settlement.LD {
	s := n.s
	pair := s.settling.channels[s.shard][to.s.shard].hostile.lds[ld.Delivery.Number-1]
	x := *ld
	x.Delivery = pair[0]
	if pair[1] != nil && to.id%2 == 1 {
		x.Delivery = pair[1]
	}
	enclose(&x)
	d := x.Header.Digest()
	tally := protocols.NewTally(d)
	for i := range s.committee.WeakQuorum() {
		tally.Add(protocols.Index(i), s.signers[i].Sign(certify.Statement(s.committee, x.Header.Height, d)))
	}
	x.Certificate = tally.Certificate()
	return &x
}
