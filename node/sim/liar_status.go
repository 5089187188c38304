package sim

import (
	"fmt"
	"slices"

	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// StaleStatus claims less than it knows when an epoch ends, with valid old proofs, or more, with invalid proofs. It
// repeats Status of past epochs. As a leader it extends older blocks than the last.
type StaleStatus struct {
	Rate    float64 // share of false Status
	votes   map[bolt.Vote]*protocols.Tally
	qcs     []*bolt.QC              // of the newest epoch, in order, and the last of the epoch before
	tips    []*lanes.TipCertificate // received lately
	said    []*bdt.Status           // own, of past epochs
	claimed map[uint64]*bdt.Status  // by epoch: the false claim, for the replicas that receive it
	lies    lies
}

func (a *StaleStatus) String() string { return fmt.Sprintf("sends %.0f %% false Status", 100*a.Rate) }

// hear collects the data that it may claim: QCs from votes, and certificates of tips.
func (a *StaleStatus) hear(n *node, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *bolt.Vote:
		a.count(n, from, x)
	case *lanes.TipCertificate:
		a.keep(x)
	case *lanes.Batch:
		if x.Certificate != nil {
			a.keep(x.Certificate)
		}
	}
}

func (a *StaleStatus) keep(x *lanes.TipCertificate) {
	if a.tips = append(a.tips, x); len(a.tips) > 64 {
		a.tips = a.tips[1:]
	}
}

func (a *StaleStatus) count(n *node, from protocols.Index, x *bolt.Vote) {
	at := bolt.Vote{Epoch: x.Epoch, Slot: x.Slot, Digest: x.Digest}
	t := a.votes[at]
	if t == nil {
		if a.votes == nil || len(a.votes) > 1000 {
			a.votes = make(map[bolt.Vote]*protocols.Tally)
		}
		t = protocols.NewTally(x.Digest)
		a.votes[at] = t
	}
	if !t.Add(from, x.Signature) || t.Len() != n.s.committee.Quorum() {
		return
	}
	if k := len(a.qcs); k > 0 && a.qcs[k-1].Epoch < x.Epoch {
		a.qcs = a.qcs[k-1:]
	}
	a.qcs = append(a.qcs, &bolt.QC{Epoch: x.Epoch, Slot: x.Slot, Digest: x.Digest, Certificate: t.Certificate()})
}

func (a *StaleStatus) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	rng := n.s.rng
	switch x := m.(type) {
	case *bdt.Status:
		if k := len(a.said); k == 0 || a.said[k-1].Epoch < x.Epoch {
			a.said = append(a.said, x)
		}
		if rng.Float64() >= a.Rate {
			return honestly(m)
		}
		return a.lie(n, x)
	case *bolt.Vote:
		a.count(n, n.id, x)
	case *bolt.Propose:
		if x.Leader == n.id && x.Block.Slot > 2 && rng.Float64() < a.Rate/8 {
			return a.onAnOlderBlock(n, x)
		}
	}
	out := honestly(m)
	if len(a.said) > 0 && rng.IntN(40) == 0 {
		a.lies.told("of a past epoch")
		return append(out, honestly(a.said[rng.IntN(len(a.said))])...)
	}
	return out
}

// onAnOlderBlock proposes a block that skips the block before.
func (a *StaleStatus) onAnOlderBlock(n *node, p *bolt.Propose) []packet {
	parent := n.blockBefore(p.Block)
	if parent == nil {
		return honestly(p)
	}
	a.lies.told("on an older block")
	b := *p.Block
	b.Parent = parent.Parent
	if n.s.rng.IntN(2) == 0 {
		b.Height = parent.Height
	}
	return honestly(n.signPropose(&b, p.Certificates))
}

// lie is a Status in place of s. It is well-formed if it is only old, else receivers must refuse it.
func (a *StaleStatus) lie(n *node, s *bdt.Status) []packet {
	rng := n.s.rng
	if a.claimed == nil {
		a.claimed = make(map[uint64]*bdt.Status)
	}
	if rng.IntN(2) == 0 {
		if a.claimed[s.Epoch] == nil || rng.IntN(4) == 0 { // sometimes two different ones
			a.claimed[s.Epoch] = a.less(n, s)
		}
		return honestly(a.claimed[s.Epoch])
	}
	x := copied(n, s)
	why := a.more(n, x)
	if why == "" {
		return honestly(s)
	}
	a.lies.told(why)
	return append(forged(n.signStatus(x), why), honestly(s)...)
}

