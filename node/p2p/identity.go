package p2p

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// GenerateIdentity makes a new Ed25519 identity and writes it to a file that only its owner can read. It is an
// error if the file exists: an identity is named in a genesis and must not be lost.
func GenerateIdentity(path string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate network identity: %w", err)
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode network identity: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create network identity: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("write network identity %s: %w", path, err)
	}
	return key, nil
}

// LoadIdentity reads what [GenerateIdentity] wrote. A file that others can read is refused.
func LoadIdentity(path string) (crypto.PrivKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open network identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("network identity %s can be read by others (mode %04o), run: chmod 600 %s",
			path, info.Mode().Perm(), filepath.Clean(path))
	}
	if info.Size() > 4096 {
		return nil, fmt.Errorf("network identity %s has %d bytes, that is no key", path, info.Size())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read network identity: %w", err)
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil || key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("network identity %s is not an Ed25519 key in libp2p's encoding", path)
	}
	return key, nil
}

// PeerID is the name of an identity in a genesis and in multiaddrs.
func PeerID(key crypto.PrivKey) (string, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("peer id of network identity: %w", err)
	}
	return id.String(), nil
}
