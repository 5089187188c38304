package replica

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
)

const t0 protocols.Time = 1_000_000_000_000

// bench has a shard's keys, and makes the messages of its replicas for a chain of blocks and headers.
type bench struct {
	c       *protocols.Committee
	scheme  *sig.Ideal
	coin    *coin.Ideal
	genesis *bolt.Block
	headers state // of the chain, made when they are needed
	blocks  []*bolt.Block
}

// state is a ledger that has executed so many blocks.
type state []ledger.Header

func (s state) Height() uint64 { return uint64(len(s)) }

func (s state) Header(h uint64) (ledger.Header, bool, error) {
	if h == 0 || h > uint64(len(s)) {
		return ledger.Header{}, false, nil
	}
	return s[h-1], true, nil
}

func (s state) Frozen() ([]ledger.Freeze, error) { return nil, nil }
func (s state) HasUnsentVerdicts() (bool, error) { return false, nil }

// newBench makes a chain of blocks up to a height; with another length of salt it is another.
func newBench(t testing.TB, n, height int, salt string) *bench {
	t.Helper()
	b := &bench{scheme: sig.NewIdeal(1)}
	b.c = committeetest.Ideal(t, b.scheme, 0, n, digest.Of("network"), 0)
	b.coin = coin.NewIdeal(1, b.c.WeakQuorum())
	b.genesis = bolt.Genesis(b.c, t0.Millis(), 1)
	last := b.genesis
	for h := uint64(1); h <= uint64(height); h++ {
		x := &bolt.Block{Epoch: 1, Slot: h, Height: h, Parent: last.Digest(), TimeMS: t0.Millis() + uint64(len(salt)), Cut: make(lanes.Cut, n), Inbound: make(lanes.Cut, 1)}
		r := wire.NewReader(x.Append(nil))
		x = bolt.ReadBlock(b.c, r)
		if err := r.Done(); err != nil {
			t.Fatal(err)
		}
		b.blocks = append(b.blocks, x)
		b.headers = append(b.headers, ledger.Header{Network: b.c.Network(), Height: h, Epoch: 1, Slot: h, Block: x.Digest(), TimeMS: x.TimeMS})
		last = x
	}
	return b
}

func (b *bench) config(self protocols.Index) Config {
	return Config{
		Committee: b.c, Self: self, Signer: b.scheme.Signer(uint64(self)), Coin: b.coin, Shares: b.coin.Holder(self),
		GenesisTimeMS: t0.Millis(), Shards: 1,
	}
}

func (b *bench) restore(t *testing.T, self protocols.Index, s state, store *kv.Mem) *Core {
	t.Helper()
	core, err := Restore(b.config(self), s, store)
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func (b *bench) vote(from protocols.Index, h uint64) *certify.VOTE {
	d := b.headers[h-1].Digest()
	return &certify.VOTE{Height: h, Header: d, Signature: b.scheme.Signer(uint64(from)).Sign(certify.Statement(b.c, h, d))}
}

func (b *bench) certificate(h uint64, signers int) *certify.Certified {
	tally := protocols.NewTally(b.headers[h-1].Digest())
	for i := range signers {
		tally.Add(protocols.Index(i), b.vote(protocols.Index(i), h).Signature)
	}
	return &certify.Certified{Height: h, Header: tally.Digest, Certificate: tally.Certificate()}
}

// history is certified blocks from one height to another.
func (b *bench) history(from, to uint64) *History {
	h := &History{}
	for k := from; k <= to; k++ {
		h.Items = append(h.Items, Past{Header: b.headers[k-1].Encode(), Certificate: b.certificate(k, b.c.WeakQuorum()), Block: b.blocks[k-1]})
	}
	return h
}

// executed is the result of executing a block.
func (b *bench) executed(h uint64) *ledger.Block {
	return &ledger.Block{Header: b.headers[h-1], HeaderDigest: b.headers[h-1].Digest()}
}

// run executes a core's step: its records go into the store, and its blocks have the results of the chain.
func (b *bench) run(t *testing.T, core *Core, store *kv.Mem, st Step) []protocols.Send {
	t.Helper()
	var batch kv.Batch
	Apply(&batch, st.Persist)
	if err := store.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	sends := st.Sends
	for _, o := range st.Out {
		if o.Deliver != nil {
			h := o.Deliver.Block.Height
			sends = append(sends, b.run(t, core, store, core.Executed(t0, b.executed(h)))...)
		}
	}
	return sends
}

func sent[M protocols.Message](sends []protocols.Send) []M {
	var out []M
	for _, s := range sends {
		if m, ok := s.Message.(M); ok {
			out = append(out, m)
		}
	}
	return out
}

// unverified makes a message that passes for verified. Tests of the core send messages without valid signatures.
func unverified(from protocols.Index, m protocols.Message) Verified {
	return Verified{from: from, message: m}
}
