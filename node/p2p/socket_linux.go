package p2p

import "syscall"

// sysConn is a connection with a descriptor.
type sysConn = syscall.Conn

// tcpNotSentLowAt is TCP_NOTSENT_LOWAT, which package syscall does not name.
const tcpNotSentLowAt = 25

// setUnsentLimit makes writes wait while the kernel holds that many bytes it has not sent. It is best effort: without
// it control waits longer behind bulk on a slow link, and nothing else changes.
func setUnsentLimit(c sysConn, bytes int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	err2 := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowAt, bytes)
	})
	if err != nil || err2 != nil {
		logger.Debugw("the kernel's send buffer stays unbounded", "error", err)
	}
}

// unread reports whether the kernel holds received bytes that nobody has read.
func unread(c sysConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	// Control does not wait for a goroutine that reads, unlike Read.
	_ = raw.Control(func(fd uintptr) { // a closed connection has nothing unread
		n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n > 0
}
