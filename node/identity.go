package node

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bdtnode/internal/kv"
	"bdtnode/node/config"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// anchorFile is the file in the consensus store's directory whose inode and time of making tell a copy from the original.
const anchorFile = "anchor"

// begin decides whether the replica may start with its consensus store, and makes the start's record durable. A
// *replica.Lost error means that the replica never may.
func begin(home *config.Home, c *protocols.Committee, store kv.Store) (*replica.Begun, error) {
	var o replica.Origin
	var err error
	if o.Born, err = home.Born(); err != nil {
		return nil, err
	}
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("draw a number for this start: %w", err)
	}
	o.Nonce = binary.BigEndian.Uint64(nonce[:])
	if o.Anchor, err = anchor(filepath.Join(home.DataDir(), consensusDir, anchorFile)); err != nil {
		return nil, err
	}
	var failed error
	b, err := replica.Begin(c, home.Replica, replica.Stored(store, &failed), o)
	if failed != nil {
		return nil, fmt.Errorf("read the consensus store: %w", failed)
	}
	if err != nil {
		return nil, err
	}
	if b.Moved {
		logger.Warnw("the consensus store is a copy or was restored", "boot", b.Boot,
			"advice", "never start a replica on an old copy of its data: it goes on only if no peer knows newer signatures of it")
	}
	var batch kv.Batch
	sync := replica.Apply(&batch, []protocols.Record{b.Record()})
	if err := store.Apply(&batch, sync); err != nil {
		return nil, fmt.Errorf("note the start: %w", err)
	}
	return b, home.Start()
}

// anchor makes the file if it is not there, and identifies it.
func anchor(path string) (replica.Anchor, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		err = errors.Join(f.Sync(), f.Close())
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return replica.Anchor{}, fmt.Errorf("anchor of the consensus store: %w", err)
	}
	return statAnchor(path)
}
