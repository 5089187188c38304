package adversary

import (
	"fmt"
	"slices"

	"bdtnode/node/sim/network"
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
	votes   votes
	qcs     []*bolt.QC              // of the newest epoch, in order, and the last of the epoch before
	tips    []*lanes.TipCertificate // received lately
	said    []*bdt.Status           // own, of past epochs
	claimed map[uint64]*bdt.Status  // by epoch: the false claim, for the replicas that receive it
	tally
}

func (a *StaleStatus) String() string { return fmt.Sprintf("sends %.0f %% false Status", 100*a.Rate) }

// Receive collects the data that it may claim: QCs from votes, and certificates of tips.
func (a *StaleStatus) Receive(v *View, from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *bolt.Vote:
		a.countVote(v, from, x)
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

func (a *StaleStatus) countVote(v *View, from protocols.Index, x *bolt.Vote) {
	qc := a.votes.count(v, from, x)
	if qc == nil {
		return
	}
	if k := len(a.qcs); k > 0 && a.qcs[k-1].Epoch < x.Epoch {
		a.qcs = a.qcs[k-1:]
	}
	a.qcs = append(a.qcs, qc)
}

func (a *StaleStatus) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	rng := v.Rand
	switch x := m.(type) {
	case *bdt.Status:
		if k := len(a.said); k == 0 || a.said[k-1].Epoch < x.Epoch {
			a.said = append(a.said, x)
		}
		if rng.Float64() >= a.Rate {
			return Unchanged(m)
		}
		return a.falsified(v, x)
	case *bolt.Vote:
		a.countVote(v, v.Self, x)
	case *bolt.Propose:
		if x.Leader == v.Self && x.Block.Slot > 2 && rng.Float64() < a.Rate/8 {
			return a.onAnOlderBlock(v, x)
		}
	}
	out := Unchanged(m)
	if len(a.said) > 0 && rng.IntN(40) == 0 {
		a.note("of a past epoch")
		return append(out, Unchanged(a.said[rng.IntN(len(a.said))])...)
	}
	return out
}

// onAnOlderBlock proposes a block that skips the block before.
func (a *StaleStatus) onAnOlderBlock(v *View, p *bolt.Propose) []network.Packet {
	parent := v.Block(p.Block.Height - 1)
	if parent == nil {
		return Unchanged(p)
	}
	a.note("on an older block")
	b := *p.Block
	b.Parent = parent.Parent
	if v.Rand.IntN(2) == 0 {
		b.Height = parent.Height
	}
	return Unchanged(v.signPropose(&b, p.Certificates))
}

// falsified is a Status in place of s. It is well-formed if it is only old, else receivers must refuse it.
func (a *StaleStatus) falsified(v *View, s *bdt.Status) []network.Packet {
	rng := v.Rand
	if a.claimed == nil {
		a.claimed = make(map[uint64]*bdt.Status)
	}
	if rng.IntN(2) == 0 {
		if a.claimed[s.Epoch] == nil || rng.IntN(4) == 0 { // sometimes two different ones
			a.claimed[s.Epoch] = a.less(v, s)
		}
		return Unchanged(a.claimed[s.Epoch])
	}
	x := copied(v, s)
	why := a.more(v, x)
	if why == "" {
		return Unchanged(s)
	}
	a.note(why)
	return append(forged(v.signStatus(x), why), Unchanged(s)...)
}

// less is a Status that claims less than s and has proofs for all its claims.
func (a *StaleStatus) less(v *View, s *bdt.Status) *bdt.Status {
	rng := v.Rand
	x := copied(v, s)
	var old []*bolt.QC
	for _, q := range a.qcs {
		if q.Epoch == s.Epoch && q.Slot < s.Slot {
			old = append(old, q)
		}
	}
	switch {
	case len(old) > 0 && rng.IntN(3) > 0:
		a.note("an older QC")
		x.QC = old[rng.IntN(len(old))]
		x.Slot, x.Digest = x.QC.Slot, x.QC.Digest
	case s.Slot > 0:
		a.note("no QC")
		x.QC, x.Slot, x.Digest = nil, 0, [32]byte{}
	}
	switch rng.IntN(3) {
	case 0: // no certified tip
		if len(x.Certificates)+len(x.Deliveries) > 0 {
			a.note("no tips")
		}
		clear(x.Cut)
		clear(x.Inbound)
		x.Certificates, x.Deliveries = nil, nil
	case 1: // tips certified earlier
		for _, t := range a.tips {
			if t.Tip.Seq < x.Cut[t.Lane].Seq || x.Cut[t.Lane].Seq == 0 {
				a.note("older tips")
				x.Certificates = slices.DeleteFunc(x.Certificates, func(c *lanes.TipCertificate) bool { return c.Lane == t.Lane })
				x.Certificates = append(x.Certificates, t)
				x.Cut[t.Lane] = t.Tip
			}
		}
		slices.SortFunc(x.Certificates, func(a, b *lanes.TipCertificate) int { return int(a.Lane) - int(b.Lane) })
	}
	x.TimeMS = []uint64{0, x.TimeMS, ^uint64(0)}[rng.IntN(3)]
	return v.signStatus(x)
}

// more makes x claim more than its proofs show. It returns the kind of the claim, empty if there is no data for one.
func (a *StaleStatus) more(v *View, x *bdt.Status) string {
	rng := v.Rand
	c := v.Committee
	if rng.IntN(2) == 0 || x.QC == nil {
		return a.moreTips(v, x)
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
		q.Certificate = v.alone(v.signVote(x.Epoch, x.Slot, x.Digest).Signature)
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
	q.Certificate = v.certificate(c.Quorum(), v.signVote(x.Epoch, x.Slot, x.Digest).Signature)
	return "a QC with made-up signatures"
}

func (a *StaleStatus) moreTips(v *View, x *bdt.Status) string {
	rng := v.Rand
	c := v.Committee
	if len(x.Certificates) == 0 {
		lane := protocols.Index(rng.IntN(c.N()))
		x.Cut[lane] = lanes.Tip{Seq: 1 + rng.Uint64N(100), Digest: invented(rng.Uint64N(5))}
		x.Certificates = []*lanes.TipCertificate{{Certificate: v.certificate(c.Quorum(), v.signAck(lane, x.Cut[lane]).Signature)}}
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
	t.Certificate = v.alone(v.signAck(t.Lane, t.Tip).Signature)
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
