// Package faults stages faults in networks of real processes and checks that net status, debug why and the log name each
// one: the right replica and the right reason.
//
//	go test ./cmd/bdtnode/faults                             # three cheap faults, with every go test ./...
//	go test ./cmd/bdtnode/faults -faults -v                  # all ten, some minutes
//	go test ./cmd/bdtnode/faults -faults -v -run 'Faults/twin'
//
// The replicas run the ordinary program. Two faults of the machine cannot be caused from outside: a slow disk and a wrong
// clock. For these one replica runs the program with some lines of two source files replaced when it is built (go build
// -overlay), see program_test.go. A shard is cut off with network namespaces, which need Linux, the program ip and user
// namespaces. Every other fault is a signal, a missing process, or a Byzantine replica in the process of the test.
package faults
