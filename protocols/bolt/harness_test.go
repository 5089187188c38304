package bolt

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
)

const t0 protocols.Time = 1_000_000_000_000

// data replaces the lanes: View and CheckCut give the results that the test sets.
type data struct {
	grow    uint64 // number of lane 0 to propose
	verdict lanes.Verdict
	sends   []protocols.Send // messages of CheckCut
	locked  []lanes.Cut
	certs   int
	heldUp  []heldUp // calls of HeldUp
	blames  bool     // result of HeldUp
}

func (d *data) ProposableCut(_ protocols.Time, parent lanes.Cut) (lanes.Cut, []*lanes.TipCertificate) {
	c := slices.Clone(parent)
	if d.grow > c[0].Seq {
		c[0] = tip(d.grow)
	}
	return c, nil
}

func (d *data) CheckCut(protocols.Time, lanes.Cut, lanes.Cut, protocols.Index) (lanes.Step, lanes.Verdict) {
	var st lanes.Step
	st.Sends = d.sends
	return st, d.verdict
}

func (d *data) AckCut(_ protocols.Time, _, cut lanes.Cut) lanes.Step {
	d.locked = append(d.locked, cut)
	var st lanes.Step
	st.Record([]byte("lock"), cut.Append(nil))
	return st
}

func (d *data) HandleCertificate(protocols.Time, *lanes.TipCertificate) lanes.Step {
	d.certs++
	return lanes.Step{}
}

func (d *data) HeldUp(_ protocols.Time, _, cut lanes.Cut, late protocols.Set, wait time.Duration) bool {
	d.heldUp = append(d.heldUp, heldUp{cut, late, wait})
	return d.blames
}

type heldUp struct {
	cut  lanes.Cut
	late protocols.Set
	wait time.Duration
}

// inbound replaces the channels: no channel grows, and CheckCut gives the set verdict.
type inbound struct{ verdict lanes.Verdict }

func (*inbound) ProposableCut(_ protocols.Time, parent lanes.Cut) lanes.Cut { return parent }

func (*inbound) HeldUp(protocols.Time, lanes.Cut, lanes.Cut, protocols.Set, time.Duration) bool {
	return false
}

func (i *inbound) CheckCut(protocols.Time, lanes.Cut, lanes.Cut, protocols.Index) lanes.Verdict {
	return i.verdict
}

func tip(n uint64) lanes.Tip {
	return lanes.Tip{Seq: n, Digest: digest.Of("tip", binary.BigEndian.AppendUint64(nil, n))}
}

// bench has the keys of a shard and its genesis. It makes messages signed by its replicas.
type bench struct {
	c       *protocols.Committee
	scheme  *sig.Ideal
	genesis *Block
}

func newBench(t testing.TB, n int) *bench {
	t.Helper()
	b := &bench{scheme: sig.NewIdeal(1)}
	b.c = committeetest.Ideal(t, b.scheme, 0, n, digest.Of("network"), 0)
	b.genesis = Genesis(b.c, t0.Millis(), 1)
	return b
}

func (b *bench) config(i protocols.Index, d *data) Config {
	return Config{
		Committee: b.c, Self: i, Signer: b.scheme.Signer(uint64(i)), Epoch: 1, Leader: 0, Slots: 1 << 14, Data: d, Inbound: &inbound{},
	}
}

func (b *bench) machine(i protocols.Index) (*Machine, *data) {
	d := &data{}
	return New(b.config(i, d), b.genesis, 0), d
}

// block makes a block on top of another, with lane 0 at the number of its height. Different salts give different blocks.
func (b *bench) block(on *Block, salt uint64) *Block {
	x := &Block{
		Epoch: 1, Slot: on.Slot + 1, Height: on.Height + 1, Parent: on.digest, TimeMS: on.TimeMS,
		Cut: slices.Clone(on.Cut), Inbound: on.Inbound,
	}
	x.Cut[0] = tip(on.Height + 1)
	if salt > 0 {
		x.Cut[1] = tip(salt)
	}
	x.setDigest(b.c)
	return x
}

// chain makes n blocks on top of one.
func (b *bench) chain(on *Block, n int) []*Block {
	var out []*Block
	for range n {
		on = b.block(on, 0)
		out = append(out, on)
	}
	return out
}

func (b *bench) propose(x *Block) *Propose {
	p := &Propose{Leader: 0, Block: x}
	p.Signature = b.scheme.Signer(0).Sign(proposeStatement(b.c, 0, x))
	return p
}

func (b *bench) vote(from protocols.Index, x *Block) *Vote {
	return &Vote{Epoch: x.Epoch, Slot: x.Slot, Digest: x.digest,
		Signature: b.scheme.Signer(uint64(from)).Sign(voteStatement(b.c, x.Epoch, x.Slot, x.digest))}
}

func finalizeOf(x *Block) *Finalize { return &Finalize{Epoch: x.Epoch, Slot: x.Slot, Digest: x.digest} }

// votes delivers to m the votes for x of the replicas first to last, and returns the steps. finalizes does it for
// Finalize messages.
func (b *bench) votes(m *Machine, x *Block, first, last int) []Step {
	var out []Step
	for i := first; i <= last; i++ {
		out = append(out, m.HandleVote(t0, protocols.Index(i), b.vote(protocols.Index(i), x)))
	}
	return out
}

func (b *bench) finalizes(m *Machine, x *Block, first, last int) []Step {
	var out []Step
	for i := first; i <= last; i++ {
		out = append(out, m.HandleFinalize(t0, protocols.Index(i), finalizeOf(x)))
	}
	return out
}

func sent[M protocols.Message](steps ...Step) []M {
	var out []M
	for _, st := range steps {
		for _, s := range st.Sends {
			if m, ok := s.Message.(M); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

func committed(steps ...Step) []*Block {
	var out []*Block
	for _, st := range steps {
		for _, o := range st.Out {
			out = append(out, o.Block)
		}
	}
	return out
}

// disk keeps the persisted records of steps, for Restore.
type disk map[string][]byte

func (d disk) keep(steps ...Step) {
	for _, st := range steps {
		for _, r := range st.Persist {
			if r.Value == nil {
				delete(d, string(r.Key))
			} else {
				d[string(r.Key)] = bytes.Clone(r.Value)
			}
		}
	}
}

func (d disk) stored(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		var keys []string
		for k := range d {
			if k >= string(from) && k < string(to) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			if !yield([]byte(k), d[k]) {
				return
			}
		}
	}
}
