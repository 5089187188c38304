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

// keyFileVersion is the version of the format of a replica's key files.
const keyFileVersion = 1

// Kinds of key files. A key of one kind is never accepted as another kind.
const (
	kindConsensus = "consensus"
	kindPeer      = "peer"
	kindCoin      = "coin"
)

const maxKeyFileBytes = 4096

// keyFile is one secret of a replica: an Ed25519 seed, or its share of the shard's coin. It is not encrypted, because
// replicas start without an operator.
type keyFile struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	Public  string `json:"public"` // for display; checked against the seed
	Seed    string `json:"seed"`   // 32 bytes, in hexadecimal
}

// readSecret reads a secret after checking that only its owner can read the file. The caller must check the public
// part.
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
		return nil, "", fmt.Errorf("key %s: version is %d, but this program reads version %d", path, f.Version, keyFileVersion)
	case f.Kind != kind:
		return nil, "", fmt.Errorf("key %s: kind is %q, want %q: key files may have been exchanged", path, f.Kind, kind)
	}
	secret, err = hex.DecodeString(f.Seed)
	if err != nil || len(secret) != sig.SeedSize {
		return nil, "", fmt.Errorf("key %s: the seed is damaged: want %d hexadecimal characters", path, 2*sig.SeedSize)
	}
	return secret, f.Public, nil
}

// readKey reads an Ed25519 secret key.
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

// readCoin reads replica i's share of its shard's coin and compares it with the genesis.
func readCoin(path string, i protocols.Index, want coin.PublicKey) (*coin.Secret, error) {
	scalar, public, err := readSecret(path, kindCoin)
	if err != nil {
		return nil, err
	}
	secret, err := coin.NewSecret(i, scalar)
	if err != nil {
		return nil, fmt.Errorf("key %s is damaged: its seed is not a scalar", path)
	}
	switch {
	case secret.Public().String() != public:
		return nil, fmt.Errorf("key %s: public does not belong to seed: the file is damaged", path)
	case secret.Public() != want:
		return nil, fmt.Errorf("key %s belongs to another replica or network: the genesis has %s", path, want)
	}
	return secret, nil
}

// writeKey writes an Ed25519 secret key to a new file.
func writeKey(path, kind string, key *sig.Ed25519Key) error {
	return writeSecret(path, kind, key.Public().String(), key.Seed())
}

// writeSecret writes a secret to a new file that only its owner can read.
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

// peerIdentity is the libp2p key and peer id of a key.
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

// checkPrivate refuses a file or directory that its group or others can read. want is the mode in the suggested chmod.
func checkPrivate(path, want string) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: restore it from a copy; the replica cannot start without its keys", path)
	}
	if err != nil {
		return fmt.Errorf("check the mode of a key: %w", err)
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, so others can read it: run chmod %s %s", path, mode, want, path)
	}
	return nil
}

// writeNew writes and syncs a file that must not exist before.
func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
