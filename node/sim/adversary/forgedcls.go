package adversary

import (
	"fmt"
	"slices"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// Collusion is the knowledge that Byzantine replicas of one or several shards have together.
type Collusion struct {
	txs    []*ledger.Tx // between shards, the newest last
	cls    []*settlement.CL
	lds    []*settlement.LD
	states []statement
}

// statement is a CL_M of an honest replica.
type statement struct {
	shard  uint16
	signer protocols.Index
	tx     *ledger.Tx
	sig.Signature
}

// maxColluded is the number of items of each kind that a Collusion keeps.
const maxColluded = 64

func remember[T any](list *[]T, x T) {
	if *list = append(*list, x); len(*list) > maxColluded {
		*list = slices.Delete(*list, 0, 1)
	}
}

// Learn adds a transaction to the knowledge, if it is between shards.
func (c *Collusion) Learn(n *settlement.Network, tx *ledger.Tx) {
	p := tx.Shards(n.Home)
	if p.All().Len() > 1 && !slices.ContainsFunc(c.txs, func(x *ledger.Tx) bool { return x.ID() == tx.ID() }) {
		remember(&c.txs, tx)
	}
}

// ForgedCLs states that any transaction can never be SPENT. It sends CLs that its shard did not make, and CLs and LDs of
// earlier, at any time and to any shard.
type ForgedCLs struct {
	Rate float64    // share of its messages after which it sends one of these
	With *Collusion // nil if it colludes with no replica of another shard

	tally
}

// The kinds of incorrect CL_Ms, CLs and LDs that ForgedCLs sends.
const (
	clmFalse      = "a CL_M for any transaction"
	clmElsewhere  = "a CL_M for a transaction without inputs in its shard"
	clEarly       = "a CL of its own and another CL_M"
	clReplayed    = "a CL of earlier"
	clFew         = "a CL of f signers"
	clTwice       = "a CL with a signer twice"
	clEveryone    = "a CL that one replica signs in the name of all"
	clForeign     = "a CL with the certificate of another shard"
	clNoInput     = "a CL of a shard that is no input"
	clOther       = "a CL with another transaction"
	clMisdirected = "a CL to a shard that is not involved"
	ldReplayed    = "an LD of earlier"
	ldMisdirected = "an LD to another shard"
	ldForeign     = "an LD with the certificate of another shard"
)

// CLKinds lists them.
var CLKinds = []string{
	clmFalse, clmElsewhere, clEarly, clReplayed, clFew, clTwice, clEveryone, clForeign, clNoInput, clOther, clMisdirected, ldReplayed, ldMisdirected, ldForeign,
}

func (a *ForgedCLs) String() string {
	return fmt.Sprintf("forges CLs after %.0f %% of messages", 100*a.Rate)
}

// collusion is the knowledge of the replica.
func (a *ForgedCLs) collusion() *Collusion {
	if a.With == nil {
		a.With = &Collusion{}
	}
	return a.With
}

func (a *ForgedCLs) Receive(v *View, from protocols.Index, m protocols.Message) {
	c := a.collusion()
	switch x := m.(type) {
	case *lanes.Batch:
		if p, err := ledger.DecodePayload(v.Network().Kinds(v.Shard), x.Payload); err == nil {
			for _, tx := range p.Txs {
				c.Learn(v.Network(), tx)
			}
		}
	case *replica.Inbound:
		remember(&c.lds, x.Content)
		for i := range x.Content.Delivery.Entries {
			c.Learn(v.Network(), x.Content.Delivery.Entries[i].Tx)
		}
	case *cancel.CLM:
		if tx, err := ledger.DecodeTx(x.Content); err == nil {
			c.Learn(v.Network(), tx)
			remember(&c.states, statement{v.Shard, from, tx, x.Signature})
		}
	}
}

func (a *ForgedCLs) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	out := Unchanged(m)
	if v.Rand.Float64() >= a.Rate {
		return out
	}
	if v.Rand.IntN(2) == 0 {
		return append(out, a.states(v)...)
	}
	a.publish(v)
	return out
}

func (a *ForgedCLs) ReplaceLD(v *View, ld *settlement.LD) []network.Packet {
	c := a.collusion()
	remember(&c.lds, ld)
	for i := range ld.Delivery.Entries {
		c.Learn(v.Network(), ld.Delivery.Entries[i].Tx)
	}
	return []network.Packet{{Frame: ld.Encode()}}
}

func (a *ForgedCLs) ReplaceCL(_ *View, _ uint16, cl *settlement.CL) []network.Packet {
	remember(&a.collusion().cls, cl)
	return []network.Packet{{Frame: cl.Encode()}}
}

func (*ForgedCLs) Position(_ *View, next uint64) uint64 { return next }

// one is a random element, ok is false if there is none.
func one[T any](v *View, list []T) (x T, ok bool) {
	if len(list) == 0 {
		return x, false
	}
	return list[v.Rand.IntN(len(list))], true
}

// signCLM is a CL_M of the replica.
func (v *View) signCLM(tx *ledger.Tx) *cancel.CLM {
	x := &cancel.CLM{Content: tx.Encode(), Digest: cancel.DigestOf(tx.Encode())}
	x.Signature = v.Signer.Sign(cancel.Statement(v.Committee, x.Digest))
	return x
}

