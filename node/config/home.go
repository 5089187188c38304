package config

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/shard"
)

// Names of files and directories in a home.
const (
	configFile    = "config.toml"
	genesisFile   = "genesis.json"
	keysDir       = "keys"
	consensusFile = "consensus.key"
	peerFile      = "peer.key"
	coinFile      = "coin.key"
	dataDir       = "data"
	runDir        = "run"
)

// Home is a replica's home, read and checked. Its fields must not be changed.
type Home struct {
	Dir          string // absolute path
	Config       Config
	Genesis      *shard.Genesis
	ConsensusKey *sig.Ed25519Key
	PeerKey      crypto.PrivKey
	PeerID       peer.ID
	Coin         *coin.Secret    // share of the shard's coin
	Shard        uint16          // shard of the replica, found in the genesis by its keys
	Replica      protocols.Index // index of the replica in the shard

	published chan Running
}

// Load reads the home in dir. Overrides are settings by key ("api.address") that override the environment and the file;
// nil means none. An error names the file, the defect and the remedy.
func Load(dir string, overrides map[string]any) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("home %q: %w", dir, err)
	}
	if st, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("home %s cannot be used: %w", dir, err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("home %s is not a directory", dir)
	}
	h := &Home{Dir: dir, published: make(chan Running, 1)}
	if h.Config, err = readConfig(filepath.Join(dir, configFile), overrides); err != nil {
		return nil, err
	}
	if h.Genesis, err = shard.ReadGenesis(h.GenesisPath()); err != nil {
		return nil, err
	}
	if h.ConsensusKey, err = readKey(filepath.Join(dir, keysDir, consensusFile), kindConsensus); err != nil {
		return nil, err
	}
	peerKey, err := readKey(filepath.Join(dir, keysDir, peerFile), kindPeer)
	if err != nil {
		return nil, err
	}
	if h.PeerKey, h.PeerID, err = peerIdentity(peerKey); err != nil {
		return nil, err
	}
	if err := h.findMember(); err != nil {
		return nil, err
	}
	named := h.Genesis.Shards[h.Shard].Members[h.Replica].Coin
	if h.Coin, err = readCoin(filepath.Join(dir, keysDir, coinFile), h.Replica, named); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.DataDir(), 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return h, nil
}

// findMember finds the replica's shard and index in the genesis by its keys.
func (h *Home) findMember() error {
	for s, spec := range h.Genesis.Shards {
		for i, m := range spec.Members {
			sameKey, samePeer := m.Key == h.ConsensusKey.Public(), m.Peer == h.PeerID.String()
			if sameKey && samePeer {
				h.Shard, h.Replica = uint16(s), protocols.Index(i)
				return nil
			}
			if sameKey || samePeer {
				return fmt.Errorf("%s: only one of consensus.key and peer.key belongs to shard %d replica %d of %s: key files may have been exchanged",
					filepath.Join(h.Dir, keysDir), s, i, genesisFile)
			}
		}
	}
	return fmt.Errorf("%s: no replica has the keys of this home: genesis.json or the keys belong to another network", h.GenesisPath())
}

// GenesisPath is the path of the genesis file.
func (h *Home) GenesisPath() string { return filepath.Join(h.Dir, genesisFile) }

// DataDir is the directory of the replica's stores. It exists.
func (h *Home) DataDir() string { return filepath.Join(h.Dir, dataDir) }
