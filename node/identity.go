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

// anchorFile is a file in the directory of the consensus store. Its inode and creation time distinguish the original
// store from a copy.
const anchorFile = "anchor"

// begin decides whether the replica may start with its consensus store, and writes the record of this start to disk.
// The error *replica.Lost means that the replica must never start again.
func begin(home *config.Home, c *protocols.Committee, store kv.Store) (*replica.Begun, error) {
	var o replica.Origin
	var err error
	if o.Born, err = home.Born(); err != nil {
		return nil, err
	}
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("draw a random number for this start: %w", err)
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
			"advice", "never start a replica on an old copy of its data: it can continue only if no peer has newer signatures of it")
	}
	var batch kv.Batch
	sync := replica.Apply(&batch, []protocols.Record{b.Record()})
	if err := store.Apply(&batch, sync); err != nil {
		return nil, fmt.Errorf("write the record of this start: %w", err)
	}
	return b, home.Start()
}

// anchor creates the file if it is missing, and returns its identity.
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
