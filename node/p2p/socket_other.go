//go:build !linux

package p2p

import "syscall"

// sysConn is a connection with a descriptor.
type sysConn = syscall.Conn

// setUnsentLimit does nothing here: control may wait longer behind bulk on a slow link.
func setUnsentLimit(sysConn, int) {}

// unread is not known here: a connection counts as silent until something was read from it.
func unread(sysConn) bool { return false }
