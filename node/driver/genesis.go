package driver

import (
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/admission"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/shard"
	"bdtnode/shard/settlement"
)

// maxTosses is the number of verified shares of the coin, and of its values, that are cached.
const maxTosses = 4096

// ConfigOf is the configuration of a replica as far as the genesis determines it: without keys, stores and start.
func ConfigOf(g *shard.Genesis, s uint16, self protocols.Index) (cfg Config, err error) {
	cfg = Config{
		Self: self, Scheme: sig.NewEd25519(), Dumbo: g.Consensus == shard.ConsensusDumbo, Window: int(g.Parameters.Window),
		Gap:           g.Parameters.Gap(),
		GenesisTimeMS: g.TimeMS, Limits: admission.StandardLimits(),
	}
	if g.Parameters.Signatures == shard.SignaturesVouched && g.Parameters.Ledger == shard.LedgerPayments {
		cfg.Vouched = shard.VouchedEntries
	}
	if cfg.Committee, err = g.Committee(s); err != nil {
		return cfg, err
	}
	if cfg.Network, err = settlement.NewNetwork(g); err != nil {
		return cfg, err
	}
	dealt, err := g.Coin(s)
	if err != nil {
		return cfg, err
	}
	cfg.Coin, err = coin.NewCached(dealt, maxTosses)
	return cfg, err
}

// LogConfigOf is the configuration of the log of a shard that orders opaque payloads.
func LogConfigOf(g *shard.Genesis, s uint16) paylog.Config {
	return paylog.Config{Network: g.ID(), Shard: s, GenesisTimeMS: g.TimeMS, StateInterval: g.Parameters.StateInterval}
}

// LedgerConfigOf is the configuration of a shard's ledger as its genesis determines it.
func LedgerConfigOf(g *shard.Genesis, s uint16) ledger.Config {
	allocations := make([]ledger.Allocation, len(g.Allocations))
	for i, a := range g.Allocations {
		allocations[i] = ledger.Allocation(a)
	}
	return ledger.Config{
		Network: g.ID(), Shard: s, Home: g.Home,
		GenesisTimeMS: g.TimeMS, HorizonMS: g.HorizonMS, LeastFee: g.Parameters.LeastFee, Allocations: allocations,
		Rules: settlement.Standard(), StateInterval: g.Parameters.StateInterval, Retain: g.Parameters.Retain,
	}
}