// less is a Status that claims less than s and has proofs for all its claims.
func (a *StaleStatus) less(n *node, s *bdt.Status) *bdt.Status {
	rng := n.s.rng
	x := copied(n, s)
	var old []*bolt.QC
	for _, q := range a.qcs {
		if q.Epoch == s.Epoch && q.Slot < s.Slot {
			old = append(old, q)
		}
	}
	switch {
	case len(old) > 0 && rng.IntN(3) > 0:
		a.lies.told("an older QC")
		x.QC = old[rng.IntN(len(old))]
		x.Slot, x.Digest = x.QC.Slot, x.QC.Digest
	case s.Slot > 0:
		a.lies.told("no QC")
		x.QC, x.Slot, x.Digest = nil, 0, [32]byte{}
	}
	switch rng.IntN(3) {
	case 0: // no certified tip
		if len(x.Certificates)+len(x.Deliveries) > 0 {
			a.lies.told("no tips")
		}
		clear(x.Cut)
		clear(x.Inbound)
		x.Certificates, x.Deliveries = nil, nil
	case 1: // tips certified earlier
		for _, t := range a.tips {
			if t.Tip.Seq < x.Cut[t.Lane].Seq || x.Cut[t.Lane].Seq == 0 {
				a.lies.told("older tips")
				x.Certificates = slices.DeleteFunc(x.Certificates, func(c *lanes.TipCertificate) bool { return c.Lane == t.Lane })
				x.Certificates = append(x.Certificates, t)
				x.Cut[t.Lane] = t.Tip
			}
		}
		slices.SortFunc(x.Certificates, func(a, b *lanes.TipCertificate) int { return int(a.Lane) - int(b.Lane) })
	}
	x.TimeMS = []uint64{0, x.TimeMS, ^uint64(0)}[rng.IntN(3)]
	return n.signStatus(x)
}

// more makes x claim more than its proofs show. It returns the kind of the claim, empty if there is no data for one.
func (a *StaleStatus) more(n *node, x *bdt.Status) string {
	rng := n.s.rng
	c := n.s.committee
	if rng.IntN(2) == 0 || x.QC == nil {
		return a.moreTips(n, x)
	}
	q := x.QC
	switch rng.IntN(6) {
	case 0:
		x.Slot++
		return "a QC of another slot"
	case 1:
		x.Digest = invented(x.Slot)
		return "a QC of another block"
	case 2:
		if len(a.qcs) > 0 && a.qcs[0].Epoch < x.Epoch {
			x.QC = a.qcs[0]
			x.Slot, x.Digest = x.QC.Slot, x.QC.Digest
			return "a QC of another epoch"
		}
		return ""
	case 3:
		q.Certificate = n.alone(n.signVote(x.Epoch, x.Slot, x.Digest).Signature)
		return "a QC of one signer"
	case 4:
		signers := q.Certificate.Signers.Members()
		q.Certificate.Signers.Remove(signers[len(signers)-1])
		q.Certificate.Signatures = q.Certificate.Signatures[:len(signers)-1]
		if len(signers) > c.Quorum() {
			return ""
		}
		return "a QC of too few signers"
	}
	x.Slot += 1 + rng.Uint64N(20)
	x.Digest = invented(x.Slot)
	q.Certificate = n.certificate(c.Quorum(), n.signVote(x.Epoch, x.Slot, x.Digest).Signature)
	return "a QC with made-up signatures"
}

func (a *StaleStatus) moreTips(n *node, x *bdt.Status) string {
	rng := n.s.rng
	c := n.s.committee
	if len(x.Certificates) == 0 {
		lane := protocols.Index(rng.IntN(c.N()))
		x.Cut[lane] = lanes.Tip{Seq: 1 + rng.Uint64N(100), Digest: invented(rng.Uint64N(5))}
		x.Certificates = []*lanes.TipCertificate{{Certificate: n.certificate(c.Quorum(), n.signAck(lane, x.Cut[lane]).Signature)}}
		return "a tip with made-up signatures"
	}
	t := x.Certificates[rng.IntN(len(x.Certificates))]
	switch rng.IntN(4) {
	case 0:
		x.Cut[t.Lane].Seq++
		return "a certificate of another number"
	case 1:
		x.Cut[t.Lane].Digest = invented(t.Tip.Seq)
		return "a certificate of another batch"
	case 2:
		lane := protocols.Index(rng.IntN(len(x.Inbound)))
		if x.Inbound[lane].Seq > 0 {
			return ""
		}
		x.Inbound[lane] = t.Tip
		d := &inbound.TipCertificate{Source: uint16(lane), Tip: t.Tip, Certificate: t.Certificate}
		x.Deliveries = slices.Insert(x.Deliveries, claimedBelow(x.Inbound[:lane]), d)
		return "a lane's certificate for a channel"
	}
	t.Certificate = n.alone(n.signAck(t.Lane, t.Tip).Signature)
	return "a tip of one signer"
}

// claimedBelow is the number of positions that are claimed.
func claimedBelow(cut lanes.Cut) int {
	k := 0
	for _, t := range cut {
		if t.Seq > 0 {
			k++
		}
	}
	return k
}
