package config

import (
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

// DefaultHorizon is how far ahead of block time a transaction may expire in a generated network.
const DefaultHorizon = 15 * time.Minute

// Place is where one replica is to run.
type Place struct {
	Listen   []string // multiaddrs it listens on
	Announce string   // multiaddr others are told instead; empty if Listen is right for them too
	API      string   // host:port of its HTTP interface
}

// Network is a network to be generated.
type Network struct {
	Name        string
	Time        time.Time // of block 0
	Horizon     time.Duration
	Consensus   string    // empty is "bdt"
	LeastFee    uint64    // per byte of a transaction's encoding
	Places      [][]Place // per shard, per replica
	Allocations []shard.Allocation
	LogLevel    string // empty is the default
}

// Generate writes one home per replica under dir, see [HomeDir], and the genesis, also to dir/genesis.json. Each replica is
// told how to reach others, see [joinBy]. dir must be empty or not exist; if something fails, what was written is removed.
func Generate(dir string, n Network) (g *shard.Genesis, err error) {
	if err := checkEmpty(dir); err != nil {
		return nil, err
	}
	parameters := shard.DefaultParameters()
	parameters.LeastFee = n.LeastFee
	g = &shard.Genesis{
		Version: shard.GenesisVersion, Name: n.Name, TimeMS: uint64(n.Time.UnixMilli()), Consensus: n.Consensus,
		HorizonMS: uint64(n.Horizon.Milliseconds()), Parameters: parameters, Allocations: n.Allocations,
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
		return nil, fmt.Errorf("make %s: %w", dir, err)
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

// HomeDir is where [Generate] puts the home of a replica.
func HomeDir(dir string, s uint16, replica int) string {
	return filepath.Join(dir, fmt.Sprintf("shard%d-replica%d", s, replica))
}

// homeName matches what [HomeDir] makes of any replica.
var homeName = regexp.MustCompile(`^shard[0-9]+-replica[0-9]+$`)

// IsHomeName reports whether a directory of this name may be a replica's home that [Generate] made.
func IsHomeName(name string) bool { return homeName.MatchString(name) }

// GenesisPath is where [Generate] puts the network's genesis.
func GenesisPath(dir string) string { return filepath.Join(dir, genesisFile) }

type replicaKeys struct {
	consensus, peer *sig.Ed25519Key
	peerID          string
	coin            *coin.Secret
}

// dealCoin gives each replica of a shard its part of a fresh coin, which f+1 of them can toss.
func dealCoin(members []shard.Member, keys []replicaKeys) error {
	consensus := make([]sig.PublicKey, len(members))
	for i := range members {
		consensus[i] = members[i].Key
	}
	committee, err := protocols.NewCommittee(digest.Digest{}, 0, consensus) // for its thresholds: it has no name yet
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
		return fmt.Errorf("make directories: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, dataDir), 0o700); err != nil {
		return fmt.Errorf("make directories: %w", err)
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

// toml is the settings as a file that explains itself.
func (c *Config) toml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings of one replica. %s<SECTION>_<KEY> in the environment and flags of `bdtnode start` go first.\n", EnvPrefix)
	fmt.Fprintf(&b, "version = %d\n", c.Version)
	fmt.Fprintf(&b, "\n[p2p]\n# Multiaddrs to listen on. Port 0 takes a free port at each start.\nlisten = %s\n", tomlList(c.P2P.Listen))
	fmt.Fprintf(&b, "# Multiaddrs to tell others instead, behind address translation or for a DNS name.\nannounce = %s\n", tomlList(c.P2P.Announce))
	fmt.Fprintf(&b, "# Replicas to join by, any of which is enough; the others are found through them.\nbootstrap = %s\n", tomlList(c.P2P.Bootstrap))
	fmt.Fprintf(&b, "# Speak QUIC too, on listen addresses with /udp/…/quic-v1. TCP costs less.\nquic = %t\n", c.P2P.QUIC)
	fmt.Fprintf(&b, "\n[api]\n# host:port of the HTTP interface. It has no password: keep it on 127.0.0.1 or behind a proxy.\naddress = %q\n", c.API.Address)
	fmt.Fprintf(&b, "\n[log]\n# debug, info, warn or error, to standard error.\nlevel = %q\n", c.Log.Level)
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
		return fmt.Errorf("%s cannot take a new network: %w", dir, err)
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty (it holds %s): name a new directory", dir, entries[0].Name())
	}
	return nil
}

// removeContents empties a directory that was empty when [Generate] began.
func removeContents(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}
