package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// bornFile exists in a home from its generation to the first start of the replica. It distinguishes a new replica from
// one whose data directory was emptied, so it is outside that directory.
const bornFile = "born"

// Born reports whether the home was generated and the replica has not been started yet.
func (h *Home) Born() (bool, error) {
	_, err := os.Stat(h.bornPath())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("check whether the home is new: %w", err)
}

// Start records durably that the replica has started once. Its record in the consensus store must be on disk before.
func (h *Home) Start() error {
	if err := os.Remove(h.bornPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record the first start: %w", err)
	}
	dir, err := os.Open(h.Dir)
	if err != nil {
		return fmt.Errorf("record the first start: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("record the first start: %w", err)
	}
	return nil
}

func (h *Home) bornPath() string { return filepath.Join(h.Dir, bornFile) }
