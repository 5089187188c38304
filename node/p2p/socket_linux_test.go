package p2p

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Every connection of a node, dialled or accepted, holds few unsent bytes in the kernel.
func TestKernelHoldsLittleUnsent(t *testing.T) {
	w := newTestNetwork(t, 4)
	a := start(t, w.config(0, 0))
	b := start(t, w.config(0, 1, a.Addrs()[0]))
	mesh(a, b)
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	connections := 0
	for _, f := range fds {
		fd, err := strconv.Atoi(f.Name())
		must(t, err)
		if _, err := unix.Getpeername(fd); err != nil {
			continue
		}
		limit, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		if err != nil {
			continue // not a TCP socket
		}
		connections++
		if limit != unsentLimit {
			t.Errorf("descriptor %d holds up to %d bytes unsent, want %d", fd, limit, unsentLimit)
		}
	}
	if connections < 2 {
		t.Errorf("%d connections seen, want at least both ends of one", connections)
	}
}
