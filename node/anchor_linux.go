package node

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bdtnode/node/replica"
)

// statAnchor reads the inode and the creation time of a file. It leaves out the device number, which changes with
// reboots and reattached volumes.
func statAnchor(path string) (replica.Anchor, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return replica.Anchor{}, fmt.Errorf("anchor of the consensus store: statx %s: %w", path, err)
	}
	a := replica.Anchor{Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		a.BornNS = uint64(st.Btime.Sec)*1e9 + uint64(st.Btime.Nsec)
	}
	return a, nil
}
