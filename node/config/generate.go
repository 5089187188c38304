package config

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/shard"
)

// DefaultHorizon is the time from block time to the latest expiry of a transaction in a generated network.
const DefaultHorizon = 15 * time.Minute

// DefaultSignatures is the parameter "signatures" of a generated network with a ledger of payments. The entries of other
// ledgers have no signatures.
const DefaultSignatures = shard.SignaturesVouched

// logWindow is the window of a lane, in bytes, in a generated network that orders opaque payloads. Replicas take an eighth of it
// from each lane in a second: 16 MiB, at which four lanes are as fast as a machine of two cores. With the usual window, which is
// made for transactions, it would be 2 MiB.
const logWindow = 128 << 20

// Place is the host of one replica, given by its addresses.
type Place struct {
	Listen   []string // multiaddrs to listen on
	Announce string   // multiaddr announced to others; empty if Listen is correct for them too
	API      string   // host:port of the HTTP API
}

// Network describes a network to be generated.
type Network struct {
	Name        string
	Time        time.Time // time of block 0
	Horizon     time.Duration
	Consensus   string        // empty means "bdt"
	Ledger      string        // empty means "payments"
	LeastFee    uint64        // for each byte of a transaction's encoding
	Gap         time.Duration // between proposals under lasting load, in whole milliseconds; 0: the default of the genesis
	Signatures  string        // parameter of the genesis; empty means DefaultSignatures
	Places      [][]Place     // by shard and replica
	Allocations []shard.Allocation
	LogLevel    string // empty means the default
}

// Generate writes one home for each replica under dir, see [HomeDir], and the genesis to dir/genesis.json too. The
// homes contain bootstrap addresses, see [joinBy]. dir must be empty or not exist. After a failure, everything written
// is removed.
func Generate(dir string, n Network) (g *shard.Genesis, err error) {
	if err := checkEmpty(dir); err != nil {
		return nil, err
	}
	g = &shard.Genesis{
		Version: shard.GenesisVersion, Name: n.Name, TimeMS: uint64(n.Time.UnixMilli()), Consensus: n.Consensus,
		HorizonMS: uint64(n.Horizon.Milliseconds()), Parameters: n.parameters(), Allocations: n.Allocations,
	}
	if g.Allocations == nil {
		g.Allocations = []shard.Allocation{}
	}
	if g.Consensus == "" {
		g.Consensus = shard.ConsensusBDT
	}
	keys := make([][]replicaKeys, len(n.Places))
	for s := range n.Places {
		spec := shard.Spec{}
		for range n.Places[s] {
			k, err := newReplicaKeys()
			if err != nil {
				return nil, err
			}
			keys[s] = append(keys[s], k)
			spec.Members = append(spec.Members, shard.Member{Key: k.consensus.Public(), Peer: k.peerID})
		}
		if err := dealCoin(spec.Members, keys[s]); err != nil {
			return nil, fmt.Errorf("new network: shard %d: %w", s, err)
		}
		g.Shards = append(g.Shards, spec)
	}
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("new network: %w", err)
	}
	known := make([]contacts, len(n.Places))
	for s := range n.Places {
		committee, err := g.Committee(uint16(s))
		if err != nil {
			return nil, fmt.Errorf("new network: %w", err)
		}
		known[s].enough = committee.WeakQuorum()
		for i, p := range n.Places[s] {
			known[s].members = append(known[s].members, newContact(p, keys[s][i].peerID))
		}
	}

	defer func() {
		if err != nil {
			removeContents(dir)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	genesis, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode genesis: %w", err)
	}
	genesis = append(genesis, '\n')
	if err := writeNew(filepath.Join(dir, genesisFile), genesis, 0o644); err != nil {
		return nil, err
	}
	for s := range n.Places {
		for i, p := range n.Places[s] {
			c := Default()
			c.P2P = P2P{Listen: p.Listen, Bootstrap: joinBy(known, s, i)}
			if p.Announce != "" {
				c.P2P.Announce = []string{p.Announce}
			}
			c.API.Address = p.API
			if n.LogLevel != "" {
				c.Log.Level = n.LogLevel
			}
			if err := writeHome(HomeDir(dir, uint16(s), i), c, genesis, keys[s][i]); err != nil {
				return nil, fmt.Errorf("home of shard %d replica %d: %w", s, i, err)
			}
		}
	}
	return g, nil
}

// parameters are the parameters of the genesis.
func (n *Network) parameters() shard.Parameters {
	p := shard.DefaultParameters()
	p.LeastFee = n.LeastFee
	p.GapMS = cmp.Or(uint64(n.Gap.Milliseconds()), p.GapMS)
	p.Ledger = cmp.Or(n.Ledger, p.Ledger)
	switch p.Ledger {
	case shard.LedgerLog:
		p.Window = logWindow
	case shard.LedgerPayments:
		p.Signatures = cmp.Or(n.Signatures, DefaultSignatures)
	}
	return p
}

