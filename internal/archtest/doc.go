// Package archtest has no code of its own: its tests read the source of the whole module and hold it to the rules of
// the house that a compiler does not keep.
//
// Arrows run down: cmd → node → {protocols, shard} → ledger → merkle → internal. Protocols order cuts and know no
// ledger. What decides the same on every replica is pure: a machine in protocols/ has no goroutine, channel, lock,
// clock, randomness or I/O. Only cmd and node read a clock or touch a network, and only the stores touch disk.
package archtest
