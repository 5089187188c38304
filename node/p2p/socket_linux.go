package p2p

import "syscall"

// sysConn is a connection with a file descriptor.
type sysConn = syscall.Conn

// tcpNotSentLowAt is TCP_NOTSENT_LOWAT, which package syscall lacks.
const tcpNotSentLowAt = 25

// setUnsentLimit makes writes wait while the kernel holds that many unsent bytes. It is best effort: without it control
// waits longer behind bulk on a slow link.
func setUnsentLimit(c sysConn, bytes int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	err2 := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowAt, bytes)
	})
	if err != nil || err2 != nil {
		logger.Debugw("unsent bytes of the socket not bounded", "error", err)
	}
}

// unread reports whether the kernel holds received bytes that have not been read.
func unread(c sysConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	// Unlike Read, Control does not wait for a goroutine that reads.
	_ = raw.Control(func(fd uintptr) { // a closed connection has no unread bytes
		n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n > 0
}
