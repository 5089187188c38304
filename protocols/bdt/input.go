package bdt

import (
	"errors"
	"fmt"
	"slices"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// inputVersion is the first byte of an encoded [Input].
const inputVersion = 1

// Input is the value that replicas propose to the agreement that ends an epoch. It determines where the slots of the epoch
// end and which cut its last block orders. It contains the proof that it is valid.
type Input struct {
	Epoch        uint64
	Claims       []SignedClaim // n-f, in ascending order of replicas
	QC           *bolt.QC      // QC of the highest claimed slot; nil if all claims are of slot 0
	Block        *bolt.Block   // block of the QC; nil without a QC
	Cut          lanes.Cut
	Inbound      lanes.Cut
	Certificates []*lanes.TipCertificate   // for the positions in which Cut differs from that of the block
	Deliveries   []*inbound.TipCertificate // for the positions in which Inbound differs from that of the block
}

// SignedClaim is a Status without its proofs.
type SignedClaim struct {
	Replica protocols.Index
	Claim
	Signature sig.Signature
}

// Encode encodes the input as a value of the agreement.
func (x *Input) Encode() []byte {
	b := wire.AppendU64([]byte{inputVersion}, x.Epoch)
	b = wire.AppendU16(b, uint16(len(x.Claims)))
	for i := range x.Claims {
		s := &x.Claims[i]
		b = s.Claim.append(wire.AppendU16(b, uint16(s.Replica)))
		b = append(b, s.Signature[:]...)
	}
	b = wire.AppendBool(b, x.QC != nil)
	if x.QC != nil {
		b = x.Block.Append(x.QC.Append(b))
	}
	b = x.Inbound.Append(x.Cut.Append(b))
	return inbound.AppendTipCertificates(lanes.AppendTipCertificates(b, x.Certificates), x.Deliveries)
}

// DecodeInput decodes the output of Encode. It refuses claims that are not in strictly ascending order of replicas.
func DecodeInput(c *protocols.Committee, b []byte) (*Input, error) {
	r := wire.NewReader(b)
	if v := r.U8(); v != inputVersion {
		r.Fail("input of version %d, this program reads %d", v, inputVersion)
	}
	x := &Input{Epoch: r.U64()}
	n := r.Count(protocols.MaxReplicas, 2+sig.SignatureSize)
	for range n {
		s := SignedClaim{Replica: protocols.Index(r.U16())}
		s.Claim = readClaim(c, x.Epoch, r)
		r.Fixed(s.Signature[:])
		if len(x.Claims) > 0 && s.Replica <= x.Claims[len(x.Claims)-1].Replica {
			r.Fail("claims out of order")
		}
		x.Claims = append(x.Claims, s)
		if r.Err() != nil {
			break
		}
	}
	if r.Bool() {
		x.QC = bolt.ReadQC(r)
		x.Block = bolt.ReadBlock(c, r)
	}
	x.Cut, x.Inbound = lanes.ReadCut(r), lanes.ReadCut(r)
	x.Certificates, x.Deliveries = lanes.ReadTipCertificates(r), inbound.ReadTipCertificates(r)
	return x, r.Done()
}

// SignatureChecks lists the signature checks that prove the input. It returns an error for a claim of a replica outside
// the committee and for certificates with too few signers.
func (x *Input) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	checks := make([]sig.Check, 0, len(x.Claims))
	for i := range x.Claims {
		s := &x.Claims[i]
		if !c.Has(s.Replica) {
			return nil, fmt.Errorf("a claim of replica %d of %d", s.Replica, c.N())
		}
		checks = append(checks, c.SignatureCheck(s.Replica, s.statement(c), s.Signature))
	}
	return provenBy(c, checks, x.QC, x.Certificates, x.Deliveries)
}

