package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// Bounds of what a State keeps in memory beside its store.
const (
	cachedCoins    = 1 << 16 // up to twice as many, about 15 MB
	cachedAccounts = 1 << 14
)

// maxOutputsPerID is how many outputs one id can name: an index has 16 bits.
const maxOutputsPerID = 1 << 16

// genesisChunk is how many outputs of the genesis are written in one batch.
const genesisChunk = 8192

// Config is what a shard's ledger is born with. All replicas of the shard need the same.
type Config struct {
	Network       digest.Digest          // id of the genesis
	Shard         uint16                 // whose ledger this is
	Home          func(a Address) uint16 // the shard that holds a's outputs
	GenesisTimeMS uint64                 // time of block 0, Unix milliseconds
	HorizonMS     uint64                 // how far past block time an expiry may be
	LeastFee      uint64                 // burned at least for each byte of a transaction's encoding
	Allocations   []Allocation           // of the whole network; those at home here are created
	Rules         Rules                  // of settlement between shards; nil in a network of one
}

// Allocation gives an address its first outputs.
type Allocation struct {
	Address Address
	Amount  uint64 // of each output
	Outputs uint32 // how many
}

// State is the ledger of one shard: which outputs are unspent, and what became of every transaction. Execute
// advances it, one call at a time; all other methods are safe concurrently with it and with each other. After an
// error of the store it answers only that error.
type State struct {
	cfg   Config
	store kv.Store

	mu  sync.RWMutex
	tip tip

	// Execute's own.
	coins    *generations[Outpoint, coin]
	accounts *generations[Address, account]
	channels map[uint16]Channel
	due      uint64 // no consumed output is due to be forgotten before this minute
	openDue  uint64 // nor an open record to be closed before this one
	untold   int    // verdicts that later blocks have to tell
	supply   uint64 // of the whole network
	work     work
}

// Open opens the state in store. An empty store, or one whose genesis was not finished, gets the genesis, which is
// then flushed. It is an error if the store holds the state of another network or shard, or of an unknown version.
func Open(store kv.Store, cfg Config) (*State, error) {
	s := &State{
		cfg:      cfg,
		store:    store,
		coins:    newGenerations[Outpoint, coin](cachedCoins),
		accounts: newGenerations[Address, account](cachedAccounts),
		channels: make(map[uint16]Channel),
	}
	s.work.init()
	var err error
	if s.supply, err = networkSupply(cfg.Allocations); err != nil {
		return nil, err
	}
	if err := s.identify(); err != nil {
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
	if s.due, err = s.firstDue(keySpentDue); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if s.openDue, err = s.firstDue(keyOpenDue); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if s.untold, err = s.countUntold(); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	channels, err := s.Channels()
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	for _, c := range channels {
		s.channels[c.Peer] = c
	}
	return s, nil
}

// firstDue is the earliest minute of a kind of due lists, 0 if there are none.
func (s *State) firstDue(prefix byte) (minute uint64, err error) {
	err = s.store.Scan([]byte{prefix}, []byte{prefix + 1}, false, func(key, _ []byte) bool {
		minute = minuteOf(key)
		return false
	})
	return minute, err
}

// networkSupply is the value of all shards at genesis.
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

// identify checks whose state the store holds, and says so in an empty one.
func (s *State) identify() error {
	want := wire.AppendU16(append(wire.AppendU32(nil, StateVersion), s.cfg.Network[:]...), s.cfg.Shard)
	have, ok, err := s.store.Get([]byte{keyIdentity})
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	if !ok {
		var b kv.Batch
		b.Set([]byte{keyIdentity}, want)
		return s.store.Apply(&b, false)
	}
	if bytes.Equal(have, want) {
		return nil
	}
	r := wire.NewReader(have)
	version := r.U32()
	var network digest.Digest
	r.Fixed(network[:])
	shard := r.U16()
	switch {
	case r.Done() != nil:
		return errors.New("the ledger's identity is damaged")
	case version != StateVersion:
		return fmt.Errorf("the ledger's store has version %d, this program reads version %d: use the program that wrote it, or stop the replica, delete the ledger's store and let it be executed again", version, StateVersion)
	}
	return fmt.Errorf("the ledger is that of shard %d of network %s, this replica is in shard %d of %s: check its home and genesis",
		shard, network.Short(), s.cfg.Shard, s.cfg.Network.Short())
}

// genesisID names outputs number chunk*65536 and on of allocation number i.
func genesisID(network digest.Digest, i int, a Address, chunk uint32) TxID {
	return TxID(digest.Of("bdt/genesis-outputs/1", network[:], wire.AppendU32(nil, uint32(i)), a[:], wire.AppendU32(nil, chunk)))
}

// writeGenesis writes outputs chunk by chunk and the tip last: without a tip, all is written again, to the same keys.
func (s *State) writeGenesis() error {
	accounts := make(map[Address]account)
	var supply, coins uint64
	var b kv.Batch
	var mem arena
	for i, alloc := range s.cfg.Allocations {
		if s.cfg.Home(alloc.Address) != s.cfg.Shard {
			continue
		}
		value := alloc.Amount * uint64(alloc.Outputs) // networkSupply has seen that it does not overflow
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
				b.Set(mem.outpointKey(keyOutput, o), mem.coinValue(coin{alloc.Address, alloc.Amount}))
				b.Set(mem.ownedKey(alloc.Address, o), wire.AppendU64(mem.take(8), alloc.Amount))
				if b.Len() >= 2*genesisChunk {
					if err := s.store.Apply(&b, false); err != nil {
						return err
					}
					b, mem = kv.Batch{}, arena{}
				}
			}
			h := HistoryEntry{Tx: id, TimeMS: s.cfg.GenesisTimeMS, Received: uint64(n) * alloc.Amount}
			b.Set(mem.historyKey(alloc.Address, acc.entries), h.append(mem.take(historySize)))
			acc.entries++
			first += n
		}
		accounts[alloc.Address] = acc
	}
	for a, acc := range accounts { // in any order: each has its own key
		b.Set(mem.idKey(keyAccount, digest.Digest(a)), mem.accountValue(acc))
	}
	h := Header{
		Network:  s.cfg.Network,
		Shard:    s.cfg.Shard,
		WriteSet: digest.Of(tagWriteSet, s.cfg.Network[:], wire.AppendU16(nil, s.cfg.Shard)),
		TimeMS:   s.cfg.GenesisTimeMS,
	}
	t := tip{header: h, digest: h.Digest(), genesis: supply, unspent: supply, coins: coins}
	b.Set(heightKey(keyHeader, 0), h.Encode())
	b.Set(heightKey(keyBlockTxs, 0), nil)
	b.Set([]byte{keyTip}, t.encode())
	if err := s.store.Apply(&b, false); err != nil {
		return err
	}
	s.tip = t
	return s.store.Flush()
}
