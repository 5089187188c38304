package proof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// genesisVersion is the version of the genesis that this package reads.
const genesisVersion = 2

// MaxGenesisBytes is the greatest length of a genesis file.
const MaxGenesisBytes = 64 << 20

// Network has the data of a genesis by which proofs are checked: its id, and the keys of the replicas of each shard. It is
// immutable and safe for concurrent use.
type Network struct {
	id         digest.Digest
	committees []*protocols.Committee // by shard
	scheme     *sig.Ed25519
}

// ID is the id of the genesis, which names the network.
func (n *Network) ID() [32]byte { return n.id }

// Shards is the number of shards.
func (n *Network) Shards() int { return len(n.committees) }

// genesis has the fields of a genesis file.
type genesis struct {
	Version     int        `json:"version"`
	Name        string     `json:"name"`
	TimeMS      uint64     `json:"time_ms"`
	Consensus   string     `json:"consensus"`
	HorizonMS   uint64     `json:"horizon_ms"`
	Parameters  parameters `json:"parameters"`
	Shards      []members  `json:"shards"`
	Allocations []struct {
		Address digest.Digest `json:"address"`
		Amount  uint64        `json:"amount"`
		Outputs uint32        `json:"outputs"`
	} `json:"allocations"`
}

// members are the replicas of one shard.
type members struct {
	Members []struct {
		Key  sig.PublicKey `json:"key"`
		Peer string        `json:"peer"`
		Coin sig.PublicKey `json:"coin"` // a key of another kind with the same form
	} `json:"members"`
}

// parameters are those that the genesis sets, by name.
type parameters map[string]json.RawMessage

// defaults are the values of parameters that a genesis does not set. Parameters with their default are not hashed.
var defaults = map[string]string{
	"gap_ms": "25", "least_fee": "0", "ledger": "payments", "protocol_version": "1", "retain": "0", "signatures": "all", "state_interval": "16384", "window": "16777216",
}

// ReadGenesis reads a genesis file, which the caller must have from a source that it trusts. It does not check whether a
// network can run with it, only that keys and id are those of the file.
func ReadGenesis(file []byte) (*Network, error) {
	if len(file) > MaxGenesisBytes {
		return nil, fmt.Errorf("a genesis of %d bytes, at most %d allowed", len(file), MaxGenesisBytes)
	}
	var of struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(file, &of); err != nil {
		return nil, fmt.Errorf("the genesis is not valid JSON: %w", err)
	}
	if of.Version != genesisVersion {
		return nil, fmt.Errorf("the genesis has version %d, this program reads version %d", of.Version, genesisVersion)
	}
	var g genesis
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&g); err != nil {
		return nil, fmt.Errorf("the genesis is not valid: %w", err)
	}
	id, err := g.id()
	if err != nil {
		return nil, err
	}
	if len(g.Shards) < 1 || len(g.Shards) > MaxShards {
		return nil, fmt.Errorf("the genesis has %d shards, want 1 to %d", len(g.Shards), MaxShards)
	}
	n := &Network{id: id, scheme: sig.NewEd25519()}
	for s := range g.Shards {
		keys := make([]sig.PublicKey, len(g.Shards[s].Members))
		for i := range keys {
			keys[i] = g.Shards[s].Members[i].Key
		}
		c, err := protocols.NewCommittee(id, uint16(s), keys)
		if err != nil {
			return nil, fmt.Errorf("the genesis: %w", err)
		}
		n.committees = append(n.committees, c)
	}
	return n, nil
}

// id is the tagged hash of all fields.
func (g *genesis) id() (digest.Digest, error) {
	b := wire.AppendU32(nil, uint32(g.Version))
	b = wire.AppendBytes(b, []byte(g.Name))
	b = wire.AppendU64(b, g.TimeMS)
	b = wire.AppendBytes(b, []byte(g.Consensus))
	b = wire.AppendU64(b, g.HorizonMS)
	b, err := g.Parameters.append(b)
	if err != nil {
		return digest.Digest{}, err
	}
	b = wire.AppendU32(b, uint32(len(g.Shards)))
	for s := range g.Shards {
		b = wire.AppendU32(b, uint32(len(g.Shards[s].Members)))
		for i := range g.Shards[s].Members {
			m := &g.Shards[s].Members[i]
			b = append(b, m.Key[:]...)
			b = append(wire.AppendBytes(b, []byte(m.Peer)), m.Coin[:]...)
		}
	}
	b = wire.AppendU32(b, uint32(len(g.Allocations)))
	for i := range g.Allocations {
		a := &g.Allocations[i]
		b = wire.AppendU64(append(b, a.Address[:]...), a.Amount)
		b = wire.AppendU32(b, a.Outputs)
	}
	return digest.Of("bdt/genesis/2", b), nil
}

// append encodes the number of parameters that differ from their default, and the name and value of each, by name.
func (p parameters) append(b []byte) ([]byte, error) {
	changed := make(map[string]string)
	for name, raw := range p {
		usual, known := defaults[name]
		if !known {
			return nil, fmt.Errorf("the genesis has the parameter %q, which this program does not know", name)
		}
		var text string
		var number uint64
		isNumber := usual[0] >= '0' && usual[0] <= '9'
		switch {
		case isNumber && json.Unmarshal(raw, &number) == nil && !bytes.Equal(raw, []byte("null")):
			text = strconv.FormatUint(number, 10)
		case !isNumber && json.Unmarshal(raw, &text) == nil && !bytes.Equal(raw, []byte("null")):
		default:
			return nil, fmt.Errorf("the genesis: parameter %s cannot be %s", name, raw)
		}
		if text != usual {
			changed[name] = text
		}
	}
	b = wire.AppendU32(b, uint32(len(changed)))
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		b = wire.AppendBytes(wire.AppendBytes(b, []byte(name)), []byte(changed[name]))
	}
	return b, nil
}
