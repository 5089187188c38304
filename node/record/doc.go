// Package record records the inputs of a replica's driver in a file, and repeats them at a desk.
//
// The core and the admission state of a driver are deterministic. A recording has each of their inputs in order: messages,
// readings of the clocks, executed blocks, connections, timers, requests of clients, and the results of concurrent reads
// of the ledger. It also has the replica's signatures and coin shares, and never its keys. Each input is followed by a
// digest of the results of this and all earlier inputs. [Replay] gives the inputs to a driver of this program, compares
// the digests, and names the first step that differs.
//
// A recording begins at a start of the replica, with a copy of its stores ([Prepare]). It is bounded in bytes, time and
// memory. An error or a slow disk ends the recording and nothing else. docs/recording.md has the reasons why these inputs
// suffice.
package record
