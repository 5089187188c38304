package bdt

import (
	"errors"
	"fmt"
	"slices"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
)

// inputVersion is the first byte of an encoded [Input].
const inputVersion = 1

// Input is what replicas propose to the agreement that ends an epoch: where its slots end, and what its last block
// orders. It holds everything that shows it to be allowed.
type Input struct {
	Epoch        uint64
	Claims       []SignedClaim // n-f, in ascending order of replicas
	QC           *bolt.QC      // of the highest slot claimed; nil if all claim 0
	Block        *bolt.Block   // that QC's; nil without one
	Cut          lanes.Cut
	Inbound      lanes.Cut
	Certificates []*lanes.TipCertificate    // of the positions in which Cut differs from the block's
	Deliveries   []*channels.TipCertificate // of those in which Inbound does
}

// SignedClaim is a Status without its proofs.
type SignedClaim struct {
	Replica protocols.Index
	Claim
	Signature sig.Signature
}

// Encode is the input as a value of the agreement.
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
	return channels.AppendTipCertificates(lanes.AppendTipCertificates(b, x.Certificates), x.Deliveries)
}

// DecodeInput reads what Encode wrote.
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
	x.Certificates, x.Deliveries = lanes.ReadTipCertificates(r), channels.ReadTipCertificates(r)
	return x, r.Done()
}

// Items names the signatures that prove all of the input.
func (x *Input) Items(c *protocols.Committee) ([]sig.Item, error) {
	items := make([]sig.Item, 0, len(x.Claims))
	for i := range x.Claims {
		s := &x.Claims[i]
		if !c.Has(s.Replica) {
			return nil, fmt.Errorf("a claim of replica %d of %d", s.Replica, c.N())
		}
		items = append(items, c.Item(s.Replica, s.statement(c), s.Signature))
	}
	return provenBy(c, items, x.QC, x.Certificates, x.Deliveries)
}

// check is the agreement's external validity in an epoch that began with base: nil, or what is wrong. The signatures
// that Items names were verified.
func (x *Input) check(c *protocols.Committee, epoch uint64, base *bolt.Block) error {
	if x.Epoch != epoch {
		return fmt.Errorf("an input of epoch %d", x.Epoch)
	}
	if len(x.Claims) != c.Quorum() {
		return fmt.Errorf("%d claims, want %d", len(x.Claims), c.Quorum())
	}
	top := x.highest()
	switch {
	case top.Slot == 0 && x.QC != nil, top.Slot > 0 && (x.QC == nil || x.QC.Slot != top.Slot || x.QC.Digest != top.Digest):
		return fmt.Errorf("the QC is not of slot %d, the highest claimed", top.Slot)
	case x.QC != nil && (x.QC.Epoch != epoch || x.Block.Digest() != x.QC.Digest || x.Block.Epoch != epoch || x.Block.Slot != x.QC.Slot):
		return errors.New("the block is not the QC's")
	}
	parent := x.parent(base)
	if len(x.Cut) != len(base.Cut) || len(x.Inbound) != len(base.Inbound) || len(parent.Inbound) != len(base.Inbound) {
		return fmt.Errorf("a cut of %d lanes and %d channels", len(x.Cut), len(x.Inbound))
	}
	if !x.Cut.Extends(parent.Cut) || !x.Inbound.Extends(parent.Inbound) {
		return errors.New("the cut takes something of the block's back")
	}
	for i := range x.Claims {
		s := &x.Claims[i]
		if len(s.Inbound) != len(base.Inbound) || !reaches(x.Cut, s.Cut) || !reaches(x.Inbound, s.Inbound) {
			return fmt.Errorf("the cut is below a tip that replica %d claims", s.Replica)
		}
	}
	return x.certified(parent)
}

// highest is the claim of the highest slot.
func (x *Input) highest() *Claim {
	top := &x.Claims[0].Claim
	for i := range x.Claims {
		if s := &x.Claims[i].Claim; s.Slot > top.Slot {
			top = s
		}
	}
	return top
}

// parent is the block that the epoch's last block extends.
func (x *Input) parent(base *bolt.Block) *bolt.Block {
	if x.Block != nil {
		return x.Block
	}
	return base
}

// reaches reports whether no position of cut has a lower number than that of tips.
func reaches(cut, tips lanes.Cut) bool {
	for i := range tips {
		if cut[i].Seq < tips[i].Seq {
			return false
		}
	}
	return true
}

// certified checks that exactly the positions in which the cut differs from parent's have certificates.
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
		return errors.New("a certificate of something that is not in the cut")
	}
	return nil
}

// last is the block that ends the epoch.
func (x *Input) last(c *protocols.Committee, base *bolt.Block) *bolt.Block {
	times := make([]uint64, len(x.Claims))
	for i := range x.Claims {
		times[i] = x.Claims[i].TimeMS
	}
	slices.Sort(times)
	return bolt.NewLast(c, x.Epoch, x.parent(base), times[len(times)/2], x.Cut, x.Inbound)
}

// newInput makes an input of n-f Status that count, given the block that the epoch began with and the one of the
// highest slot they claim, nil if that is 0.
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
	lds := make([]*channels.TipCertificate, len(x.Inbound))
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
	x.Deliveries = slices.DeleteFunc(lds, func(t *channels.TipCertificate) bool { return t == nil })
	return x
}
