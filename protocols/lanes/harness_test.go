package lanes

import (
	"bytes"
	"iter"
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
)

// bench has the keys of a shard. It makes messages signed by its replicas.
type bench struct {
	c      *protocols.Committee
	scheme *sig.Ideal
}

func newBench(t testing.TB, n int) *bench {
	t.Helper()
	b := &bench{scheme: sig.NewIdeal(1)}
	b.c = committeetest.Ideal(t, b.scheme, 0, n, digest.Of("network"), 0)
	return b
}

func (b *bench) config(i protocols.Index) Config {
	return Config{Committee: b.c, Self: i, Signer: b.scheme.Signer(uint64(i))}
}

func (b *bench) machine(i protocols.Index) *Machine { return New(b.config(i)) }

// batch makes a batch of a lane on top of a position.
func (b *bench) batch(lane protocols.Index, on Tip, salt string) *Batch {
	return NewBatch(b.c, b.scheme.Signer(uint64(lane)), Header{Lane: lane, Seq: on.Seq + 1, Parent: on.Digest, Count: 1}, []byte(salt))
}

// chain makes n batches of a lane on top of a position.
func (b *bench) chain(lane protocols.Index, on Tip, n int, salt string) []*Batch {
	var out []*Batch
	for range n {
		x := b.batch(lane, on, salt)
		out = append(out, x)
		on = x.Tip()
	}
	return out
}

func (b *bench) ack(from, lane protocols.Index, t Tip) *Ack {
	return &Ack{Lane: lane, Tip: t, Signature: b.scheme.Signer(uint64(from)).Sign(ackStatement(b.c, lane, t))}
}

func (b *bench) certificate(lane protocols.Index, t Tip) *TipCertificate {
	tally := protocols.NewTally(t.Digest)
	for i := range b.c.Quorum() {
		tally.Add(protocols.Index(i), b.ack(protocols.Index(i), lane, t).Signature)
	}
	return &TipCertificate{Lane: lane, Tip: t, Certificate: tally.Certificate()}
}

// cut has the given tips, and the origin for all other lanes.
func (b *bench) cut(tips map[protocols.Index]Tip) Cut {
	c := make(Cut, b.c.N())
	for i, t := range tips {
		c[i] = t
	}
	return c
}

// sent lists the messages of one type in a step.
func sent[M protocols.Message](st Step) []M {
	var out []M
	for _, s := range st.Sends {
		if m, ok := s.Message.(M); ok {
			out = append(out, m)
		}
	}
	return out
}

// chains lists the chains that a step has to be read.
func chains(st Step) []BatchRange {
	var out []BatchRange
	for _, r := range st.Reads {
		out = append(out, r.Range.(BatchRange))
	}
	return out
}

func grew(st Step) bool { return len(st.Out) > 0 }

// disk keeps the persisted records of steps, for Restore.
type disk map[string][]byte

func (d disk) keep(st Step) Step {
	for _, r := range st.Persist {
		if r.Value == nil {
			delete(d, string(r.Key))
		} else {
			d[string(r.Key)] = bytes.Clone(r.Value)
		}
	}
	return st
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

// ackedIn is the digest that a machine acknowledged in a lane at a number, zero if none.
func (m *Machine) ackedIn(lane protocols.Index, seq uint64) digest.Digest {
	return m.lanes[lane].acked[seq]
}
