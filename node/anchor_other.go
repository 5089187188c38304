//go:build !linux

package node

import (
	"fmt"
	"os"
	"syscall"

	"bdtnode/node/replica"
)

// statAnchor reads the inode of a file; the creation time is not available.
func statAnchor(path string) (replica.Anchor, error) {
	st, err := os.Stat(path)
	if err != nil {
		return replica.Anchor{}, fmt.Errorf("anchor of the consensus store: %w", err)
	}
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return replica.Anchor{Inode: s.Ino}, nil
	}
	return replica.Anchor{}, nil
}