// check is the external validity of the agreement in an epoch that began with base. It returns nil, or an error that says
// why the input is invalid. The signatures were verified before, see SignatureChecks.
func (x *Input) check(c *protocols.Committee, epoch uint64, base *bolt.Block) error {
	if x.Epoch != epoch {
		return fmt.Errorf("an input of epoch %d, want epoch %d", x.Epoch, epoch)
	}
	if len(x.Claims) != c.Quorum() {
		return fmt.Errorf("%d claims, want %d", len(x.Claims), c.Quorum())
	}
	top := x.highest()
	switch {
	case top.Slot == 0 && x.QC != nil, top.Slot > 0 && (x.QC == nil || x.QC.Slot != top.Slot || x.QC.Digest != top.Digest):
		return fmt.Errorf("the QC is not of the highest claimed slot %d", top.Slot)
	case x.QC != nil && (x.QC.Epoch != epoch || x.Block.Digest() != x.QC.Digest || x.Block.Epoch != epoch || x.Block.Slot != x.QC.Slot):
		return errors.New("the block is not that of the QC")
	}
	parent := x.parent(base)
	if len(x.Cut) != len(base.Cut) || len(x.Inbound) != len(base.Inbound) || len(parent.Inbound) != len(base.Inbound) {
		return fmt.Errorf("a cut of %d lanes and %d channels", len(x.Cut), len(x.Inbound))
	}
	if !x.Cut.Extends(parent.Cut) || !x.Inbound.Extends(parent.Inbound) {
		return errors.New("the cut does not extend that of the block")
	}
	for i := range x.Claims {
		s := &x.Claims[i]
		if len(s.Inbound) != len(base.Inbound) || !reaches(x.Cut, s.Cut) || !reaches(x.Inbound, s.Inbound) {
			return fmt.Errorf("the cut is below a tip that replica %d claims", s.Replica)
		}
	}
	return x.certified(parent)
}

// highest is the claim with the highest slot.
func (x *Input) highest() *Claim {
	top := &x.Claims[0].Claim
	for i := range x.Claims {
		if s := &x.Claims[i].Claim; s.Slot > top.Slot {
			top = s
		}
	}
	return top
}

// parent is the block that the last block of the epoch extends.
func (x *Input) parent(base *bolt.Block) *bolt.Block {
	if x.Block != nil {
		return x.Block
	}
	return base
}

// reaches reports whether the number of every position in cut is at least that in tips.
func reaches(cut, tips lanes.Cut) bool {
	for i := range tips {
		if cut[i].Seq < tips[i].Seq {
			return false
		}
	}
	return true
}

// certified checks that there are certificates for the positions in which the cut differs from that of parent, and no
// others.
func (x *Input) certified(parent *bolt.Block) error {
	k := 0
	for i, t := range x.Cut {
		if t == parent.Cut[i] {
			continue
		}
		if k == len(x.Certificates) || x.Certificates[k].Lane != protocols.Index(i) || x.Certificates[k].Tip != t {
			return fmt.Errorf("lane %d: number %d is not certified", i, t.Seq)
		}
		k++
	}
	j := 0
	for i, t := range x.Inbound {
		if t == parent.Inbound[i] {
			continue
		}
		if j == len(x.Deliveries) || x.Deliveries[j].Source != uint16(i) || x.Deliveries[j].Tip != t {
			return fmt.Errorf("channel %d: number %d is not certified", i, t.Seq)
		}
		j++
	}
	if k != len(x.Certificates) || j != len(x.Deliveries) {
		return errors.New("a certificate for a position that is not new in the cut")
	}
	return nil
}

// last is the block that ends the epoch. Its time is the median of the claimed times.
func (x *Input) last(c *protocols.Committee, base *bolt.Block) *bolt.Block {
	times := make([]uint64, len(x.Claims))
	for i := range x.Claims {
		times[i] = x.Claims[i].TimeMS
	}
	slices.Sort(times)
	return bolt.NewLast(c, x.Epoch, x.parent(base), times[len(times)/2], x.Cut, x.Inbound)
}

// newInput makes an input from n-f Status that count. base is the block that the epoch began with. block is the block of the
// highest slot that the Status claim, nil if that slot is 0.
func newInput(epoch uint64, from []protocols.Index, statuses []*Status, base, block *bolt.Block) *Input {
	x := &Input{Epoch: epoch, Block: block}
	for k, s := range statuses {
		x.Claims = append(x.Claims, SignedClaim{Replica: from[k], Claim: s.Claim, Signature: s.Signature})
		if s.Slot > 0 && (x.QC == nil || s.Slot > x.QC.Slot) {
			x.QC = s.QC
		}
	}
	parent := x.parent(base)
	x.Cut, x.Inbound = slices.Clone(parent.Cut), slices.Clone(parent.Inbound)
	tips := make([]*lanes.TipCertificate, len(x.Cut))
	lds := make([]*inbound.TipCertificate, len(x.Inbound))
	for _, s := range statuses {
		for _, t := range s.Certificates {
			if t.Tip.Seq > x.Cut[t.Lane].Seq {
				x.Cut[t.Lane], tips[t.Lane] = t.Tip, t
			}
		}
		for _, t := range s.Deliveries {
			if t.Tip.Seq > x.Inbound[t.Source].Seq {
				x.Inbound[t.Source], lds[t.Source] = t.Tip, t
			}
		}
	}
	x.Certificates = slices.DeleteFunc(tips, func(t *lanes.TipCertificate) bool { return t == nil })
	x.Deliveries = slices.DeleteFunc(lds, func(t *inbound.TipCertificate) bool { return t == nil })
	return x
}
