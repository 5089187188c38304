package config

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// keyFileVersion is the version of a replica's key files.
const keyFileVersion = 1

// What a key file is for; a key is never taken for another purpose's.
const (
	kindConsensus = "consensus"
	kindPeer      = "peer"
	kindCoin      = "coin"
)

const maxKeyFileBytes = 4096

// keyFile is one secret of a replica: an Ed25519 seed, or its part of the shard's coin. It is not encrypted: replicas
// start without a person.
type keyFile struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	Public  string `json:"public"` // for people; checked against the seed
	Seed    string `json:"seed"`   // 32 bytes in hexadecimal
}

// readSecret loads a secret after making sure that nobody else may. What it says is its public part is not checked.
func readSecret(path, kind string) (secret []byte, public string, err error) {
	if err := checkPrivate(filepath.Dir(path), "0700"); err != nil {
		return nil, "", err
	}
	if err := checkPrivate(path, "0600"); err != nil {
		return nil, "", err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("read key: %w", err)
	}
	if len(raw) > maxKeyFileBytes {
		return nil, "", fmt.Errorf("key %s has more than %d bytes: it is not a key file", path, maxKeyFileBytes)
	}
	var f keyFile
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, "", fmt.Errorf("key %s is damaged: not a JSON key file of version %d", path, keyFileVersion) // err may quote the secret
	}
	switch {
	case f.Version != keyFileVersion:
		return nil, "", fmt.Errorf("key %s: version is %d, this program reads %d", path, f.Version, keyFileVersion)
	case f.Kind != kind:
		return nil, "", fmt.Errorf("key %s: kind is %q, want %q: were key files exchanged?", path, f.Kind, kind)
	}
	secret, err = hex.DecodeString(f.Seed)
	if err != nil || len(secret) != sig.SeedSize {
		return nil, "", fmt.Errorf("key %s: seed is damaged: want %d hexadecimal characters", path, 2*sig.SeedSize)
	}
	return secret, f.Public, nil
}

// readKey loads an Ed25519 secret.
func readKey(path, kind string) (*sig.Ed25519Key, error) {
	seed, public, err := readSecret(path, kind)
	if err != nil {
		return nil, err
	}
	key, err := sig.Ed25519FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	if key.Public().String() != public {
		return nil, fmt.Errorf("key %s: public does not belong to seed: the file is damaged", path)
	}
	return key, nil
}

// readCoin loads replica i's part of its shard's coin, which must be the one that the genesis names.
func readCoin(path string, i protocols.Index, want coin.PublicKey) (*coin.Secret, error) {
	scalar, public, err := readSecret(path, kindCoin)
	if err != nil {
		return nil, err
	}
	secret, err := coin.NewSecret(i, scalar)
	if err != nil {
		return nil, fmt.Errorf("key %s is damaged: its seed is no scalar", path)
	}
	switch {
	case secret.Public().String() != public:
		return nil, fmt.Errorf("key %s: public does not belong to seed: the file is damaged", path)
	case secret.Public() != want:
		return nil, fmt.Errorf("key %s is another replica's, or of another network: the genesis names %s", path, want)
	}
	return secret, nil
}

// writeKey stores an Ed25519 secret.
func writeKey(path, kind string, key *sig.Ed25519Key) error {
	return writeSecret(path, kind, key.Public().String(), key.Seed())
}

// writeSecret stores a secret in a new file that only its owner can read.
func writeSecret(path, kind, public string, secret []byte) error {
	raw, err := json.MarshalIndent(keyFile{
		Version: keyFileVersion, Kind: kind, Public: public, Seed: hex.EncodeToString(secret),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	return writeNew(path, append(raw, '\n'), 0o600)
}

func newKey() (*sig.Ed25519Key, error) { return sig.GenerateEd25519(rand.Reader) }

// peerIdentity is the libp2p side of a key.
func peerIdentity(key *sig.Ed25519Key) (crypto.PrivKey, peer.ID, error) {
	secret := append(key.Seed(), pub(key)...)
	priv, err := crypto.UnmarshalEd25519PrivateKey(secret)
	if err != nil {
		return nil, "", fmt.Errorf("peer key: %w", err)
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return nil, "", fmt.Errorf("peer key: %w", err)
	}
	return priv, id, nil
}

func pub(key *sig.Ed25519Key) []byte {
	p := key.Public()
	return p[:]
}

// checkPrivate refuses what the group or the world may read: want is the mode to set.
func checkPrivate(path, want string) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: restore it from a copy; the replica cannot start without its keys", path)
	}
	if err != nil {
		return fmt.Errorf("look at key: %w", err)
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, so others can read it: run chmod %s %s", path, mode, want, path)
	}
	return nil
}

// writeNew writes and syncs a file that must not exist yet.
func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
