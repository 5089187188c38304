package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/shard"
)

// Names of the stores in the directory of a recording.
const (
	consensusStore = "consensus"
	ledgerStore    = "ledger"
)

// ReplayDir repeats the recording in a directory like [Replay], on copies of its stores in a temporary directory. It
// changes nothing in the directory. It calls header once before all events.
func ReplayDir(ctx context.Context, dir string, header func(*Header), show func(Event) error) (r *Result, err error) {
	if filepath.Base(dir) == InputsFile {
		dir = filepath.Dir(dir)
	}
	file, err := os.Open(filepath.Join(dir, InputsFile))
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	defer file.Close()
	scratch, err := os.MkdirTemp("", "bdtnode-replay-")
	if err != nil {
		return nil, err
	}
	var stores []*kv.Pebble
	defer func() {
		for _, s := range stores {
			err = errors.Join(err, s.Close())
		}
		err = errors.Join(err, os.RemoveAll(scratch))
	}()
	open := func(name string, noLog bool) (*kv.Pebble, error) {
		if err := CopyStore(filepath.Join(dir, name), filepath.Join(scratch, name), 1<<62); err != nil {
			return nil, fmt.Errorf("copy of the recorded stores: %w", err)
		}
		s, err := kv.OpenPebble(filepath.Join(scratch, name), kv.Options{NoLog: noLog})
		if err == nil {
			stores = append(stores, s)
		}
		return s, err
	}
	return Replay(ctx, file, func(h *Header) (*Setup, error) {
		header(h)
		g, err := shard.ReadGenesis(filepath.Join(dir, GenesisFile))
		if err != nil {
			return nil, err
		}
		if g.ID() != h.Network || int(h.Shard) >= len(g.Shards) {
			return nil, fmt.Errorf("the recording is of network %s, its genesis of %s", h.Network.Short(), g.ID().Short())
		}
		s := &Setup{}
		if s.Driver, err = driver.ConfigOf(g, h.Shard, h.Replica); err != nil {
			return nil, err
		}
		if s.Store, err = open(consensusStore, false); err != nil {
			return nil, err
		}
		if err := begin(s.Store, h); err != nil {
			return nil, err
		}
		effects, err := open(ledgerStore, true)
		if err != nil {
			return nil, err
		}
		s.Driver.State, err = ledger.Open(effects, driver.LedgerConfigOf(g, h.Shard))
		return s, err
	}, show)
}

// begin writes the record of the start into the consensus store, which was copied before it was written.
func begin(store kv.Store, h *Header) error {
	if h.Begun == nil {
		return nil
	}
	var b kv.Batch
	replica.Apply(&b, []protocols.Record{h.Begun.Record()})
	return store.Apply(&b, false)
}
