package ledger

import (
	"bytes"
	"fmt"
	"math/bits"
	"sync"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// DefaultCachedOutputs is the default of [Config.CachedOutputs]: about 60 MB.
const DefaultCachedOutputs = 400_000

// maxOutputsPerID is the number of outputs that one id can name: an output index has 16 bits.
const maxOutputsPerID = 1 << 16

// genesisChunk is the number of genesis outputs that are written in one batch.
const genesisChunk = 8192

// Config has the initial state and the settings of a shard's ledger. All replicas of the shard must use the same.
type Config struct {
	Network       digest.Digest          // id of the genesis
	Shard         uint16                 // the shard of this ledger
	Home          func(a Address) uint16 // returns the home shard of a
	GenesisTimeMS uint64                 // time of block 0, Unix milliseconds
	HorizonMS     uint64                 // greatest difference between a transaction's expiry and block time, milliseconds
	LeastFee      uint64                 // least fee per byte of a transaction's encoding; fees are burned
	Allocations   []Allocation           // of the whole network; Open creates those whose home shard is Shard
	Rules         Rules                  // of settlement between shards; nil in a network of one shard
	StateInterval uint64                 // heights from one kept state to the next, see [States]; 0 for none
	Retain        uint64                 // heights whose block records are kept at least, see prune.go; 0 for all

	// CachedOutputs is the greatest number of unspent outputs in memory, at about 100 bytes each; 0 for the default.
	// Half as many accounts are in memory, at about 90 bytes each. Others are read from the store. The result of
	// execution does not depend on it, and each replica may have its own.
	CachedOutputs int
}

func (c *Config) cachedOutputs() int {
	if c.CachedOutputs == 0 {
		return DefaultCachedOutputs
	}
	return c.CachedOutputs
}

func (c *Config) cachedAccounts() int { return max(1, c.cachedOutputs()/2) }

// Allocation gives genesis outputs to an address.
type Allocation struct {
	Address Address
	Amount  uint64 // of each output
	Outputs uint32 // number of outputs
}

// State is the ledger of one shard: the unspent outputs and the result of every transaction. Execute advances it, one
// call at a time; all other methods may be called concurrently with it and with each other. After an error of the
// store, every call that uses the store returns that error.
type State struct {
	cfg   Config
	store kv.Store

	states *States

	mu       sync.RWMutex
	tip      tip
	windows  []uint32      // of the id index in which there may be entries, ascending
	limits   limits        // of deletion
	advanced chan struct{} // closed when a block is executed; nil if no caller waits for one

	block *BlockState // used by Execute only
}

// Open opens the state in store. If the store is empty, or an earlier call did not finish the genesis, Open writes
// the genesis and flushes it. It is an error if the store holds the state of another network or shard, or of an
// unknown version.
func Open(store kv.Store, cfg Config) (*State, error) {
	supply, err := networkSupply(cfg.Allocations)
	if err != nil {
		return nil, err
	}
	s := &State{cfg: cfg, store: store}
	s.block = newBlockState(&s.cfg, store, supply)
	if err := Identify(store, []byte{keyIdentity}, "ledger", StateVersion, cfg.Network, cfg.Shard); err != nil {
		return nil, err
	}
	v, ok, err := store.Get([]byte{keyTip})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if !ok {
		if err := s.writeGenesis(); err != nil {
			return nil, fmt.Errorf("write the genesis into the ledger: %w", err)
		}
	} else if s.tip, err = decodeTip(v); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if err := s.block.open(); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if s.windows, err = windows(store); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	s.states, err = NewStates(store, s.statesConfig(), s.tip.header.Height)
	if err == nil {
		err = s.pruneAt(s.tip.header.Height)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return s, nil
}

// statesConfig describes the state: the records that execution reads. These are the tip, the recent windows of the id index,
// outputs, accounts, and all records of settlement between shards.
func (s *State) statesConfig() StatesConfig {
	return StatesConfig{
		Network: s.cfg.Network, Shard: s.cfg.Shard, Interval: s.cfg.StateInterval, Record: keyState,
		Ranges: func(r kv.Reader) ([]kv.Range, error) {
			t, err := readTip(r)
			w := s.cfg.window(t.header.TimeMS)
			return []kv.Range{
				{Lower: []byte{keyTip}, Upper: []byte{keyTip + 1}},
				{Lower: wire.AppendU32([]byte{keyID}, w-min(w, recentWindows-1)), Upper: []byte{keyID + 1}},
				{Lower: []byte{keyCoin}, Upper: []byte{keyHistory}},
				{Lower: []byte{keyPart}, Upper: []byte{keyBad}},
			}, err
		},
	}
}

// States has the states of the ledger at multiples of the interval.
func (s *State) States() *States { return s.states }

// networkSupply returns the value of all shards at genesis. It is an error if an allocation is empty or the sum
// overflows 64 bits.
func networkSupply(allocations []Allocation) (supply uint64, err error) {
	for i, a := range allocations {
		hi, value := bits.Mul64(a.Amount, uint64(a.Outputs))
		if hi != 0 || supply+value < supply || value == 0 {
			return 0, fmt.Errorf("allocation %d is empty or makes the supply overflow", i)
		}
		supply += value
	}
	return supply, nil
}

// Identify checks that a store holds the state of a network and shard in a version that this program reads. It writes this
// identity at the key of an empty store. name is a word for the state in errors, such as ledger.
func Identify(store kv.Store, key []byte, name string, version uint32, network digest.Digest, shard uint16) error {
	want := wire.AppendU16(append(wire.AppendU32(nil, version), network[:]...), shard)
	have, ok, err := store.Get(key)
	if err != nil {
		return fmt.Errorf("read the %s: %w", name, err)
	}
	if !ok {
		var b kv.Batch
		b.Set(key, want)
		return store.Apply(&b, false)
	}
	if bytes.Equal(have, want) {
		return nil
	}
	r := wire.NewReader(have)
	itsVersion := r.U32()
	var itsNetwork digest.Digest
	r.Fixed(itsNetwork[:])
	itsShard := r.U16()
	switch {
	case r.Done() != nil:
		return fmt.Errorf("the identity record of the %s's store is damaged", name)
	case itsVersion != version:
		return fmt.Errorf("the %s's store has version %d, this program reads version %d: use the program that wrote it, or stop the replica and delete the ledger's store; the replica then executes all blocks again", name, itsVersion, version)
	}
	return fmt.Errorf("the %s is that of shard %d of network %s, this replica is in shard %d of %s: check its home and genesis",
		name, itsShard, itsNetwork.Short(), shard, network.Short())
}

// genesisID is the id in the outpoints of outputs chunk·65,536 to chunk·65,536+65,535 of allocation i.
func genesisID(network digest.Digest, i int, a Address, chunk uint32) TxID {
	return TxID(digest.Of("bdt/genesis-outputs/1", network[:], wire.AppendU32(nil, uint32(i)), a[:], wire.AppendU32(nil, chunk)))
}

// writeGenesis writes the outputs in chunks and the tip last. If a crash happens before the tip is written, the next
// Open writes everything again, under the same keys.
func (s *State) writeGenesis() error {
	accounts := make(map[Address]account)
	var supply, coins uint64
	var items []item
	var b kv.Batch
	var mem arena
	for i, alloc := range s.cfg.Allocations {
		if s.cfg.Home(alloc.Address) != s.cfg.Shard {
			continue
		}
		value := alloc.Amount * uint64(alloc.Outputs) // networkSupply has checked that it does not overflow
		supply += value
		coins += uint64(alloc.Outputs)
		acc := accounts[alloc.Address]
		acc.balance += value
		acc.coins += uint64(alloc.Outputs)
		for first := uint32(0); first < alloc.Outputs; {
			id := genesisID(s.cfg.Network, i, alloc.Address, first/maxOutputsPerID)
			n := min(alloc.Outputs-first, maxOutputsPerID)
			for k := range n {
				o := Outpoint{Tx: id, Index: uint16(k)}
				b.Set(mem.coinKey(alloc.Address, o), mem.coinValue(coin{owner: alloc.Address, amount: alloc.Amount}))
				if b.Len() >= genesisChunk {
					if err := s.store.Apply(&b, false); err != nil {
						return err
					}
					b, mem = kv.Batch{}, arena{}
				}
			}
			items = append(items, item{tx: id, parties: []party{{before: acc.last, received: uint64(n) * alloc.Amount}}})
			acc.last = place{position: uint32(len(items) - 1)}
			if acc.entries++; acc.entries%historyStride == 0 {
				b.Set(mem.historyKey(alloc.Address, acc.entries/historyStride-1), acc.last.append(mem.take(placeSize)))
			}
			first += n
		}
		accounts[alloc.Address] = acc
	}
	for a, acc := range accounts { // in any order: each has its own key
		b.Set(mem.idKey(keyAccount, digest.Digest(a)), mem.accountValue(&acc))
	}
	h := Header{
		Network:  s.cfg.Network,
		Shard:    s.cfg.Shard,
		WriteSet: digest.Of(tagWriteSet, s.cfg.Network[:], wire.AppendU16(nil, s.cfg.Shard)),
		TimeMS:   s.cfg.GenesisTimeMS,
	}
	t := tip{header: h, digest: h.Digest(), sums: sums{genesis: supply, unspent: supply, coins: coins}}
	b.Set(heightKey(keyHeader, 0), h.Encode())
	writeBlock(&b, 0, h.TimeMS, items)
	b.Set([]byte{keyTip}, t.encode())
	if err := s.store.Apply(&b, false); err != nil {
		return err
	}
	s.tip = t
	return s.store.Flush()
}
