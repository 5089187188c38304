// Package shard has the genesis that all replicas of a network share: the parameters, the committee of each shard,
// and the home shard of each address.
package shard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// GenesisVersion is the version of the genesis file and of its digest.
const GenesisVersion = 2

// MaxShards is the greatest number of shards of a network.
const MaxShards = 64

// Names of the consensus protocols in a genesis.
const (
	ConsensusBDT   = "bdt"   // Bolt-Dumbo Transformer: a fast lane with an asynchronous fallback
	ConsensusDumbo = "dumbo" // the asynchronous agreement without a fast lane
)

// Limits of a genesis: bytes of the file, number of allocations, number of outputs of all allocations.
const (
	maxGenesisBytes = 64 << 20
	maxAllocations  = 100_000
	maxGenesisOuts  = 5_000_000
)

// Genesis is the configuration on which all replicas of a network must agree before they exchange messages. Every
// signature covers its [Genesis.ID], so a signature of one network is never valid in another.
type Genesis struct {
	Version     int          `json:"version"`
	Name        string       `json:"name"`       // for people, not interpreted; 1 to 64 bytes
	TimeMS      uint64       `json:"time_ms"`    // time of block 0, Unix milliseconds
	Consensus   string       `json:"consensus"`  // ConsensusBDT or ConsensusDumbo
	HorizonMS   uint64       `json:"horizon_ms"` // greatest difference between a transaction's expiry and block time, milliseconds
	Parameters  Parameters   `json:"parameters"`
	Shards      []Spec       `json:"shards"`
	Allocations []Allocation `json:"allocations"`
}

// Spec lists the replicas of one shard, in the order of their index.
type Spec struct {
	Members []Member `json:"members"`
}

// Member is one replica: its public key for consensus messages, its libp2p peer id, and the public key of its shares
// of the shard's coin.
type Member struct {
	Key  sig.PublicKey  `json:"key"`
	Peer string         `json:"peer"`
	Coin coin.PublicKey `json:"coin"`
}

// Allocation gives genesis outputs to an address, in its home shard.
type Allocation struct {
	Address ledger.Address `json:"address"`
	Amount  uint64         `json:"amount"`  // of each output
	Outputs uint32         `json:"outputs"` // number of outputs
}

// ReadGenesis reads and validates a genesis file of at most 64 MiB. Errors name the file.
func ReadGenesis(path string) (*Genesis, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open genesis: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxGenesisBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read genesis %s: %w", path, err)
	case len(raw) > maxGenesisBytes:
		return nil, fmt.Errorf("genesis %s has more than %d bytes", path, maxGenesisBytes)
	}
	g := Genesis{Parameters: DefaultParameters()}
	if err := decodeGenesis(raw, &g); err != nil {
		return nil, fmt.Errorf("genesis %s: %w", path, err)
	}
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("genesis %s: %w", path, err)
	}
	return &g, nil
}

// decodeGenesis checks the version before the keys, because a genesis of another version has other keys.
func decodeGenesis(raw []byte, g *Genesis) error {
	var of struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(raw, &of); err != nil {
		return fmt.Errorf("not valid JSON of version %d: %w", GenesisVersion, err)
	}
	if err := checkVersion(of.Version); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(g); err != nil {
		return fmt.Errorf("not valid JSON of version %d: %w", GenesisVersion, err)
	}
	return nil
}

func checkVersion(v int) error {
	if v != GenesisVersion {
		return fmt.Errorf("it has version %d, this program reads version %d: use the program that made the network, or make a new network", v, GenesisVersion)
	}
	return nil
}

// Validate returns the first rule that the genesis violates, or nil.
func (g *Genesis) Validate() error {
	if err := checkVersion(g.Version); err != nil {
		return err
	}
	switch {
	case g.Name == "" || len(g.Name) > 64:
		return errors.New("name must have 1 to 64 bytes")
	case g.Consensus != ConsensusBDT && g.Consensus != ConsensusDumbo:
		return fmt.Errorf("consensus %q is unknown, use %q or %q", g.Consensus, ConsensusBDT, ConsensusDumbo)
	case g.HorizonMS == 0:
		return errors.New("horizon_ms must be above 0")
	case len(g.Shards) == 0 || len(g.Shards) > MaxShards:
		return fmt.Errorf("%d shards, want 1 to %d", len(g.Shards), MaxShards)
	case len(g.Allocations) > maxAllocations:
		return fmt.Errorf("%d allocations, at most %d", len(g.Allocations), maxAllocations)
	}
	if err := g.Parameters.Validate(); err != nil {
		return err
	}
	peers := make(map[string]bool)
	keys := make(map[sig.PublicKey]bool)
	for s, spec := range g.Shards {
		if _, err := g.Committee(uint16(s)); err != nil {
			return err
		}
		if _, err := g.Coin(uint16(s)); err != nil {
			return err
		}
		for i, m := range spec.Members {
			if m.Peer == "" || len(m.Peer) > 256 {
				return fmt.Errorf("shard %d replica %d: peer id missing or too long", s, i)
			}
			if peers[m.Peer] || keys[m.Key] {
				return fmt.Errorf("shard %d replica %d: peer id or key is used twice", s, i)
			}
			peers[m.Peer], keys[m.Key] = true, true
		}
	}
	_, err := g.supply(nil)
	return err
}

