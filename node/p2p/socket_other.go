//go:build !linux

package p2p

import "syscall"

// sysConn is a connection with a file descriptor.
type sysConn = syscall.Conn

// setUnsentLimit does nothing on this system: control may wait longer behind bulk on a slow link.
func setUnsentLimit(sysConn, int) {}

// unread cannot be determined on this system: a connection counts as silent until bytes were read from it.
func unread(sysConn) bool { return false }
