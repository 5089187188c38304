package kv

import "golang.org/x/sys/unix"

// dropPages lets the kernel release the pages of a file whose data is on disk. It is best effort.
func dropPages(fd uintptr) { _ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) }