// ID identifies the network: the tagged hash of all fields of the genesis. Parameters that have their default value
// are not hashed, see [DefaultParameters].
func (g *Genesis) ID() digest.Digest {
	b := wire.AppendU32(nil, uint32(g.Version))
	b = wire.AppendBytes(b, []byte(g.Name))
	b = wire.AppendU64(b, g.TimeMS)
	b = wire.AppendBytes(b, []byte(g.Consensus))
	b = wire.AppendU64(b, g.HorizonMS)
	b = g.Parameters.append(b)
	b = wire.AppendU32(b, uint32(len(g.Shards)))
	for _, s := range g.Shards {
		b = wire.AppendU32(b, uint32(len(s.Members)))
		for _, m := range s.Members {
			b = append(b, m.Key[:]...)
			b = wire.AppendBytes(b, []byte(m.Peer))
			b = append(b, m.Coin[:]...)
		}
	}
	b = wire.AppendU32(b, uint32(len(g.Allocations)))
	for _, a := range g.Allocations {
		b = append(b, a.Address[:]...)
		b = wire.AppendU64(b, a.Amount)
		b = wire.AppendU32(b, a.Outputs)
	}
	return digest.Of("bdt/genesis/2", b)
}

// Committee returns the committee of shard s. It is an error if the shard does not exist or its keys are not valid
// for a committee.
func (g *Genesis) Committee(s uint16) (*protocols.Committee, error) {
	if int(s) >= len(g.Shards) {
		return nil, fmt.Errorf("shard %d of %d does not exist", s, len(g.Shards))
	}
	keys := make([]sig.PublicKey, len(g.Shards[s].Members))
	for i, m := range g.Shards[s].Members {
		keys[i] = m.Key
	}
	return protocols.NewCommittee(g.ID(), s, keys)
}

// Coin returns the common coin of shard s: shares of f+1 replicas reveal a toss.
func (g *Genesis) Coin(s uint16) (*coin.DH, error) {
	c, err := g.Committee(s)
	if err != nil {
		return nil, err
	}
	keys := make([]coin.PublicKey, len(g.Shards[s].Members))
	for i, m := range g.Shards[s].Members {
		keys[i] = m.Coin
	}
	d, err := coin.NewDH(keys, c.WeakQuorum())
	if err != nil {
		return nil, fmt.Errorf("shard %d: %w", s, err)
	}
	return d, nil
}

// Home returns the home shard of an address. The address space is divided evenly.
func (g *Genesis) Home(a ledger.Address) uint16 { return Home(a, len(g.Shards)) }

// Home returns the home shard of an address in a network of so many shards: ⌊lead · shards / 2^64⌋, lead being the
// first 8 bytes of the address, big-endian.
func Home(a ledger.Address, shards int) uint16 {
	var lead uint64
	for _, b := range a[:8] {
		lead = lead<<8 | uint64(b)
	}
	hi, _ := bits.Mul64(lead, uint64(shards))
	return uint16(hi)
}

// Supply returns the genesis value of shard s.
func (g *Genesis) Supply(s uint16) uint64 {
	v, _ := g.supply(&s) // Validate has checked that it does not overflow
	return v
}

func (g *Genesis) supply(only *uint16) (uint64, error) {
	var total, outs uint64
	for i, a := range g.Allocations {
		if only != nil && g.Home(a.Address) != *only {
			continue
		}
		if a.Amount == 0 || a.Outputs == 0 {
			return 0, fmt.Errorf("allocation %d: amount and outputs must be above 0", i)
		}
		hi, v := bits.Mul64(a.Amount, uint64(a.Outputs))
		if hi != 0 || v > math.MaxUint64-total {
			return 0, fmt.Errorf("allocation %d: the supply overflows 64 bits", i)
		}
		total += v
		if outs += uint64(a.Outputs); outs > maxGenesisOuts {
			return 0, fmt.Errorf("allocation %d: more than %d outputs in total", i, maxGenesisOuts)
		}
	}
	return total, nil
}
