//go:build !linux

package kv

// dropPages does nothing on this system: the kernel decides how long it keeps the pages of a file.
func dropPages(uintptr) {}
