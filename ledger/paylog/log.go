package paylog

import (
	"fmt"
	"sync"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
)

// StateVersion is the version of the records in the store.
const StateVersion = 1

// RememberedIDs is the number of ids that the log remembers in every network.
const RememberedIDs = 1 << 18

const tagWriteSet = "bdt/log-write-set/1"

// Prefixes of keys.
const (
	keyIdentity byte = iota + 1 // -> version 4, network 32, shard 2
	keyTip                      // -> header, cut
	keyHeader                   // height 8 -> header
	keyBatches                  // height 8 -> records of the block's batches
	keyIDs                      // height 8 -> ids of the block, each with batch 4 and position 4
	keyState                    // height 8 -> root of the state, see ledger.States
)

// Config has the settings of a shard's log. All replicas of the shard must use the same.
type Config struct {
	Network       digest.Digest // id of the genesis
	Shard         uint16
	GenesisTimeMS uint64 // time of block 0, Unix milliseconds
	IDs           int    // number of ids that are remembered; 0 for RememberedIDs
	StateInterval uint64 // heights from one kept state to the next, see [ledger.States]; 0 for none
}

// Log is the log of one shard. Execute advances it, one call at a time; all other methods may be called concurrently with
// it and with each other. After an error of the store, every call that uses the store returns that error.
type Log struct {
	cfg   Config
	store kv.Store

	states *ledger.States

	mu       sync.RWMutex
	tip      tip
	advanced chan struct{} // closed when a block is executed; nil if no caller waits for one

	ids ids // used by Execute only
}

// tip is the last executed block.
type tip struct {
	header ledger.Header
	digest digest.Digest
	cut    []byte
}

func (t *tip) encode() []byte { return wire.AppendBytes(t.header.Encode(), t.cut) }

func decodeTip(v []byte) (t tip, err error) {
	r := wire.NewReader(v)
	t.header = ledger.ReadHeader(r)
	t.cut = r.Bytes(len(v))
	t.digest = t.header.Digest()
	return t, r.Done()
}

func heightKey(prefix byte, height uint64) []byte { return wire.AppendU64([]byte{prefix}, height) }

// Open opens the log in store. If the store is empty, Open writes the genesis and flushes it. It is an error if the store
// holds the log of another network or shard, or of an unknown version.
func Open(store kv.Store, cfg Config) (*Log, error) {
	if cfg.IDs == 0 {
		cfg.IDs = RememberedIDs
	}
	l := &Log{cfg: cfg, store: store, ids: newIDs(cfg.IDs)}
	if err := ledger.Identify(store, []byte{keyIdentity}, "log", StateVersion, cfg.Network, cfg.Shard); err != nil {
		return nil, err
	}
	v, ok, err := store.Get([]byte{keyTip})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the log: %w", err)
	case !ok:
		if err := l.writeGenesis(); err != nil {
			return nil, fmt.Errorf("write the genesis into the log: %w", err)
		}
	default:
		if l.tip, err = decodeTip(v); err != nil {
			return nil, fmt.Errorf("read the log: %w: its store is damaged", err)
		}
		if err := l.ids.load(store); err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
	}
	if l.states, err = ledger.NewStates(store, l.statesConfig(), l.tip.header.Height); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return l, nil
}

// statesConfig describes the state: the tip and the remembered ids.
func (l *Log) statesConfig() ledger.StatesConfig {
	return ledger.StatesConfig{
		Network: l.cfg.Network, Shard: l.cfg.Shard, Interval: l.cfg.StateInterval, Record: keyState,
		Ranges: func(kv.Reader) ([]kv.Range, error) {
			return []kv.Range{{Lower: []byte{keyTip}, Upper: []byte{keyTip + 1}}, {Lower: []byte{keyIDs}, Upper: []byte{keyIDs + 1}}}, nil
		},
	}
}

// States has the states of the log at multiples of the interval.
func (l *Log) States() *ledger.States { return l.states }

func (l *Log) writeGenesis() error {
	h := ledger.Header{
		Network: l.cfg.Network, Shard: l.cfg.Shard, TimeMS: l.cfg.GenesisTimeMS,
		WriteSet: digest.Of(tagWriteSet, l.cfg.Network[:], wire.AppendU16(nil, l.cfg.Shard)),
	}
	t := tip{header: h, digest: h.Digest()}
	var b kv.Batch
	b.Set(heightKey(keyHeader, 0), h.Encode())
	b.Set([]byte{keyTip}, t.encode())
	if err := l.store.Apply(&b, false); err != nil {
		return err
	}
	l.tip = t
	return l.store.Flush()
}

// Execute appends the payloads of a block in one atomic batch, which is not synced. It is an error if the store fails or if
// the block does not follow the last one; the log is unchanged then. Deliveries of other shards have no effect.
func (l *Log) Execute(in ledger.CommittedBlock) (*ledger.Block, error) {
	last := &l.tip // only Execute changes it
	switch {
	case in.Height != last.header.Height+1:
		return nil, fmt.Errorf("block %d cannot be executed after block %d", in.Height, last.header.Height)
	case in.TimeMS < last.header.TimeMS:
		return nil, fmt.Errorf("block %d has time %d ms, before its parent's %d", in.Height, in.TimeMS, last.header.TimeMS)
	case len(in.Batches) != len(in.Payloads):
		panic(fmt.Sprintf("paylog: block %d has %d batches and %d payloads", in.Height, len(in.Batches), len(in.Payloads)))
	}
	out := &ledger.Block{Log: make([]ledger.LogBatch, len(in.Payloads))}
	var records, fresh []byte
	added := uint64(0)
	for i, p := range in.Payloads {
		id, o := &in.Batches[i], &p.Opaque
		x := ledger.LogBatch{Lane: id.Lane, Seq: id.Seq, Digest: id.Digest, Count: uint32(o.Len()), Bytes: uint32(len(o.Raw())), Root: o.Root()}
		if o.IDs() > 0 {
			x.Repeated, fresh = l.ids.note(o, in.Height, uint32(i), fresh)
		}
		added += uint64(x.Count) - uint64(len(x.Repeated))
		records = x.Append(records)
		out.Log[i] = x
	}
	root := ledger.LogRoot(out.Log)
	t := tip{cut: in.Cut, header: ledger.Header{
		Network: l.cfg.Network, Shard: l.cfg.Shard, Height: in.Height, Epoch: in.Epoch, Slot: in.Slot, Last: in.Last,
		Parent: last.digest, Block: in.Digest, Receipts: root, TimeMS: in.TimeMS, Txs: last.header.Txs + added,
		WriteSet: digest.Of(tagWriteSet, last.header.WriteSet[:], root[:]),
	}}
	t.digest = t.header.Digest()
	if !in.Expect.IsZero() && t.digest != in.Expect {
		return nil, &ledger.Mismatch{Height: in.Height, Got: t.digest, Want: in.Expect}
	}
	var b kv.Batch
	b.Set(heightKey(keyHeader, in.Height), t.header.Encode())
	if len(records) > 0 {
		b.Set(heightKey(keyBatches, in.Height), records)
	}
	l.ids.write(&b, in.Height, fresh)
	b.Set([]byte{keyTip}, t.encode())
	if err := l.store.Apply(&b, false); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	l.setTip(t)
	if err := l.states.Reached(in.Height); err != nil {
		return nil, fmt.Errorf("execute block %d: %w", in.Height, err)
	}
	out.Header, out.HeaderDigest = t.header, t.digest
	return out, nil
}

func (l *Log) setTip(t tip) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tip = t
	if l.advanced != nil {
		close(l.advanced)
		l.advanced = nil
	}
}
