package p2p

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// addressBookVersion is the version of the format of the file.
const addressBookVersion = 1

// maxAddressesKept bounds the number of addresses kept for one peer.
const maxAddressesKept = 8

// maxAddressBookBytes bounds the size of the file.
const maxAddressBookBytes = 16 << 20

type addressFile struct {
	Version int                 `json:"version"`
	Peers   map[string][]string `json:"peers"`
}

// addressBook stores the addresses at which members were last reached. If it is lost, members are searched for instead.
// So a damaged file is reported and replaced.
type addressBook struct {
	path  string
	mu    sync.Mutex
	peers map[peer.ID][]ma.Multiaddr
	dirty bool
}

// openAddressBook reads the file and leaves out peers that are not members. After an error the book is empty and
// usable.
func openAddressBook(path string, member func(peer.ID) bool) (*addressBook, error) {
	b := &addressBook{path: path, peers: make(map[peer.ID][]ma.Multiaddr)}
	if path == "" {
		return b, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil && info.Size() > maxAddressBookBytes {
		err = fmt.Errorf("%d bytes, at most %d allowed", info.Size(), maxAddressBookBytes)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return b, fmt.Errorf("address file %s: %w", path, err)
	}
	var f addressFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return b, fmt.Errorf("address file %s: %w", path, err)
	}
	if f.Version != addressBookVersion {
		return b, fmt.Errorf("address file %s has version %d, but this program reads version %d", path, f.Version, addressBookVersion)
	}
	for name, addrs := range f.Peers {
		id, err := peer.Decode(name)
		if err != nil || !member(id) {
			continue
		}
		for _, s := range addrs[:min(len(addrs), maxAddressesKept)] {
			if a, err := ma.NewMultiaddr(s); err == nil {
				b.peers[id] = append(b.peers[id], a)
			}
		}
	}
	return b, nil
}

// get returns the known addresses of id, most recent first.
func (b *addressBook) get(id peer.ID) []ma.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.peers[id])
}

// reached puts addresses that id announced, or at which it was reached, before the older ones.
func (b *addressBook) reached(id peer.ID, addrs []ma.Multiaddr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var merged []ma.Multiaddr
	for _, a := range slices.Concat(addrs, b.peers[id]) {
		if len(merged) < maxAddressesKept && !slices.ContainsFunc(merged, a.Equal) {
			merged = append(merged, a)
		}
	}
	if !slices.EqualFunc(merged, b.peers[id], func(x, y ma.Multiaddr) bool { return x.Equal(y) }) {
		b.peers[id] = merged
		b.dirty = true
	}
}

// save writes the file atomically if there are changes.
func (b *addressBook) save() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path == "" || !b.dirty {
		return nil
	}
	f := addressFile{Version: addressBookVersion, Peers: make(map[string][]string, len(b.peers))}
	for id, addrs := range maps.All(b.peers) {
		for _, a := range addrs {
			f.Peers[id.String()] = append(f.Peers[id.String()], a.String())
		}
	}
	raw, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("encode address file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(b.path), filepath.Base(b.path)+".*")
	if err != nil {
		return fmt.Errorf("write address file: %w", err)
	}
	_, err = tmp.Write(raw)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), b.path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write address file %s: %w", b.path, err)
	}
	b.dirty = false
	return nil
}