// HomeDir is the directory of a replica's home below the directory of [Generate].
func HomeDir(dir string, s uint16, replica int) string {
	return filepath.Join(dir, fmt.Sprintf("shard%d-replica%d", s, replica))
}

// homeName matches the name of every directory of [HomeDir].
var homeName = regexp.MustCompile(`^shard[0-9]+-replica[0-9]+$`)

// IsHomeName reports whether a directory with this name may be a replica's home made by [Generate].
func IsHomeName(name string) bool { return homeName.MatchString(name) }

// GenesisPath is the genesis file in the directory of [Generate].
func GenesisPath(dir string) string { return filepath.Join(dir, genesisFile) }

type replicaKeys struct {
	consensus, peer *sig.Ed25519Key
	peerID          string
	coin            *coin.Secret
}

// dealCoin gives each replica of a shard its share of a new coin, which any f+1 of them can toss.
func dealCoin(members []shard.Member, keys []replicaKeys) error {
	consensus := make([]sig.PublicKey, len(members))
	for i := range members {
		consensus[i] = members[i].Key
	}
	committee, err := protocols.NewCommittee(digest.Digest{}, 0, consensus) // used for its thresholds only; the network has no id yet
	if err != nil {
		return err
	}
	public, secrets, err := coin.Deal(rand.Reader, committee.N(), committee.WeakQuorum())
	if err != nil {
		return err
	}
	for i := range members {
		members[i].Coin, keys[i].coin = public[i], secrets[i]
	}
	return nil
}

func newReplicaKeys() (k replicaKeys, err error) {
	if k.consensus, err = newKey(); err != nil {
		return k, err
	}
	if k.peer, err = newKey(); err != nil {
		return k, err
	}
	_, id, err := peerIdentity(k.peer)
	k.peerID = id.String()
	return k, err
}

func writeHome(dir string, c Config, genesis []byte, k replicaKeys) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, keysDir), 0o700); err != nil {
		return fmt.Errorf("create directories: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, dataDir), 0o700); err != nil {
		return fmt.Errorf("create directories: %w", err)
	}
	return errors.Join(
		writeNew(filepath.Join(dir, bornFile), []byte("The replica has not been started yet. It removes this file at its first start.\n"), 0o644),
		writeNew(filepath.Join(dir, configFile), []byte(c.toml()), 0o644),
		writeNew(filepath.Join(dir, genesisFile), genesis, 0o644),
		writeKey(filepath.Join(dir, keysDir, consensusFile), kindConsensus, k.consensus),
		writeKey(filepath.Join(dir, keysDir, peerFile), kindPeer, k.peer),
		writeSecret(filepath.Join(dir, keysDir, coinFile), kindCoin, k.coin.Public().String(), k.coin.Bytes()),
	)
}

// toml formats the settings as a commented config.toml.
func (c *Config) toml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings of one replica. %s<SECTION>_<KEY> in the environment and flags of `bdtnode start` override them.\n", EnvPrefix)
	fmt.Fprintf(&b, "version = %d\n", c.Version)
	fmt.Fprintf(&b, "\n[p2p]\n# Multiaddrs to listen on. Port 0 chooses a free port at each start.\nlisten = %s\n", tomlList(c.P2P.Listen))
	fmt.Fprintf(&b, "# Multiaddrs to announce in place of these, behind address translation or for a DNS name.\nannounce = %s\n", tomlList(c.P2P.Announce))
	fmt.Fprintf(&b, "# Bootstrap replicas. One that is up is enough; the others are found through it.\nbootstrap = %s\n", tomlList(c.P2P.Bootstrap))
	fmt.Fprintf(&b, "# Also use QUIC, on listen addresses with /udp/…/quic-v1. TCP costs less.\nquic = %t\n", c.P2P.QUIC)
	fmt.Fprintf(&b, "\n[api]\n# host:port of the HTTP API. It has no password: keep it on 127.0.0.1 or behind a proxy.\naddress = %q\n", c.API.Address)
	fmt.Fprintf(&b, "# Host names that requests may name, besides IP addresses and localhost. Requests with other names are refused.\nhosts = %s\n", tomlList(c.API.Hosts))
	fmt.Fprintf(&b, "# Origins whose web pages may use the API, such as https://wallet.example. All others are refused.\norigins = %s\n", tomlList(c.API.Origins))
	fmt.Fprintf(&b, "\n[log]\n# Least level of log lines on standard error: debug, info, warn or error.\nlevel = %q\n", c.Log.Level)
	fmt.Fprintf(&b, "# Form of the lines: text, or json for one object a line.\nformat = %q\n", c.Log.Format)
	return b.String()
}

func tomlList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = fmt.Sprintf("%q", s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot write a new network to %s: %w", dir, err)
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty (it contains %s): use a new directory", dir, entries[0].Name())
	}
	return nil
}

// removeContents empties a directory that was empty before [Generate].
func removeContents(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}