// states sends a peer a CL_M for any transaction.
func (a *ForgedCLs) states(v *View) []network.Packet {
	tx, ok := one(v, a.With.txs)
	if !ok {
		return nil
	}
	p := tx.Shards(v.Network().Home)
	if p.Inputs.Has(v.Shard) {
		a.note(clmFalse)
		return Unchanged(v.signCLM(tx))
	}
	a.note(clmElsewhere)
	return forged(v.signCLM(tx), clmElsewhere)
}

// publish sends a CL or an LD to another shard.
func (a *ForgedCLs) publish(v *View) {
	kind := CLKinds[2+v.Rand.IntN(len(CLKinds)-2)]
	switch kind {
	case ldReplayed, ldMisdirected, ldForeign:
		a.publishLD(v, kind)
		return
	case clReplayed:
		if cl, ok := one(v, a.With.cls); ok {
			a.send(v, cl, kind, "", true)
		}
		return
	}
	cl, isForged := a.forge(v, kind)
	if cl == nil {
		return
	}
	why := ""
	if isForged {
		why = kind
	}
	a.send(v, cl, kind, why, kind != clMisdirected)
}

// forge makes a CL of a kind, nil if that is not possible now. isForged says whether every receiver must refuse it.
func (a *ForgedCLs) forge(v *View, kind string) (cl *settlement.CL, isForged bool) {
	tx, ok := one(v, a.With.txs)
	if !ok {
		return nil, false
	}
	input := tx.Shards(v.Network().Home).Inputs.Has(v.Shard)
	mine := v.signCLM(tx).Signature
	switch kind {
	case clEarly: // at n = 4 its own CL_M and one other are a CL; the source made it, or is about to
		if x, ok := one(v, a.With.states); ok && x.shard == v.Shard && x.signer != v.Self && v.Committee.WeakQuorum() == 2 {
			tally := protocols.NewTally(cancel.DigestOf(x.tx.Encode()))
			tally.Add(x.signer, x.Signature)
			tally.Add(v.Self, v.signCLM(x.tx).Signature)
			return v.makeCL(v.Shard, x.tx, tally.Certificate()), false
		}
	case clFew:
		if input {
			return v.makeCL(v.Shard, tx, v.alone(mine)), true
		}
	case clTwice, clEveryone:
		if input {
			return v.makeCL(v.Shard, tx, v.certificate(v.Committee.WeakQuorum(), mine)), true
		}
	case clNoInput:
		if !input {
			return v.makeCL(v.Shard, tx, v.certificate(v.Committee.WeakQuorum(), mine)), true
		}
	}
	return a.alter(v, kind, tx), true
}

// alter makes a false CL of a right one, nil if that is not possible now.
func (a *ForgedCLs) alter(v *View, kind string, tx *ledger.Tx) *settlement.CL {
	right, have := one(v, a.With.cls)
	if !have {
		return nil
	}
	switch kind {
	case clForeign:
		for _, s := range right.Tx.Shards(v.Network().Home).Inputs.Without(right.Source).Members() {
			x := *right
			x.Source = s
			return &x
		}
	case clOther:
		if right.Tx.ID() != tx.ID() && tx.Shards(v.Network().Home).Inputs.Has(right.Source) {
			return v.makeCL(right.Source, tx, right.Certificate)
		}
	case clMisdirected:
		return right
	}
	return nil
}

// makeCL is a CL of a shard with a certificate.
func (v *View) makeCL(source uint16, tx *ledger.Tx, cert protocols.Certificate) *settlement.CL {
	x, err := settlement.NewCL(v.Network(), source, &cancel.Certified{Content: tx.Encode(), Certificate: cert})
	if err != nil {
		panic(err) // the transaction is an encoded one
	}
	return x
}

// send publishes a CL on the topic of a shard that is involved in its transaction, or of one that is not, other than its
// source.
func (a *ForgedCLs) send(v *View, cl *settlement.CL, kind, why string, involved bool) {
	var to []uint16
	all := cl.Tx.Shards(v.Network().Home).All()
	for s := range uint16(v.Shards) {
		if s != v.Shard && s != cl.Source && all.Has(s) == involved {
			to = append(to, s)
		}
	}
	shard, ok := one(v, to)
	if !ok {
		return
	}
	frame := cl.Encode()
	if kind == clTwice {
		frame = twiceSigned(frame)
	}
	a.note(kind)
	v.Gossip(shard, network.Packet{Frame: frame, Forged: why})
}

// twiceSigned is the encoding of a CL in which the second signer is the first one again.
func twiceSigned(frame []byte) []byte {
	out := slices.Clone(frame)
	const first, second = 1 + 2 + 2, 1 + 2 + 2 + 2 + sig.SignatureSize
	copy(out[second:second+2], out[first:first+2])
	return out
}

// publishLD sends an LD of earlier to its destination again, or a wrong one.
func (a *ForgedCLs) publishLD(v *View, kind string) {
	ld, ok := one(v, a.With.lds)
	if !ok {
		return
	}
	to, why := ld.Delivery.Destination, ""
	x := *ld
	switch kind {
	case ldMisdirected:
		to, why = (to+1)%uint16(v.Shards), kind
	case ldForeign:
		other, _ := one(v, a.With.lds)
		if x.Certificate = other.Certificate; other.Delivery.Source == ld.Delivery.Source {
			return
		}
		why = kind
	}
	if to == v.Shard {
		return
	}
	a.note(kind)
	v.Gossip(to, network.Packet{Frame: x.Encode(), Forged: why})
}
