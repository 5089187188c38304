// Package archtest has tests only. They parse the source of the whole module and check rules of the project that the
// compiler does not check.
//
// Imports go in one direction: cmd → node → {protocols, shard} → ledger → merkle → internal. Packages below protocols
// order cuts and do not import the ledger. Code whose results must be equal on all replicas is pure: a machine in
// protocols/ has no goroutine, channel, lock, clock, randomness or I/O. Only cmd and node read a clock or use a
// network, and only the stores access the disk.
package archtest
